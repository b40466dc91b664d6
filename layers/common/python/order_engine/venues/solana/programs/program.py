"""What every program's module offers, and what their swap instructions share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from order_engine.venues.solana.accounts import Mint, View
from order_engine.venues.solana.addresses import token_account
from order_engine.venues.solana.messages import AccountMeta, Instruction
from order_engine.venues.swap import SwapPool
from order_engine.venues.transfer_fee import NO_FEE, TransferFeePool

# How many arrays of bins or ticks with liquidity are read, and named by a swap, in each direction.
ARRAYS_EACH_WAY = 3


@dataclass(frozen=True, slots=True)
class Trade:
    """One exact-in swap of a wallet in one pool.

    Attributes:
        user: the wallet that signs, owner of both token accounts.
        amount_in: base units that leave the wallet.
        min_out: base units below which the program refuses.
    """

    user: str
    mint_in: str
    amount_in: int
    min_out: int

    @property
    def amounts(self) -> bytes:
        return self.amount_in.to_bytes(8, "little") + self.min_out.to_bytes(8, "little")


class SwapAccounts(Protocol):
    """What the swaps of a pool name. Pairs are in the pool's own order of mints."""

    @property
    def mints(self) -> tuple[str, str]: ...

    @property
    def token_programs(self) -> tuple[str, str]: ...

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """The instruction of one swap.

        Args:
            after: the pool as this swap would leave it, without transfer fees: it tells how far the swap goes.
        """


@dataclass(frozen=True, slots=True)
class LivePool:
    """A pool read from the chain: what it quotes, and what a swap in it names."""

    pool: SwapPool
    accounts: SwapAccounts

    def swap(self, trade: Trade) -> Instruction:
        """The instruction of one swap.

        Raises:
            QuoteRefused: the pool cannot fill the amount.
        """
        after: SwapPool = self.pool.swap(trade.mint_in, trade.amount_in).pool
        return self.accounts.swap(trade, after.pool if isinstance(after, TransferFeePool) else after)


class Program(Protocol):
    """A venue's program."""

    @property
    def address(self) -> str:
        """The program's own."""

    @property
    def pool_bytes(self) -> int:
        """The size of its pool accounts, by which they are found."""

    @property
    def mint_offsets(self) -> tuple[int, int]:
        """Where a pool's account names its two mints, by which it is found."""

    def read(self, pool: str, view: View) -> LivePool:
        """A pool of this program, ready to quote.

        Raises:
            Missing: the view lacks accounts; with those, the pool can be tried again.
            MalformedAccount: the accounts are not what they should be, or use what is not modelled.
            QuoteRefused: the pool is closed.
        """


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of a pool, seen from the token that goes in."""

    mint_in: str
    mint_out: str
    account_in: str
    account_out: str
    vault_in: str
    vault_out: str
    program_in: str
    program_out: str


def sides(pool: SwapAccounts, vaults: tuple[str, str], trade: Trade) -> Sides:
    """See a pool from the token that goes in.

    Raises:
        ValueError: the pool does not trade this mint.
    """
    i = pool.mints.index(trade.mint_in)
    o = 1 - i
    programs = pool.token_programs
    return Sides(
        mint_in=pool.mints[i],
        mint_out=pool.mints[o],
        account_in=token_account(trade.user, pool.mints[i], programs[i]),
        account_out=token_account(trade.user, pool.mints[o], programs[o]),
        vault_in=vaults[i],
        vault_out=vaults[o],
        program_in=programs[i],
        program_out=programs[o],
    )


@dataclass(frozen=True, slots=True)
class Arrays:
    """The arrays of bins or ticks in one direction, in the order in which a swap crosses them.

    A swap names those up to where its quote ends, and one more: the price may have moved when it lands, and each name
    costs 32 bytes.
    """

    indexes: tuple[int, ...]
    addresses: tuple[str, ...]

    def upto(self, index: int) -> tuple[str, ...]:
        """The addresses that a swap names whose quote ends in the array of this index."""
        passed = next((place for place, at in enumerate(self.indexes) if at == index), len(self.indexes))
        return self.addresses[: passed + 2]


def existing(indexes: Sequence[int], at: Mapping[int, str], view: View) -> Arrays:
    """The arrays of one direction as far as they exist: beyond one that is named and not there, nothing is known."""
    found = list(takewhile(lambda index: view.demand((at[index],))[0] is not None, indexes))
    return Arrays(tuple(found), tuple(at[index] for index in found))


def reads(*names: str) -> tuple[AccountMeta, ...]:
    return tuple(AccountMeta(name) for name in names)


def writes(*names: str) -> tuple[AccountMeta, ...]:
    return tuple(AccountMeta(name, writable=True) for name in names)


def signs(name: str) -> tuple[AccountMeta, ...]:
    return (AccountMeta(name, signer=True),)


def discriminator(name: str) -> bytes:
    """How Anchor programs know an instruction (``global:name``) or an account (``account:Name``)."""
    return hashlib.sha256(name.encode()).digest()[:8]


def live(pool: SwapPool, mints: tuple[Mint, Mint], accounts: SwapAccounts) -> LivePool:
    """A pool as a trader sees it: where a mint withholds a part of each transfer, that counts."""
    fees = (mints[0].transfer_fee, mints[1].transfer_fee)
    if fees == (NO_FEE, NO_FEE):
        return LivePool(pool, accounts)
    # Any: a protocol with Self as its result is not seen to fulfil its own bound.
    return LivePool(TransferFeePool[Any](pool, fees), accounts)
