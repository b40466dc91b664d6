"""Meteora DAMM v2: constant product over one price range, as the program cp-amm computes it.

Source: programs/cp-amm/src/{curve.rs, state/fee.rs, state/pool.rs} of MeteoraAg/damm-v2. Square-root prices are
Q64.64 (base units of B per base unit of A), liquidity is scaled by 2^128. The fee is static: pools with a fee
scheduler, a rate limiter or a dynamic fee charge more than this while those act.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import ClassVar

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.domain.venues import METEORA
from order_engine.venues.integer import ceil_div, check_amount, side_of, spot_of
from order_engine.venues.swap import Fees, Swap

FEE_DENOMINATOR = 1_000_000_000
# The range of the program; a pool may have a narrower one.
MIN_SQRT_PRICE = 4_295_048_016
MAX_SQRT_PRICE = 79_226_673_521_066_979_257_578_248_091
_PERCENT = 100


class CollectFeeMode(IntEnum):
    """Which token pays the fee; the values are those of the pool's account."""

    OUTPUT = 0
    ONLY_B = 1


@dataclass(frozen=True, slots=True)
class Damm2Pool:
    """A snapshot of a DAMM v2 pool.

    Attributes:
        mints: A, B.
        sqrt_price: Q64.64, within the pool's range.
        liquidity: scaled by 2^128.
        fee_numerator: the trading fee over 10^9.
        protocol_fee_percent: percent of the fee that the protocol (with its partner and referrer) gets.
        sqrt_min_price: lower end of the range, Q64.64.
        sqrt_max_price: upper end of the range, Q64.64.
    """

    kind: ClassVar[str] = "damm2"
    venue: ClassVar[str] = METEORA

    pool_id: str
    mints: tuple[str, str]
    sqrt_price: int
    liquidity: int
    fee_numerator: int
    collect_fee_mode: CollectFeeMode = CollectFeeMode.OUTPUT
    protocol_fee_percent: int = 20
    sqrt_min_price: int = MIN_SQRT_PRICE
    sqrt_max_price: int = MAX_SQRT_PRICE

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after the fee; rounded down.

        Raises:
            QuoteRefused: the swap would leave the range, or the output would be zero.
        """
        out, _, _ = self._exact_in(side_of(self.mints, mint_in), amount_in)
        if out == 0:
            raise QuoteRefused("The output would be zero.")
        return out

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees: the squared square-root price over 2^128, or its inverse."""
        return spot_of(self.sqrt_price, side_of(self.mints, mint_in))

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """One piece, up to the end of the pool's range.

        With s for the square-root price and L for the liquidity, both unscaled, an input x takes s to L s / (L + x s)
        or to s + x / L, and gives s^2 x / (1 + x s / L) or s^-2 x / (1 + x / (L s)).

        Raises:
            QuoteRefused: the pool has no liquidity, or nothing is left of its range.
        """
        side = side_of(self.mints, mint_in)
        price, liquidity = self.sqrt_price, self.liquidity
        if liquidity <= 0 or not self.sqrt_min_price <= price <= self.sqrt_max_price or price <= 0:
            raise QuoteRefused("The pool has no liquidity.")
        if side == 0:
            rate, bend = price * price / (1 << 128), price / liquidity
            size = liquidity * (price - self.sqrt_min_price) / (price * self.sqrt_min_price)
        else:
            rate, bend = (1 << 128) / (price * price), (1 << 128) / (liquidity * price)
            size = liquidity * (self.sqrt_max_price - price) / (1 << 128)
        kept = 1 - self.fee_numerator / FEE_DENOMINATOR
        if self._fee_on_input(side):
            return (Curve((Piece(rate * kept, bend * kept, size / kept),)),)
        return (Curve((Piece(rate * kept, bend, size),)),)

    def swap(self, mint_in: str, amount_in: int) -> Swap[Damm2Pool]:
        """The same swap as ``quote`` with its fees and the pool afterwards.

        Like the program, and unlike ``quote``, it lets a swap through whose output is zero.

        Raises:
            QuoteRefused: the swap would leave the range.
        """
        side = side_of(self.mints, mint_in)
        out, fee, sqrt_price = self._exact_in(side, amount_in)
        mint_out = self.mints[1 - side]
        fee_mint = mint_in if self._fee_on_input(side) else mint_out
        protocol = fee * self.protocol_fee_percent // _PERCENT
        return Swap(
            mint_in=mint_in,
            mint_out=mint_out,
            amount_in=amount_in,
            amount_out=out,
            fees=Fees(fee_mint, fee - protocol, protocol, 0, 0, fee_mint),
            pool=replace(self, sqrt_price=sqrt_price),
        )

    def quote_exact_out(self, mint_out: str, amount_out: int) -> int:
        """The input in base units, fee included, that buys an exact output; rounded up.

        Source: Pool::get_swap_result_from_exact_output.

        Raises:
            QuoteRefused: the swap would leave the range, or the input does not fit in a u64.
        """
        self._check(amount_out)
        side = 1 - side_of(self.mints, mint_out)
        on_input = self._fee_on_input(side)
        price, liquidity = self.sqrt_price, self.liquidity
        gross_out = amount_out if on_input else self._with_fee(amount_out)
        if side == 0:
            after = price - ceil_div(gross_out << 128, liquidity)
            self._check_range(after)
            net_in = ceil_div(liquidity * (price - after), after * price)
        else:
            rest = liquidity - gross_out * price
            if rest <= 0:
                raise QuoteRefused("The pool holds less than the wanted output.")
            after = ceil_div(liquidity * price, rest)
            self._check_range(after)
            net_in = ceil_div(liquidity * (after - price), 1 << 128)
        amount_in = self._with_fee(net_in) if on_input else net_in
        if amount_in > U64_MAX:
            raise QuoteRefused("The needed input is larger than an account can hold.")
        return amount_in

    def _fee_on_input(self, side: int) -> bool:
        return self.collect_fee_mode == CollectFeeMode.ONLY_B and side == 1

    def _with_fee(self, net: int) -> int:
        return ceil_div(net * FEE_DENOMINATOR, FEE_DENOMINATOR - self.fee_numerator)

    def _check(self, amount: int) -> None:
        check_amount(amount)
        if self.liquidity <= 0:
            raise QuoteRefused("The pool has no liquidity.")

    def _check_range(self, sqrt_price: int) -> None:
        if not self.sqrt_min_price <= sqrt_price <= self.sqrt_max_price:
            raise QuoteRefused("The swap would leave the pool's price range.")

    def _exact_in(self, side: int, amount_in: int) -> tuple[int, int, int]:
        """The output after the fee and the fee, base units, and the square-root price after the swap."""
        self._check(amount_in)
        on_input = self._fee_on_input(side)
        fee = -(-amount_in * self.fee_numerator // FEE_DENOMINATOR) if on_input else 0
        net = amount_in - fee
        price, liquidity = self.sqrt_price, self.liquidity
        if side == 0:
            after = -(-liquidity * price // (liquidity + net * price))
            out = liquidity * (price - after) >> 128
        else:
            after = price + (net << 128) // liquidity
            out = liquidity * (after - price) // (price * after)
        self._check_range(after)
        if not on_input:
            fee = -(-out * self.fee_numerator // FEE_DENOMINATOR)
            out -= fee
        if out > U64_MAX:
            raise QuoteRefused("The output is larger than an account can hold.")
        return out, fee, after
