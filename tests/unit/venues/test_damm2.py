"""Meteora DAMM v2: the real program's results, and what must hold for every pool."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.meteora.damm2 import CollectFeeMode, Damm2Pool
from tests.unit.venues.pools.damm2 import A, B, pools
from tests.unit.venues.pools.quotes import quote_or_zero
from tests.unit.venues.recorded import load

AMOUNTS = st.integers(1, 10_000) | st.integers(1, 2**40)


def test_every_swap_of_the_real_program_is_reproduced() -> None:
    swaps = load("damm2.json")["swaps"]
    assert len(swaps) == 400
    for recorded in swaps:
        pool = Damm2Pool(
            pool_id="pool",
            mints=(A, B),
            sqrt_price=int(recorded["sqrt_price"]),
            liquidity=int(recorded["liquidity"]),
            fee_numerator=recorded["base_fee_numerator"],
            collect_fee_mode=CollectFeeMode(recorded["collect_fee_mode"]),
        )
        mint_in = A if recorded["a_to_b"] else B
        swap = pool.swap(mint_in, recorded["amount_in"])
        assert swap.amount_out == recorded["amount_out"]
        assert swap.pool.sqrt_price == int(recorded["next_sqrt_price"])
        assert quote_or_zero(pool, mint_in, recorded["amount_in"]) == recorded["amount_out"]


def at_price_one(**changes: int) -> Damm2Pool:
    """Price 1, a depth of 10^12 on both sides, a fee of 1 %."""
    return Damm2Pool(
        pool_id="pool",
        mints=(A, B),
        sqrt_price=1 << 64,
        liquidity=10**12 << 64,
        fee_numerator=10_000_000,
        collect_fee_mode=CollectFeeMode(changes.get("mode", 0)),
        sqrt_min_price=changes.get("low", 1 << 63),
        sqrt_max_price=changes.get("high", 1 << 65),
    )


@pytest.mark.parametrize(("mode", "mint_in", "fee_mint"), [(0, A, B), (0, B, A), (1, A, B), (1, B, B)])
def test_the_fee_is_charged_on_the_output_unless_only_b_pays_and_goes_in(
    mode: int, mint_in: str, fee_mint: str
) -> None:
    swap = at_price_one(mode=mode).swap(mint_in, 1_000_000)
    assert (swap.fees.mint, swap.fees.total) == (fee_mint, 10_000)
    assert swap.fees.protocol == 2_000
    assert swap.amount_out == 989_999


def test_a_swap_that_would_leave_the_range_is_refused() -> None:
    narrow = at_price_one(low=(1 << 64) - (1 << 50), high=(1 << 64) + (1 << 50))
    assert narrow.quote(A, 10_000_000) > 0
    for mint_in in (A, B):
        with pytest.raises(QuoteRefused):
            narrow.quote(mint_in, 10**9)
        with pytest.raises(QuoteRefused):
            narrow.quote_exact_out(mint_in, 10**9)


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1])
def test_an_amount_that_is_no_u64_is_refused(amount: int) -> None:
    with pytest.raises(QuoteRefused):
        at_price_one().quote(A, amount)


def test_an_output_of_zero_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        at_price_one().quote(A, 1)


def test_a_pool_without_liquidity_is_refused() -> None:
    empty = Damm2Pool("pool", (A, B), 1 << 64, 0, 0)
    for attempt in (empty.quote, empty.quote_exact_out):
        with pytest.raises(QuoteRefused):
            attempt(A, 1_000)


def test_spot_is_the_square_of_the_square_root_price() -> None:
    pool = Damm2Pool("pool", (A, B), 3 << 64, 1 << 100, 0)
    numerator, denominator = pool.spot(A)
    assert numerator == 9 * denominator
    assert pool.spot(B) == (denominator, numerator)


@given(pools(), st.sampled_from([A, B]), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less_out(pool: Damm2Pool, mint_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    try:
        upper = pool.quote(mint_in, more)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(pool, mint_in, less) <= upper


@given(pools(), st.sampled_from([A, B]), AMOUNTS)
def test_a_swap_keeps_the_books(pool: Damm2Pool, mint_in: str, amount: int) -> None:
    try:
        swap = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert swap.amount_out == quote_or_zero(pool, mint_in, amount)
    assert pool.sqrt_min_price <= swap.pool.sqrt_price <= pool.sqrt_max_price
    moved = swap.pool.sqrt_price - pool.sqrt_price
    assert moved <= 0 if mint_in == A else moved >= 0
    # No more than the range holds: L (s - min) of B, L (1/s - 1/max) of A.
    if mint_in == A:
        held = pool.liquidity * (pool.sqrt_price - pool.sqrt_min_price) >> 128
    else:
        width = pool.sqrt_max_price - pool.sqrt_price
        held = pool.liquidity * width // (pool.sqrt_price * pool.sqrt_max_price)
    assert swap.amount_out <= held
    assert min(swap.fees.lp, swap.fees.protocol) >= 0


@given(pools(), st.sampled_from([A, B]), AMOUNTS)
def test_a_round_trip_never_profits(pool: Damm2Pool, mint_in: str, amount: int) -> None:
    try:
        there = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(there.pool, there.mint_out, there.amount_out) <= amount


@given(pools(), st.sampled_from([A, B]), AMOUNTS)
def test_the_input_for_an_exact_output_buys_at_least_that(pool: Damm2Pool, mint_out: str, wanted: int) -> None:
    try:
        amount_in = pool.quote_exact_out(mint_out, wanted)
        bought = pool.quote(A if mint_out == B else B, amount_in)
    except QuoteRefused:
        assume(False)
    assert bought >= wanted
