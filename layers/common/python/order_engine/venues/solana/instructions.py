"""Instructions of the programs that every swap needs: memo, token accounts, wrapped SOL.

Layouts: the public sources of the System, Token, Associated Token Account and Memo programs.
"""

from __future__ import annotations

from order_engine.venues.solana.addresses import ASSOCIATED_TOKEN, MEMO, SYSTEM, TOKEN, token_account
from order_engine.venues.solana.messages import AccountMeta, Instruction

_SYSTEM_TRANSFER = (2).to_bytes(4, "little")
_CREATE_IDEMPOTENT = b"\x01"
_CLOSE_ACCOUNT = b"\x09"
_SYNC_NATIVE = b"\x11"


def memo(text: str) -> Instruction:
    """A note in the ledger. It makes a message unlike every other: equal messages have equal signatures."""
    return Instruction(MEMO, (), text.encode())


def create_token_account(payer: str, owner: str, mint: str, token_program: str) -> Instruction:
    """Create a wallet's associated token account where there is none; ``payer`` lends it its rent."""
    return Instruction(
        ASSOCIATED_TOKEN,
        (
            AccountMeta(payer, signer=True, writable=True),
            AccountMeta(token_account(owner, mint, token_program), writable=True),
            AccountMeta(owner),
            AccountMeta(mint),
            AccountMeta(SYSTEM),
            AccountMeta(token_program),
        ),
        _CREATE_IDEMPOTENT,
    )


def transfer_lamports(source: str, target: str, lamports: int) -> Instruction:
    """Move SOL from a wallet to any account."""
    return Instruction(
        SYSTEM,
        (AccountMeta(source, signer=True, writable=True), AccountMeta(target, writable=True)),
        _SYSTEM_TRANSFER + lamports.to_bytes(8, "little"),
    )


def sync_native(account: str) -> Instruction:
    """Let a wrapped-SOL account's amount follow the lamports that were moved there."""
    return Instruction(TOKEN, (AccountMeta(account, writable=True),), _SYNC_NATIVE)


def close_account(account: str, receiver: str, owner: str) -> Instruction:
    """Close a token account of the Token program; its lamports, wrapped SOL included, go to ``receiver``."""
    return Instruction(
        TOKEN,
        (AccountMeta(account, writable=True), AccountMeta(receiver, writable=True), AccountMeta(owner, signer=True)),
        _CLOSE_ACCOUNT,
    )
