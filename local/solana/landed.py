"""A landed transaction as the JSON-RPC tells of it."""

from __future__ import annotations

from typing import Any

from local.solana.balances import Holdings
from local.solana.ledger import Landed
from order_engine.domain import base58
from order_engine.venues.solana.addresses import MEMO


def memo_of(landed: Landed) -> str | None:
    message = landed.transaction.message
    keys = [str(key) for key in message.account_keys]
    notes = [bytes(call.data) for call in message.instructions if keys[call.program_id_index] == MEMO]
    return "; ".join(f"[{len(note)}] {note.decode(errors='replace')}" for note in notes) or None


def ledger_of(landed: Landed, version: int) -> dict[str, Any]:
    message = landed.transaction.message
    return {
        "slot": landed.slot,
        "blockTime": landed.block_time,
        "version": version,
        "transaction": {
            "signatures": [str(signature) for signature in landed.transaction.signatures],
            "message": {
                "accountKeys": [str(key) for key in message.account_keys],
                "recentBlockhash": str(message.recent_blockhash),
                "instructions": [
                    {
                        "programIdIndex": call.program_id_index,
                        "accounts": list(call.accounts),
                        "data": base58.encode(bytes(call.data)),
                    }
                    for call in message.instructions
                ],
            },
        },
        "meta": {
            "err": landed.error,
            "fee": landed.fee,
            "computeUnitsConsumed": landed.units,
            "logMessages": list(landed.logs),
            "preBalances": list(landed.before.lamports),
            "postBalances": list(landed.after.lamports),
            "preTokenBalances": tokens_of(landed.before),
            "postTokenBalances": tokens_of(landed.after),
            "loadedAddresses": {"readonly": [], "writable": []},
        },
    }


def tokens_of(held: Holdings) -> list[dict[str, Any]]:
    return [
        {
            "accountIndex": each.place,
            "mint": each.mint,
            "owner": each.owner,
            "programId": each.program,
            "uiTokenAmount": {"amount": str(each.amount), "decimals": each.decimals},
        }
        for each in held.tokens
    ]
