"""Raydium CLMM: liquidity concentrated between ticks, as the program amm-v3 computes it.

Source: programs/amm/src/libraries/{swap_math,sqrt_price_math,liquidity_math,tick_math}.rs and instructions/swap.rs of
raydium-io/raydium-clmm. Square-root prices are Q64.64 (base units of token 1 per base unit of token 0); rates are
parts per million. The fee is the static one of the pool's configuration, taken from the input. The newest program also
knows pools that take it from the output, pools with a dynamic fee, and limit orders: those are not computed here, and a
pool that has one of the first two refuses to quote and says why, rather than quote too much.

A swap steps from one initialised tick to the next. A step that reaches its tick takes and gives the same for every
larger swap, so whole steps are summed once per direction into a table that grows as far as quotes reach, and a quote
is one bisection and one step. The tables are not made for several threads at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, NamedTuple

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.domain.venues import RAYDIUM
from order_engine.venues.integer import Q64, U128_MAX, ceil_div, check_amount, side_of, spot_of
from order_engine.venues.swap import Fees, Swap

RATE_DENOMINATOR = 1_000_000
MIN_TICK = -443_636
MAX_TICK = 443_636
MIN_SQRT_PRICE = 4_295_048_016
MAX_SQRT_PRICE = 79_226_673_521_066_979_257_578_248_091

# 2^64 / 1.0001^(2^(i - 1)), one per bit of the tick, as the program stores them.
_RATIOS = (
    0xFFFCB933BD6FB800,
    0xFFF97272373D4000,
    0xFFF2E50F5F657000,
    0xFFE5CACA7E10F000,
    0xFFCB9843D60F7000,
    0xFF973B41FA98E800,
    0xFF2EA16466C9B000,
    0xFE5DEE046A9A3800,
    0xFCBE86C7900BB000,
    0xF987A7253AC65800,
    0xF3392B0822BB6000,
    0xE7159475A2CAF000,
    0xD097F3BDFD2F2000,
    0xA9F746462D9F8000,
    0x70D869A156F31C00,
    0x31BE135F97ED3200,
    0x9AA508B5B85A500,
    0x5D6AF8DEDC582C,
    0x2216E584F5FA,
)


@lru_cache(maxsize=1 << 14)
def sqrt_price_at(tick: int) -> int:
    """1.0001^(tick / 2) in Q64.64, every product rounded down (tick_math::get_sqrt_price_at_tick).

    Raises:
        QuoteRefused: the tick is beyond +-443 636.
    """
    if not MIN_TICK <= tick <= MAX_TICK:
        raise QuoteRefused("The tick is out of range.")
    ratio = Q64
    for bit, factor in enumerate(_RATIOS):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 64
    return U128_MAX // ratio if tick > 0 else ratio


def tick_at(sqrt_price: int) -> int:
    """The greatest tick whose square-root price is not above this one (tick_math::get_tick_at_sqrt_price).

    Args:
        sqrt_price: Q64.64, from MIN_SQRT_PRICE to below MAX_SQRT_PRICE.
    """
    ticks = range(MIN_TICK, MAX_TICK + 1)
    return ticks[bisect_right(ticks, sqrt_price, key=sqrt_price_at) - 1]


def amount_0_between(lower: int, upper: int, liquidity: int, *, round_up: bool) -> int:
    """Base units of token 0 between two square-root prices (Q64.64): L (upper - lower) / (upper lower).

    Source: liquidity_math::get_delta_amount_0_unsigned.
    """
    numerator, denominator = (liquidity << 64) * (upper - lower), upper * lower
    return -(-numerator // denominator) if round_up else numerator // denominator


def amount_1_between(lower: int, upper: int, liquidity: int, *, round_up: bool) -> int:
    """Base units of token 1 between two square-root prices (Q64.64): L (upper - lower).

    Source: liquidity_math::get_delta_amount_1_unsigned.
    """
    product = liquidity * (upper - lower)
    return -(-product >> 64) if round_up else product >> 64


class Step(NamedTuple):
    """One step of a swap: the square-root price reached (Q64.64), and base units in (without fee), out, and fee."""

    sqrt_price: int
    amount_in: int
    amount_out: int
    fee: int


def swap_step(
    sqrt_price: int, target: int, liquidity: int, remaining: int, fee_rate: int, *, zero_for_one: bool
) -> Step:
    """Swap an exact input towards a target price, as swap_math::compute_swap_step does.

    Args:
        sqrt_price: where the step starts, Q64.64.
        target: where it ends at the latest, Q64.64.
        liquidity: in range.
        remaining: the input that is left, fee included, base units.
        fee_rate: parts per million.
        zero_for_one: token 0 goes in and the price falls.

    Returns:
        The input is rounded up, the output down. A step that stops short of the target leaves its dust as fee.
    """
    less_fee = remaining * (RATE_DENOMINATOR - fee_rate) // RATE_DENOMINATOR
    if zero_for_one:
        amount_in = amount_0_between(target, sqrt_price, liquidity, round_up=True)
    else:
        amount_in = amount_1_between(sqrt_price, target, liquidity, round_up=True)
    if less_fee >= amount_in:
        reached = target
    elif zero_for_one:
        reached = ceil_div((liquidity << 64) * sqrt_price, (liquidity << 64) + less_fee * sqrt_price)
    else:
        reached = sqrt_price + (less_fee << 64) // liquidity
    if zero_for_one:
        if reached != target:
            amount_in = amount_0_between(reached, sqrt_price, liquidity, round_up=True)
        amount_out = amount_1_between(reached, sqrt_price, liquidity, round_up=False)
    else:
        if reached != target:
            amount_in = amount_1_between(sqrt_price, reached, liquidity, round_up=True)
        amount_out = amount_0_between(sqrt_price, reached, liquidity, round_up=False)
    if reached != target:
        return Step(reached, amount_in, amount_out, remaining - amount_in)
    return Step(reached, amount_in, amount_out, ceil_div(amount_in * fee_rate, RATE_DENOMINATOR - fee_rate))


class FeeOn(IntEnum):
    """Which token pays the fee; the values are those of the pool's account (PoolState.fee_on)."""

    INPUT = 0
    ONLY_TOKEN_0 = 1
    ONLY_TOKEN_1 = 2


