"""What a swap in a pool does: the amounts, where the fees go, and the pool afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from order_engine.domain.quote import CurvedPool


@dataclass(frozen=True, slots=True)
class Fees:
    """The fees of one swap, in base units.

    Attributes:
        mint: the mint of all fees but the creator's.
        lp: stays with the liquidity providers (and, in a DLMM pool, the makers of filled limit orders).
        protocol: owed to the venue.
        fund: owed to the venue's fund (Raydium only).
        creator: owed to the pool's creator (CPMM only).
        creator_mint: the mint of the creator's fee.
    """

    mint: str
    lp: int
    protocol: int
    fund: int
    creator: int
    creator_mint: str

    @property
    def total(self) -> int:
        """The sum of all fees that are in ``mint``."""
        rest = self.lp + self.protocol + self.fund
        return rest + self.creator if self.creator_mint == self.mint else rest


@dataclass(frozen=True, slots=True)
class Swap[P]:
    """The result of an exact-in swap.

    Attributes:
        amount_in: base units of ``mint_in`` that the trader gives, fees included.
        amount_out: base units of ``mint_out`` that the trader gets, after every fee.
        pool: the pool after the swap.
    """

    mint_in: str
    mint_out: str
    amount_in: int
    amount_out: int
    fees: Fees
    pool: P


class SwapPool(CurvedPool, Protocol):
    """A pool that also says what a swap does to it."""

    def swap(self, mint_in: str, amount_in: int) -> Swap[Self]:
        """Swap an exact input; amounts in base units.

        Raises:
            QuoteRefused: the pool cannot fill the amount.
        """
