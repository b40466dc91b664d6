"""Raydium AMM v4, in its parts that no order book touches."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.raydium.amm_v4 import AmmV4Pool
from tests.unit.venues.pools.amm_v4 import pools

amount = st.integers(1, 2**62)


def quoted(pool: AmmV4Pool, mint_in: str, amount_in: int) -> int:
    try:
        return pool.quote(mint_in, amount_in)
    except QuoteRefused:
        return 0


@given(pools(), st.sampled_from(["x", "y"]), amount)
def test_a_swap_gives_the_constant_product_less_the_fee_rounded_against_the_trader(
    pool: AmmV4Pool, mint_in: str, amount_in: int
) -> None:
    out = quoted(pool, mint_in, amount_in)
    assume(out)
    side = pool.mints.index(mint_in)
    reserve_in, reserve_out = pool.reserves[side], pool.reserves[1 - side]
    net = amount_in * (1 - Fraction(*pool.fee))
    exact = net * reserve_out / (reserve_in + net)
    assert out <= exact
    # One unit of the input, which the fee rounded up, and one of the output.
    assert out > exact - 1 - Fraction(reserve_out, reserve_in)


@given(pools(), st.sampled_from(["x", "y"]), amount)
def test_a_swap_never_lowers_the_product_and_keeps_its_whole_fee(pool: AmmV4Pool, mint_in: str, amount_in: int) -> None:
    assume(quoted(pool, mint_in, amount_in))
    swap = pool.swap(mint_in, amount_in)
    before, after = pool.reserves, swap.pool.reserves
    assert after[0] * after[1] >= before[0] * before[1]
    side = pool.mints.index(mint_in)
    assert (after[side] - before[side], before[1 - side] - after[1 - side]) == (amount_in, swap.amount_out)
    assert swap.fees.lp == -(-amount_in * pool.fee[0] // pool.fee[1]) == swap.fees.total


def test_a_known_swap() -> None:
    pool = AmmV4Pool("pool", ("x", "y"), (1_000_000, 2_000_000))
    # 100,000 less a fee of 0.25 % leaves 99,750 against 1,000,000: 2,000,000 x 99,750 / 1,099,750.
    assert pool.quote("x", 100_000) == 181_404
    assert pool.spot("x") == (2_000_000, 1_000_000)
    assert pool.spot("y") == (1_000_000, 2_000_000)


@pytest.mark.parametrize(
    ("reserves", "amount_in"),
    [((0, 10), 5), ((10, 0), 5), ((0, 0), 5), ((10**12, 1), 5), ((U64_MAX - 4, 10**6), 5), ((10**6, 10**6), 0)],
)
def test_what_the_pool_cannot_fill_is_refused(reserves: tuple[int, int], amount_in: int) -> None:
    with pytest.raises(QuoteRefused):
        AmmV4Pool("pool", ("x", "y"), reserves).quote("x", amount_in)


@pytest.mark.parametrize("pool", [AmmV4Pool("p", ("x", "y"), (0, 5)), AmmV4Pool("p", ("x", "y"), (5, 5), (1, 1))])
def test_a_pool_that_gives_nothing_has_no_curve(pool: AmmV4Pool) -> None:
    with pytest.raises(QuoteRefused):
        pool.curves("x")