@dataclass(frozen=True, slots=True)
class Tick:
    """An initialised tick.

    Attributes:
        index: the exponent of its price.
        liquidity_net: what crossing it upwards adds to the liquidity.
    """

    index: int
    liquidity_net: int


class _Range(NamedTuple):
    """A stretch of constant liquidity in one direction, up to and with the tick at its end."""

    start: int
    target: int
    liquidity: int
    tick: Tick


@dataclass(slots=True)
class _Table:
    """One direction of a pool, as far as quotes have reached.

    ``ends[k]`` is the total input that passes the ranges 0 to k; ``inputs[k]`` and ``outputs[k]`` are what the ranges
    before k take and give, the totals what all ranges so far do.
    """

    ahead: Iterator[_Range]
    ranges: list[_Range] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    total_in: int = 0
    total_out: int = 0


@dataclass(frozen=True, slots=True)
class ClmmPool:
    """A snapshot of a CLMM pool.

    Attributes:
        sqrt_price: Q64.64.
        tick: the current tick; the greatest one not above the price, or one less right after crossing it downwards.
        liquidity: in range at the current price.
        ticks: the known initialised ticks, indexes ascending. A swap that would go beyond them is refused.
        trade_fee_rate: parts per million of the input.
        protocol_fee_rate: parts per million of the trade fee.
        fund_fee_rate: parts per million of the trade fee.
        fee_on: which token pays the fee. A swap that would pay it from the output is refused.
        dynamic_fee: the pool charges more while its price moves (PoolState.dynamic_fee_info is set). It is refused.
    """

    kind: ClassVar[str] = "clmm"
    venue: ClassVar[str] = RAYDIUM

    pool_id: str
    mints: tuple[str, str]
    sqrt_price: int
    tick: int
    liquidity: int
    ticks: tuple[Tick, ...]
    trade_fee_rate: int
    protocol_fee_rate: int = 0
    fund_fee_rate: int = 0
    fee_on: FeeOn = FeeOn.INPUT
    dynamic_fee: bool = False
    _tables: dict[int, _Table] = field(default_factory=dict, init=False, repr=False, compare=False)

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after the fee; rounded down per step.

        Raises:
            QuoteRefused: the known ticks hold too little, the output would be zero, or the pool's fee is one that is
                not computed here.
        """
        check_amount(amount_in)
        side = self._side(mint_in)
        table = self._table(side, amount_in)
        passed = bisect_left(table.ends, amount_in)
        if passed == len(table.ranges):
            raise QuoteRefused("The pool's known ticks hold too little for this amount.")
        start, target, liquidity, _ = table.ranges[passed]
        step = swap_step(
            start,
            target,
            liquidity,
            amount_in - table.inputs[passed],
            self.trade_fee_rate,
            zero_for_one=side == 0,
        )
        out = table.outputs[passed] + step.amount_out
        if not 0 < out <= U64_MAX:
            raise QuoteRefused("The output would be zero, or larger than an account can hold.")
        return out

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees: the squared square-root price over 2^128, or its inverse."""
        return spot_of(self.sqrt_price, side_of(self.mints, mint_in))

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """A piece per stretch of constant liquidity.

        With s for the square-root price and L for the liquidity an input x gives s^2 x / (1 + x s / L) downwards and
        s^-2 x / (1 + x / (L s)) upwards.

        Raises:
            QuoteRefused: the pool's fee is one that is not computed here.
        """
        return (Curve(self._pieces(self._side(mint_in))),)

    def _pieces(self, side: int) -> Iterator[Piece]:
        kept = 1 - self.trade_fee_rate / RATE_DENOMINATOR
        for start, target, liquidity, _ in self._ranges(side):
            if not liquidity or start == target:
                continue
            if side == 0:
                price, bend = start * start / (1 << 128), start / (liquidity << 64)
                size = (liquidity << 64) * (start - target) / (start * target)
            else:
                price, bend = (1 << 128) / (start * start), Q64 / (liquidity * start)
                size = liquidity * (target - start) / Q64
            yield Piece(price * kept, bend * kept, size / kept)

    def _side(self, mint_in: str) -> int:
        """Which of the mints goes in; refuses the fees that are not computed here."""
        side = side_of(self.mints, mint_in)
        if self.dynamic_fee:
            raise QuoteRefused("The pool has a dynamic fee, which is not computed here.")
        # ONLY_TOKEN_0 is 1 and ONLY_TOKEN_1 is 2: the token charged is fee_on - 1.
        if self.fee_on not in (FeeOn.INPUT, side + 1):
            raise QuoteRefused("The pool takes its fee from the output, which is not computed here.")
        return side

    def swap(self, mint_in: str, amount_in: int) -> Swap[ClmmPool]:
        """The same swap as ``quote``, walked step by step, with its fees and the pool afterwards.

        Raises:
            QuoteRefused: as ``quote``.
        """
        check_amount(amount_in)
        side = self._side(mint_in)
        zero_for_one = side == 0
        left, out, fee, protocol, fund = amount_in, 0, 0, 0, 0
        pool = self
        for stretch in self._ranges(side):
            step = swap_step(
                stretch.start,
                stretch.target,
                stretch.liquidity,
                left,
                self.trade_fee_rate,
                zero_for_one=zero_for_one,
            )
            left -= step.amount_in + step.fee
            out += step.amount_out
            fee += step.fee
            protocol += step.fee * self.protocol_fee_rate // RATE_DENOMINATOR
            fund += step.fee * self.fund_fee_rate // RATE_DENOMINATOR
            pool = pool._stopped(stretch, step.sqrt_price, zero_for_one=zero_for_one)
            if left == 0:
                break
        if left:
            raise QuoteRefused("The pool's known ticks hold too little for this amount.")
        if not 0 < out <= U64_MAX:
            raise QuoteRefused("The output would be zero, or larger than an account can hold.")
        return Swap(
            mint_in=mint_in,
            mint_out=self.mints[1 - side],
            amount_in=amount_in,
            amount_out=out,
            fees=Fees(mint_in, fee - protocol - fund, protocol, fund, 0, mint_in),
            pool=pool,
        )

    def _stopped(self, stretch: _Range, sqrt_price: int, *, zero_for_one: bool) -> ClmmPool:
        """The pool with its price within a stretch or at its end, where the tick is crossed."""
        if sqrt_price == sqrt_price_at(stretch.tick.index):
            liquidity = _cross(stretch.liquidity, stretch.tick, zero_for_one=zero_for_one)
            tick = stretch.tick.index - 1 if zero_for_one else stretch.tick.index
        else:
            liquidity = stretch.liquidity
            # A price that did not move keeps its tick: on the edge of two ticks the price alone does not tell which.
            tick = self.tick if sqrt_price == stretch.start else tick_at(sqrt_price)
        return replace(self, sqrt_price=sqrt_price, tick=tick, liquidity=liquidity)

    def _ranges(self, side: int) -> Iterator[_Range]:
        """The stretches of constant liquidity that a swap passes, in order."""
        zero_for_one = side == 0
        # Downwards the current tick itself is still to be crossed, upwards it is not.
        split = bisect_right(self.ticks, self.tick, key=lambda t: t.index)
        price, liquidity = self.sqrt_price, self.liquidity
        for tick in reversed(self.ticks[:split]) if zero_for_one else self.ticks[split:]:
            target = min(max(sqrt_price_at(tick.index), MIN_SQRT_PRICE + 1), MAX_SQRT_PRICE - 1)
            yield _Range(price, target, liquidity, tick)
            price, liquidity = target, _cross(liquidity, tick, zero_for_one=zero_for_one)

    def _table(self, side: int, amount_in: int) -> _Table:
        """The table of a direction, grown until the amount does not pass its last range, or the ticks end."""
        table = self._tables.get(side)
        if table is None:
            table = self._tables[side] = _Table(self._ranges(side))
        if not table.ends or table.ends[-1] < amount_in:
            self._grow(table, amount_in, zero_for_one=side == 0)
        return table

    def _grow(self, table: _Table, amount_in: int, *, zero_for_one: bool) -> None:
        for stretch in table.ahead:
            step = swap_step(
                stretch.start,
                stretch.target,
                stretch.liquidity,
                # Enough to reach any target: no range takes more than its liquidity times the whole price range.
                stretch.liquidity * MAX_SQRT_PRICE,
                self.trade_fee_rate,
                zero_for_one=zero_for_one,
            )
            table.ranges.append(stretch)
            table.inputs.append(table.total_in)
            table.outputs.append(table.total_out)
            table.total_in += step.amount_in + step.fee
            table.total_out += step.amount_out
            table.ends.append(table.total_in)
            if table.total_in >= amount_in:
                return


def _cross(liquidity: int, tick: Tick, *, zero_for_one: bool) -> int:
    """The liquidity on the other side of a tick (liquidity_math::add_delta)."""
    crossed = liquidity - tick.liquidity_net if zero_for_one else liquidity + tick.liquidity_net
    if crossed < 0:
        raise QuoteRefused("The pool's ticks do not add up.")
    return crossed
