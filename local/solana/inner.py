"""What programs called, as nodes write it: transfers of the token programs in words, everything else as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.instruction import CompiledInstruction
from solders.transaction import VersionedTransaction

from order_engine.domain import base58
from order_engine.venues.solana.addresses import TOKEN, TOKEN_2022

# The token programs' instructions, by their first byte: which of their accounts is the destination, and their name.
_TRANSFER, _TRANSFER_CHECKED = 3, 12
_NAMES = {TOKEN: "spl-token", TOKEN_2022: "spl-token-2022"}


def inner_of(transaction: VersionedTransaction, inner: Sequence[Sequence[CompiledInstruction]]) -> list[dict[str, Any]]:
    """Inner instructions of each of the message's own that had any."""
    keys = [str(key) for key in transaction.message.account_keys]
    return [
        {"index": number, "instructions": [_written(keys, call) for call in group]}
        for number, group in enumerate(inner)
        if group
    ]


def _written(keys: Sequence[str], call: CompiledInstruction) -> dict[str, Any]:
    program = keys[call.program_id_index]
    accounts, data = [keys[place] for place in bytes(call.accounts)], bytes(call.data)
    if program in _NAMES and data[:1] in (bytes((_TRANSFER,)), bytes((_TRANSFER_CHECKED,))):
        amount = str(int.from_bytes(data[1:9], "little"))
        if data[0] == _TRANSFER:
            kind, info = "transfer", {"source": accounts[0], "destination": accounts[1], "amount": amount}
        else:
            told: dict[str, Any] = {"tokenAmount": {"amount": amount, "decimals": data[9]}}
            kind, info = "transferChecked", {"source": accounts[0], "mint": accounts[1], "destination": accounts[2]}
            info = info | told
        return {"program": _NAMES[program], "programId": program, "parsed": {"type": kind, "info": info}}
    return {"programId": program, "accounts": accounts, "data": base58.encode(data)}
