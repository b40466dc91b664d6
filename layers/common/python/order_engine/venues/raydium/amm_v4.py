"""Raydium AMM v4: the constant product pool without its order book, as the program raydium-amm computes it.

Source: program/src/{math.rs, processor.rs} of raydium-io/raydium-amm, instruction swap_base_in_v2. The fee is taken
from the input and rounded up; the output is rounded down. All of the fee stays in the vaults; the pool's share of its
profit is set apart by other instructions only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.domain.venues import RAYDIUM
from order_engine.venues.integer import ceil_div, check_amount, side_of
from order_engine.venues.swap import Fees, Swap


@dataclass(frozen=True, slots=True)
class AmmV4Pool:
    """A snapshot of an AMM v4 pool.

    Attributes:
        mints: coin, pc.
        reserves: base units that trade: the vaults less the profit that is to be taken.
        fee: the swap fee as a ratio (numerator, denominator) of the input.
    """

    kind: ClassVar[str] = "amm_v4"
    venue: ClassVar[str] = RAYDIUM

    pool_id: str
    mints: tuple[str, str]
    reserves: tuple[int, int]
    fee: tuple[int, int] = (25, 10_000)

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after the fee; rounded down.

        Raises:
            QuoteRefused: the pool is empty, the output would be zero, or the vault would overflow.
        """
        return self._exact_in(side_of(self.mints, mint_in), amount_in)[1]

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees: (reserve out, reserve in)."""
        side = side_of(self.mints, mint_in)
        return self.reserves[1 - side], self.reserves[side]

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """One piece: the curve less the fee, up to what the vault can hold.

        Raises:
            QuoteRefused: the pool is empty, or its fee is everything.
        """
        side = side_of(self.mints, mint_in)
        reserve_in, reserve_out = self.reserves[side], self.reserves[1 - side]
        numerator, denominator = self.fee
        if min(reserve_in, reserve_out) <= 0 or numerator >= denominator:
            raise QuoteRefused("The pool is empty.")
        bend = (denominator - numerator) / (denominator * reserve_in)
        return (Curve((Piece(reserve_out * bend, bend, float(U64_MAX - reserve_in)),)),)

    def swap(self, mint_in: str, amount_in: int) -> Swap[AmmV4Pool]:
        """The same swap as ``quote`` with its fee and the pool afterwards.

        Raises:
            QuoteRefused: as ``quote``.
        """
        side = side_of(self.mints, mint_in)
        fee, out = self._exact_in(side, amount_in)
        reserve_in, reserve_out = self.reserves[side] + amount_in, self.reserves[1 - side] - out
        reserves = (reserve_in, reserve_out) if side == 0 else (reserve_out, reserve_in)
        return Swap(
            mint_in=mint_in,
            mint_out=self.mints[1 - side],
            amount_in=amount_in,
            amount_out=out,
            fees=Fees(mint_in, fee, 0, 0, 0, mint_in),
            pool=replace(self, reserves=reserves),
        )

    def _exact_in(self, side: int, amount_in: int) -> tuple[int, int]:
        """The fee and the output, base units."""
        check_amount(amount_in)
        reserve_in, reserve_out = self.reserves[side], self.reserves[1 - side]
        if reserve_in <= 0 or reserve_out <= 0:
            raise QuoteRefused("The pool is empty.")
        if reserve_in + amount_in > U64_MAX:
            raise QuoteRefused("The vault cannot hold this amount.")
        numerator, denominator = self.fee
        fee = ceil_div(amount_in * numerator, denominator)
        net = amount_in - fee
        out = net * reserve_out // (reserve_in + net)
        if out == 0:
            raise QuoteRefused("The output would be zero.")
        return fee, out
