"""What accounts hold, in SOL and in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from order_engine.venues.solana.addresses import TOKEN, TOKEN_2022, from_bytes

_TOKEN_ACCOUNT_BYTES, _TYPE_OF_ACCOUNT, _IS_TOKEN_ACCOUNT = 165, 165, 2
_AMOUNT = Struct("<Q")
_DECIMALS = 44


@dataclass(frozen=True, slots=True)
class TokenHolding:
    """A token account's content. ``place`` is its index among the message's accounts."""

    place: int
    owner: str
    mint: str
    amount: int
    decimals: int
    program: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """Lamports of each account, and the token accounts among them."""

    lamports: tuple[int, ...]
    tokens: tuple[TokenHolding, ...]


def holdings_of(svm: LiteSVM, keys: Sequence[str]) -> Holdings:
    """What the accounts of a message hold now."""
    lamports: list[int] = []
    tokens: list[TokenHolding] = []
    for place, key in enumerate(keys):
        account = svm.get_account(Pubkey.from_string(key))
        lamports.append(0 if account is None else account.lamports)
        if account is None or str(account.owner) not in (TOKEN, TOKEN_2022):
            continue
        data = account.data
        extended = len(data) > _TOKEN_ACCOUNT_BYTES
        if len(data) < _TOKEN_ACCOUNT_BYTES or (extended and data[_TYPE_OF_ACCOUNT] != _IS_TOKEN_ACCOUNT):
            continue
        mint = from_bytes(data[:32])
        minted = svm.get_account(Pubkey.from_string(mint))
        decimals = 0 if minted is None else minted.data[_DECIMALS]
        (amount,) = _AMOUNT.unpack_from(data, 64)
        tokens.append(TokenHolding(place, from_bytes(data[32:64]), mint, amount, decimals, str(account.owner)))
    return Holdings(tuple(lamports), tuple(tokens))
