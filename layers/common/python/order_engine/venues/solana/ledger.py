"""What a landed transaction did, as the chain's ledger has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """Base units of a mint in an account of an owner."""

    owner: str
    mint: str
    amount: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a landed transaction did.

    Attributes:
        signature: the first one, by which it was asked for.
        payer: the first signer, who paid the fee.
        fee: in lamports.
        lamports: of each of the message's accounts, before and after.
        before, after: token balances that the transaction touched.
    """

    slot: int
    error: Any
    signature: str
    payer: str
    fee: int
    lamports: tuple[tuple[str, int, int], ...]
    before: tuple[TokenBalance, ...]
    after: tuple[TokenBalance, ...]
    logs: tuple[str, ...]

    def received(self, owner: str, mint: str) -> int:
        """By how many base units the owner's holding of a mint has grown; negative where it shrank."""
        return sum(b.amount for b in self.after if (b.owner, b.mint) == (owner, mint)) - sum(
            b.amount for b in self.before if (b.owner, b.mint) == (owner, mint)
        )


def read_ledger(said: Any) -> Ledger:
    """What ``getTransaction`` says.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, IndexError: it says something else.
    """
    meta, message = said["meta"], said["transaction"]["message"]
    loaded = meta.get("loadedAddresses") or {}
    keys = [*message["accountKeys"], *loaded.get("writable", ()), *loaded.get("readonly", ())]
    return Ledger(
        slot=int(said["slot"]),
        error=meta["err"],
        signature=str(said["transaction"]["signatures"][0]),
        payer=str(keys[0]),
        fee=int(meta["fee"]),
        lamports=tuple(
            (str(key), int(before), int(after))
            for key, before, after in zip(keys, meta["preBalances"], meta["postBalances"], strict=True)
        ),
        before=_balances(meta["preTokenBalances"]),
        after=_balances(meta["postTokenBalances"]),
        logs=tuple(str(line) for line in meta.get("logMessages") or ()),
    )


def _balances(given: Any) -> tuple[TokenBalance, ...]:
    return tuple(
        TokenBalance(str(each["owner"]), str(each["mint"]), int(each["uiTokenAmount"]["amount"])) for each in given
    )
