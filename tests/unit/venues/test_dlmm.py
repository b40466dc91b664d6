"""Meteora DLMM: the real program's results, and what must hold for every pool."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool, Volatility, price_of_bin
from tests.unit.venues.pools.dlmm import Q64, X, Y, pools, two_bins
from tests.unit.venues.pools.quotes import quote_or_zero
from tests.unit.venues.recorded import DLMM_FILES, load, recorded_pair

AMOUNTS = st.integers(1, 200) | st.integers(1, 2**50)


@pytest.mark.parametrize("name", DLMM_FILES)
def test_every_swap_and_refusal_of_the_real_program_is_reproduced(name: str) -> None:
    recorded = recorded_pair(name)
    swaps = load(name)["swaps"]
    assert len(swaps) == 75
    for swap in swaps:
        pool = recorded.pool(swap["unix_ts"])
        mint_in = pool.mints[0 if swap["swap_for_y"] else 1]
        if swap["amount_out"] is None:
            for attempt in (pool.quote, pool.swap):
                with pytest.raises(QuoteRefused):
                    attempt(mint_in, swap["amount_in"])
        else:
            assert pool.quote(mint_in, swap["amount_in"]) == swap["amount_out"]
            assert pool.swap(mint_in, swap["amount_in"]).amount_out == swap["amount_out"]


@pytest.mark.parametrize("name", DLMM_FILES)
def test_every_price_that_the_program_has_stored_is_reproduced(name: str) -> None:
    pool = recorded_pair(name).pool(now=0)
    stored = [b for b in pool.bins if b.price]
    assert len(stored) > 50
    assert all(price_of_bin(b.bin_id, pool.bin_step) == b.price for b in stored)


def test_a_price_beyond_the_programs_range_is_refused() -> None:
    assert price_of_bin(0, 10) == Q64
    for bin_id in (443_636, 2**19):
        with pytest.raises(QuoteRefused):
            price_of_bin(bin_id, 400)


def test_a_swap_within_one_bin_pays_its_price_less_the_base_fee() -> None:
    swap = two_bins().swap(X, 1_000)
    assert (swap.amount_out, swap.fees.total, swap.fees.mint) == (999, 1, X)
    assert swap.pool.active_id == 0


def test_crossing_a_bin_raises_the_fee() -> None:
    parameters = two_bins().parameters
    # 40 000 * (10 000 * 100)^2 / 10^11 = 400 000 on top of 1 000 * 100 * 10 = 1 000 000.
    assert parameters.fee_rate(0, 100) == 1_000_000
    assert parameters.fee_rate(10_000, 100) == 1_400_000
    # 491 000 000 in all, were it not for the ceiling of 10 %.
    assert parameters.fee_rate(350_000, 100) == 100_000_000
    swap = two_bins().swap(X, 15_000)
    # 10 000 out of the first bin cost 10 000 + ceil(10 000 * 0.1 / 99.9) = 10 011; 4 989 go on at 0.14 %, which takes
    # 7; the second bin pays floor(4 982 / 1.01) = 4 932.
    assert swap.fees.total == 11 + 7
    assert swap.amount_out == 10_000 + 4_932
    assert swap.pool.active_id == -1
    assert swap.pool.volatility == Volatility(accumulator=10_000, reference=0, index_reference=0, updated_at=10_000)
    assert swap.pool.bins[:2] == (Bin(-1, 4_982, 10_000 - 4_932), Bin(0, 20_000, 0))


def test_volatility_decays_with_time() -> None:
    quotes = [two_bins(accumulator=300_000, now=now).quote(X, 5_000) for now in (0, 29, 30, 599, 600)]
    # Within the filter period the reference (here 0) stays. Then half of the accumulator counts, which makes the fee
    # 0.1 % + 9 %. Later nothing is left of it.
    assert quotes == [4_995, 4_995, 4_545, 4_545, 4_995]


def test_more_than_the_known_bins_hold_is_refused_not_partly_filled() -> None:
    pool = two_bins()
    # 10 000 + a fee of 11, then 10 101 (10 100 at the rounded-down price is not enough) + a fee of 15.
    assert pool.quote(X, 10_011 + 10_116) == 20_000
    for attempt in (pool.quote, pool.swap):
        with pytest.raises(QuoteRefused):
            attempt(X, 10_011 + 10_118)


def test_the_table_grows_to_whatever_is_asked() -> None:
    pool = two_bins()
    for amount in [5, *range(10_005, 10_020), 15_000, 5]:
        fresh = two_bins()
        assert pool.quote(X, amount) == fresh.quote(X, amount) == fresh.swap(X, amount).amount_out


@pytest.mark.parametrize("amount", [0, -5, U64_MAX + 1])
def test_an_amount_that_is_no_u64_is_refused(amount: int) -> None:
    with pytest.raises(QuoteRefused):
        two_bins().quote(X, amount)


def test_an_output_of_zero_is_refused() -> None:
    for attempt in (two_bins().quote, two_bins().swap):
        with pytest.raises(QuoteRefused):
            attempt(X, 1)


def test_limit_orders_fill_after_liquidity_and_only_against_them() -> None:
    pool = DlmmPool(
        pool_id="pool",
        mints=(X, Y),
        active_id=0,
        bin_step=10,
        parameters=DlmmParameters(0, 0, 0, 0, 0, 0, limit_orders=True),
        bins=(Bin(0, 100, 100, processed_orders=30, open_orders=200),),
    )
    swap = pool.swap(X, 250)
    assert swap.amount_out == 250
    assert swap.pool.bins == (Bin(0, 200, 0, processed_orders=80, open_orders=0),)
    with pytest.raises(QuoteRefused):
        pool.quote(Y, 101)


def test_spot_is_the_price_of_the_first_bin_with_liquidity() -> None:
    pool = two_bins()
    assert pool.spot(X) == (Q64, Q64)
    assert pool.swap(X, 15_000).pool.spot(Y)[1] == price_of_bin(-1, 100)


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_the_table_quotes_what_the_walk_from_bin_to_bin_gives(pool: DlmmPool, mint_in: str, amount: int) -> None:
    try:
        walked = pool.swap(mint_in, amount).amount_out
    except QuoteRefused:
        walked = 0
    assert quote_or_zero(pool, mint_in, amount) == walked


@given(pools(), st.sampled_from([X, Y]), st.data())
def test_the_table_is_exact_around_every_bins_end(pool: DlmmPool, mint_in: str, data: st.DataObject) -> None:
    outputs = sorted({b.amount_x + b.amount_y + b.open_orders + b.processed_orders for b in pool.bins})
    total = sum(outputs)
    assume(total)
    centre = data.draw(st.integers(1, 2 * total))
    for amount in range(max(1, centre - 3), centre + 4):
        try:
            walked = pool.swap(mint_in, amount).amount_out
        except QuoteRefused:
            walked = 0
        assert quote_or_zero(pool, mint_in, amount) == walked


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_a_swap_keeps_the_books(pool: DlmmPool, mint_in: str, amount: int) -> None:
    try:
        swap = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    for_y = mint_in == X
    layers = [_given(pool, b, for_y) for b in pool.bins]
    assert 0 < swap.amount_out <= sum(layers)
    assert swap.fees.lp >= 0
    assert swap.fees.protocol >= 0
    fee_in, fee_out = (swap.fees.total, 0) if swap.fees.mint == mint_in else (0, swap.fees.total)
    assert sum(layers) - sum(_given(swap.pool, b, for_y) for b in swap.pool.bins) == swap.amount_out + fee_out
    put_in = sum(_taken(b, for_y) for b in swap.pool.bins) - sum(_taken(b, for_y) for b in pool.bins)
    # Limit orders are paid on top of what goes into the bins.
    assert 0 <= put_in <= amount - fee_in
    if not pool.parameters.limit_orders:
        assert put_in == amount - fee_in


def _given(pool: DlmmPool, of: Bin, for_y: bool) -> int:
    orders = of.processed_orders + of.open_orders if pool.parameters.limit_orders and of.orders_sell_x != for_y else 0
    return (of.amount_y if for_y else of.amount_x) + orders


def _taken(of: Bin, for_y: bool) -> int:
    return of.amount_x if for_y else of.amount_y


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_a_round_trip_never_profits(pool: DlmmPool, mint_in: str, amount: int) -> None:
    try:
        there = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(there.pool, there.mint_out, there.amount_out) <= amount


@given(pools(), st.sampled_from([X, Y]), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less_out(pool: DlmmPool, mint_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    try:
        upper = pool.quote(mint_in, more)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(pool, mint_in, less) <= upper


@given(pools(), st.lists(st.tuples(st.sampled_from([X, Y]), AMOUNTS), min_size=2, max_size=6))
def test_earlier_quotes_do_not_change_later_ones(pool: DlmmPool, asked: list[tuple[str, int]]) -> None:
    for mint_in, amount in asked:
        assert quote_or_zero(pool, mint_in, amount) == quote_or_zero(replace(pool), mint_in, amount)
