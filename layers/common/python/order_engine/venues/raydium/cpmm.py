"""Raydium CPMM: the constant product pool, as the program raydium-cp-swap computes it.

Source: programs/cp-swap/src/curve/{calculator,constant_product,fees}.rs of raydium-io/raydium-cp-swap.
Rates are parts per million. The trade fee is taken from the input and rounded up; the protocol's and the fund's
shares of it are rounded down. The creator's fee is charged on top, on the input (then both fees are rounded up
together and split, the creator's part rounded down) or on the output (rounded up).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import ClassVar

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.domain.venues import RAYDIUM
from order_engine.venues.integer import ceil_div, check_amount, side_of
from order_engine.venues.swap import Fees, Swap

RATE_DENOMINATOR = 1_000_000


class CreatorFeeOn(IntEnum):
    """On which token the creator's fee is charged; the values are those of the pool's account."""

    INPUT = 0
    ONLY_TOKEN_0 = 1
    ONLY_TOKEN_1 = 2


@dataclass(frozen=True, slots=True)
class CpmmPool:
    """A snapshot of a CPMM pool.

    Attributes:
        reserves: base units that trade: the vaults less the fees owed to protocol, fund and creator.
        trade_fee_rate: parts per million of the input.
        protocol_fee_rate: parts per million of the trade fee.
        fund_fee_rate: parts per million of the trade fee.
        creator_fee_rate: parts per million of the input or output; 0 where the pool has no creator's fee.
    """

    kind: ClassVar[str] = "cpmm"
    venue: ClassVar[str] = RAYDIUM

    pool_id: str
    mints: tuple[str, str]
    reserves: tuple[int, int]
    trade_fee_rate: int
    protocol_fee_rate: int
    fund_fee_rate: int
    creator_fee_rate: int = 0
    creator_fee_on: CreatorFeeOn = CreatorFeeOn.INPUT

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after every fee of the pool; rounded down.

        Raises:
            QuoteRefused: the output would be zero, or the vault would overflow.
        """
        _, out, creator_fee = self._exact_in(side_of(self.mints, mint_in), amount_in)
        return out - creator_fee

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees: (reserve out, reserve in)."""
        side = side_of(self.mints, mint_in)
        return self.reserves[1 - side], self.reserves[side]

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """One piece: the curve less the fees on either side, up to what the vault can hold.

        Raises:
            QuoteRefused: the pool is empty, or its fees are everything.
        """
        side = side_of(self.mints, mint_in)
        reserve_in, reserve_out = self.reserves[side], self.reserves[1 - side]
        on_input = self._creator_fee_on_input(side)
        rate = self.trade_fee_rate + (self.creator_fee_rate if on_input else 0)
        if min(reserve_in, reserve_out) <= 0 or rate >= RATE_DENOMINATOR:
            raise QuoteRefused("The pool is empty.")
        bend = (RATE_DENOMINATOR - rate) / (RATE_DENOMINATOR * reserve_in)
        kept = 1.0 if on_input else 1 - self.creator_fee_rate / RATE_DENOMINATOR
        return (Curve((Piece(reserve_out * bend * kept, bend, float(U64_MAX - reserve_in)),)),)

    def swap(self, mint_in: str, amount_in: int) -> Swap[CpmmPool]:
        """The same swap as ``quote`` with its fees and the pool afterwards.

        Raises:
            QuoteRefused: as ``quote``.
        """
        side = side_of(self.mints, mint_in)
        fee, out, creator_fee = self._exact_in(side, amount_in)
        if self._creator_fee_on_input(side):
            rate = self.trade_fee_rate + self.creator_fee_rate
            creator_fee = fee * self.creator_fee_rate // rate if rate else 0
            trade_fee, creator_in, creator_side = fee - creator_fee, creator_fee, side
            amount_out = out
        else:
            trade_fee, creator_in, creator_side = fee, 0, 1 - side
            amount_out = out - creator_fee
        protocol = trade_fee * self.protocol_fee_rate // RATE_DENOMINATOR
        fund = trade_fee * self.fund_fee_rate // RATE_DENOMINATOR
        # What is owed to protocol, fund and creator lies in the vault but no longer trades.
        reserve_in = self.reserves[side] + amount_in - protocol - fund - creator_in
        reserve_out = self.reserves[1 - side] - out
        return Swap(
            mint_in=mint_in,
            mint_out=self.mints[1 - side],
            amount_in=amount_in,
            amount_out=amount_out,
            fees=Fees(mint_in, trade_fee - protocol - fund, protocol, fund, creator_fee, self.mints[creator_side]),
            pool=replace(self, reserves=(reserve_in, reserve_out) if side == 0 else (reserve_out, reserve_in)),
        )

    def quote_exact_out(self, mint_out: str, amount_out: int) -> int:
        """The input in base units, fees included, that buys an exact output; rounded up.

        Source: CurveCalculator::swap_base_output.

        Raises:
            QuoteRefused: the pool holds too little, or the input does not fit in a u64.
        """
        check_amount(amount_out)
        side = 1 - side_of(self.mints, mint_out)
        reserve_in, reserve_out = self.reserves[side], self.reserves[1 - side]
        fee_rate, gross_out = self.trade_fee_rate, amount_out
        if self._creator_fee_on_input(side):
            fee_rate += self.creator_fee_rate
        else:
            gross_out = ceil_div(amount_out * RATE_DENOMINATOR, RATE_DENOMINATOR - self.creator_fee_rate)
        if gross_out >= reserve_out:
            raise QuoteRefused("The pool holds less than the wanted output.")
        net_in = ceil_div(reserve_in * gross_out, reserve_out - gross_out)
        amount_in = ceil_div(net_in * RATE_DENOMINATOR, RATE_DENOMINATOR - fee_rate)
        if amount_in > U64_MAX - reserve_in:
            raise QuoteRefused("The needed input is larger than a vault can hold.")
        return amount_in

    def _creator_fee_on_input(self, side: int) -> bool:
        # ONLY_TOKEN_0 is 1 and ONLY_TOKEN_1 is 2: the token charged is side + 1.
        return self.creator_fee_on == CreatorFeeOn.INPUT or self.creator_fee_on == side + 1

    def _exact_in(self, side: int, amount_in: int) -> tuple[int, int, int]:
        """The fee on the input, the output of the curve, and the creator's fee on that output, in base units."""
        reserve_in, reserve_out = self.reserves if side == 0 else (self.reserves[1], self.reserves[0])
        if not 0 < amount_in <= U64_MAX - reserve_in:
            raise QuoteRefused("The amount must be positive and fit in the pool's vault.")
        rate = self.trade_fee_rate
        creator_rate = self.creator_fee_rate
        if creator_rate and self._creator_fee_on_input(side):
            rate += creator_rate
            creator_rate = 0
        fee = -(-amount_in * rate // RATE_DENOMINATOR)
        net = amount_in - fee
        out = net * reserve_out // (reserve_in + net)
        creator_fee = -(-out * creator_rate // RATE_DENOMINATOR) if creator_rate else 0
        if out <= creator_fee:
            raise QuoteRefused("The output would be zero.")
        return fee, out, creator_fee
