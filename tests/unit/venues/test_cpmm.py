"""Raydium CPMM: the real program's results, and what must hold for every pool."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn
from tests.unit.venues.pools.cpmm import X, Y, pools
from tests.unit.venues.pools.quotes import quote_or_zero
from tests.unit.venues.recorded import load

AMOUNTS = st.integers(1, 2**62)


def simple_pool(**changes: Any) -> CpmmPool:
    fields: dict[str, Any] = {
        "pool_id": "pool",
        "mints": (X, Y),
        "reserves": (1_000_000, 2_000_000),
        "trade_fee_rate": 2_500,
        "protocol_fee_rate": 120_000,
        "fund_fee_rate": 40_000,
    }
    return CpmmPool(**(fields | changes))


def test_every_swap_of_the_real_program_is_reproduced() -> None:
    swaps = load("cpmm.json")["swaps"]
    assert len(swaps) == 240
    for recorded in swaps:
        pool = simple_pool(
            reserves=(recorded["reserve_in"], recorded["reserve_out"]),
            trade_fee_rate=recorded["trade_fee_rate"],
            protocol_fee_rate=recorded["protocol_fee_rate"],
            fund_fee_rate=recorded["fund_fee_rate"],
        )
        swap = pool.swap(X, recorded["amount_in"])
        assert swap.amount_out == recorded["amount_out"]
        assert swap.fees.protocol == recorded["protocol_fee"]
        assert swap.fees.fund == recorded["fund_fee"]
        assert pool.quote(X, recorded["amount_in"]) == recorded["amount_out"]


def test_a_creator_fee_on_the_input_is_rounded_up_together_with_the_trade_fee_and_split() -> None:
    # 10 001 * (2 500 + 1 000) / 10^6 = 35.0035, so 36 in all, of which 36 * 1 000 // 3 500 = 10 for the creator.
    swap = simple_pool(creator_fee_rate=1_000).swap(X, 10_001)
    assert (swap.fees.creator, swap.fees.creator_mint) == (10, X)
    assert swap.fees.total == 36
    assert swap.amount_out == 9_965 * 2_000_000 // (1_000_000 + 9_965)
    # Of the trade fee of 26: 12 % to the protocol, 4 % to the fund, both rounded down.
    assert (swap.fees.protocol, swap.fees.fund, swap.fees.lp) == (3, 1, 22)
    assert swap.pool.reserves == (1_000_000 + 10_001 - 3 - 1 - 10, 2_000_000 - swap.amount_out)


def test_a_creator_fee_on_the_output_is_taken_from_what_the_curve_gives() -> None:
    swap = simple_pool(creator_fee_rate=1_000, creator_fee_on=CreatorFeeOn.ONLY_TOKEN_1).swap(X, 10_001)
    # The trade fee alone: 10 001 * 2 500 / 10^6 = 25.0025, so 26; the curve gives 9 975 * 2 000 000 // 1 009 975.
    assert swap.fees.total == 26
    assert (swap.fees.creator, swap.fees.creator_mint) == (20, Y)
    assert swap.amount_out == 19_752 - 20
    assert swap.pool.reserves[1] == 2_000_000 - 19_752


def test_a_creator_fee_on_token_0_is_charged_on_the_input_when_token_0_goes_in() -> None:
    only_0 = simple_pool(creator_fee_rate=1_000, creator_fee_on=CreatorFeeOn.ONLY_TOKEN_0)
    assert only_0.swap(X, 10_001).fees.creator_mint == X
    assert only_0.swap(Y, 10_001).fees.creator_mint == X


@pytest.mark.parametrize("amount", [0, -1, U64_MAX + 1, U64_MAX])
def test_an_amount_that_no_vault_can_take_is_refused(amount: int) -> None:
    with pytest.raises(QuoteRefused):
        simple_pool().quote(X, amount)


def test_an_output_of_zero_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        simple_pool(reserves=(10**12, 10)).quote(X, 1_000)


def test_a_mint_that_the_pool_does_not_trade_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        simple_pool().quote("another-mint", 1_000)


def test_an_exact_output_of_all_that_the_pool_holds_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        simple_pool().quote_exact_out(Y, 2_000_000)


def test_spot_is_the_ratio_of_the_reserves() -> None:
    assert simple_pool().spot(X) == (2_000_000, 1_000_000)
    assert simple_pool().spot(Y) == (1_000_000, 2_000_000)


@given(pools(), st.sampled_from([X, Y]), AMOUNTS, AMOUNTS)
def test_more_in_never_gives_less_out(pool: CpmmPool, mint_in: str, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert quote_or_zero(pool, mint_in, less) <= quote_or_zero(pool, mint_in, more)


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_a_swap_keeps_the_books(pool: CpmmPool, mint_in: str, amount: int) -> None:
    try:
        swap = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    side = pool.mints.index(mint_in)
    assert swap.amount_out == pool.quote(mint_in, amount)
    assert 0 < swap.amount_out < pool.reserves[1 - side]
    assert min(swap.fees.lp, swap.fees.protocol, swap.fees.fund, swap.fees.creator) >= 0
    owed_in = swap.fees.protocol + swap.fees.fund
    owed_out = 0
    if swap.fees.creator_mint == mint_in:
        owed_in += swap.fees.creator
    else:
        owed_out = swap.fees.creator
    assert swap.pool.reserves[side] == pool.reserves[side] + amount - owed_in
    assert swap.pool.reserves[1 - side] == pool.reserves[1 - side] - swap.amount_out - owed_out
    assert swap.pool.reserves[0] * swap.pool.reserves[1] >= pool.reserves[0] * pool.reserves[1]


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_a_round_trip_never_profits(pool: CpmmPool, mint_in: str, amount: int) -> None:
    try:
        there = pool.swap(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert quote_or_zero(there.pool, there.mint_out, there.amount_out) <= amount


@given(pools(), st.sampled_from([X, Y]), AMOUNTS)
def test_the_input_for_an_exact_output_buys_at_least_that(pool: CpmmPool, mint_out: str, wanted: int) -> None:
    try:
        amount_in = pool.quote_exact_out(mint_out, wanted)
    except QuoteRefused:
        assume(False)
    mint_in = X if mint_out == Y else Y
    assert pool.quote(mint_in, amount_in) >= wanted
