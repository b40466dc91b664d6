"""Raydium CLMM: the program's published values, an exact rational model, and what must hold for every pool."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.raydium.clmm import (
    MAX_SQRT_PRICE,
    MAX_TICK,
    MIN_SQRT_PRICE,
    MIN_TICK,
    ClmmPool,
    Tick,
    amount_0_between,
    sqrt_price_at,
    swap_step,
    tick_at,
)
from tests.unit.venues.pools.clmm import Q64, X, Y, around_zero, pools
from tests.unit.venues.pools.quotes import quote_or_zero

AMOUNTS = st.integers(1, 10_000) | st.integers(1, 2**45)


def test_the_ends_of_the_price_range_are_the_programs() -> None:
    assert sqrt_price_at(MIN_TICK) == MIN_SQRT_PRICE
    assert sqrt_price_at(MAX_TICK) == MAX_SQRT_PRICE
    assert sqrt_price_at(0) == Q64
    for beyond in (MIN_TICK - 1, MAX_TICK + 1):
        with pytest.raises(QuoteRefused):
            sqrt_price_at(beyond)


@given(st.integers(MIN_TICK, MAX_TICK - 1))
def test_a_tick_is_found_from_its_own_price_up_to_the_next(tick: int) -> None:
    price, following = sqrt_price_at(tick), sqrt_price_at(tick + 1)
    assert [tick_at(price), tick_at(following - 1)] == [tick, tick]
    if tick > MIN_TICK:
        assert tick_at(price - 1) == tick - 1


@given(st.integers(MIN_TICK, MAX_TICK))
def test_a_ticks_price_is_a_power_of_1_0001(tick: int) -> None:
    with localcontext(prec=60):
        exact = (Decimal(10_001) / 10_000) ** tick
        # The smallest prices have 32 significant bits only.
        assert abs((Decimal(sqrt_price_at(tick)) / Q64) ** 2 / exact - 1) < Decimal("1e-9")


@pytest.mark.parametrize("bit", range(19))
def test_each_bit_of_a_tick_has_its_own_factor(bit: int) -> None:
    with localcontext(prec=60):
        exact = 2**64 / (Decimal(10_001) / 10_000) ** (Decimal(2**bit) / 2)
        # The program's factors come from squaring one of about 55 bits, which doubles its error each time.
        assert abs(sqrt_price_at(-(2**bit)) / exact - 1) < Decimal("2e-16") + Decimal("2e-17") * 2**bit


def test_a_step_that_stops_short_leaves_its_dust_as_fee() -> None:
    step = swap_step(Q64, sqrt_price_at(-10), 10**9, 1_000, 2_500, zero_for_one=True)
    # 997 after the fee; s' = ceil(10^9 s / (10^9 + 997)) of token 1 pays floor(10^9 * 997 / (10^9 + 997)) = 996.
    assert (step.amount_in, step.amount_out, step.fee) == (997, 996, 3)


def test_a_step_that_reaches_its_target_pays_the_fee_on_what_it_took() -> None:
    target = sqrt_price_at(10)
    step = swap_step(Q64, target, 10**9, 10**9, 2_500, zero_for_one=False)
    assert step.sqrt_price == target
    assert step.amount_in == -(-(10**9) * (target - Q64) // Q64) == 500_100 + 1
    assert step.fee == -(-step.amount_in * 2_500 // 997_500)


def test_the_fee_is_shared_between_providers_protocol_and_fund() -> None:
    swap = around_zero().swap(X, 1_000_000)
    assert swap.fees.total == 2_500
    assert (swap.fees.protocol, swap.fees.fund, swap.fees.lp) == (300, 100, 2_100)


def test_crossing_a_tick_changes_the_liquidity() -> None:
    pool = around_zero()
    down = pool.swap(X, 2 * 10**9).pool
    assert (down.liquidity, down.tick < -10) == (10**12, True)
    up = pool.swap(Y, 2 * 10**9).pool
    assert (up.liquidity, up.tick >= 10) == (10**12, True)


def test_a_swap_that_ends_on_a_tick_crosses_it_once() -> None:
    pool = around_zero()
    net = amount_0_between(sqrt_price_at(-10), Q64, pool.liquidity, round_up=True)
    whole = -(-net * 1_000_000 // 997_500)
    assert pool.swap(X, whole - 1).pool.sqrt_price > sqrt_price_at(-10)
    down = pool.swap(X, whole)
    assert down.pool.sqrt_price == sqrt_price_at(-10)
    assert (down.pool.tick, down.pool.liquidity) == (-11, 10**12)
    # One unit more is all fee and moves no price: the tick stays crossed.
    assert pool.swap(X, whole + 1).pool == down.pool
    assert down.pool.quote(X, 100_000) == down.pool.swap(X, 100_000).amount_out
    assert down.pool.swap(Y, 10**6).pool.liquidity == 2 * 10**12


def test_more_than_the_known_ticks_hold_is_refused_not_partly_filled() -> None:
    pool = around_zero()
    for mint_in in (X, Y):
        assert pool.quote(mint_in, 5 * 10**9) > 0
        for attempt in (pool.quote, pool.swap):
            with pytest.raises(QuoteRefused):
                attempt(mint_in, 10**10)


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1])
def test_an_amount_that_is_no_u64_is_refused(amount: int) -> None:
    with pytest.raises(QuoteRefused):
        around_zero().quote(X, amount)


def test_an_output_of_zero_is_refused() -> None:
    for attempt in (around_zero().quote, around_zero().swap):
        with pytest.raises(QuoteRefused):
            attempt(X, 1)


def test_ticks_that_do_not_add_up_are_refused() -> None:
    broken = ClmmPool("pool", (X, Y), Q64, 0, 10, (Tick(10, -20), Tick(20, 10)), 0)
    with pytest.raises(QuoteRefused):
        broken.quote(Y, 1_000)


def exact_output(pool: ClmmPool, mint_in: str, amount: int) -> Fraction:
    """The output of the same curve without any rounding, in base units."""
    down = mint_in == X
    left = amount * (1 - Fraction(pool.trade_fee_rate, 1_000_000))
    price, liquidity, out = Fraction(pool.sqrt_price, Q64), pool.liquidity, Fraction(0)
    ahead = [t for t in reversed(pool.ticks) if t.index <= pool.tick] if down else []
    ahead = ahead or ([] if down else [t for t in pool.ticks if t.index > pool.tick])
    for tick in ahead:
        target = Fraction(sqrt_price_at(tick.index), Q64)
        need = liquidity * (1 / target - 1 / price) if down else liquidity * (target - price)
        if need >= left:
            reached = liquidity / (liquidity / price + left) if down else price + left / liquidity
            return out + (liquidity * (price - reached) if down else liquidity * (1 / price - 1 / reached))
        out += liquidity * (price - target) if down else liquidity * (1 / price - 1 / target)
        left, price = left - need, target
        liquidity += -tick.liquidity_net if down else tick.liquidity_net
    return out


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_the_output_is_the_exact_one_less_rounding_in_the_pools_favour(
    pool: ClmmPool, mint_in: str, amount: int
) -> None:
    try:
        out = pool.quote(mint_in, amount)
    except QuoteRefused:
        assume(False)
    exact = exact_output(pool, mint_in, amount)
    numerator, denominator = pool.spot(mint_in)
    # Each step loses at most one unit of output, and two of input at about the pool's price (within 10 % here).
    steps = len(pool.ticks) + 1
    assert out <= exact
    assert exact - out <= steps * (1 + 2 * Fraction(numerator, denominator) * Fraction(11, 10)) + 1


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_the_table_quotes_what_the_walk_from_tick_to_tick_gives(pool: ClmmPool, mint_in: str, amount: int) -> None:
    try:
        swap = pool.swap(mint_in, amount)
    except QuoteRefused:
        assert quote_or_zero(pool, mint_in, amount) == 0
        return
    assert swap.amount_out == pool.quote(mint_in, amount)
    assert min(swap.fees.lp, swap.fees.protocol, swap.fees.fund) >= 0
    after = swap.pool
    assert sqrt_price_at(after.tick) <= after.sqrt_price <= sqrt_price_at(after.tick + 1)
    assert after.liquidity == sum(t.liquidity_net for t in pool.ticks if t.index <= after.tick)


@given(pools(), st.sampled_from([X, Y]), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less_out(pool: ClmmPool, mint_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    try:
        upper = pool.quote(mint_in, more)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(pool, mint_in, less) <= upper


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_a_round_trip_never_profits(pool: ClmmPool, mint_in: str, amount: int) -> None:
    try:
        there = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(there.pool, there.mint_out, there.amount_out) <= amount


@given(pools(), st.lists(st.tuples(st.sampled_from([X, Y]), AMOUNTS), min_size=2, max_size=6))
def test_earlier_quotes_do_not_change_later_ones(pool: ClmmPool, asked: list[tuple[str, int]]) -> None:
    for mint_in, amount in asked:
        assert quote_or_zero(pool, mint_in, amount) == quote_or_zero(replace(pool), mint_in, amount)
