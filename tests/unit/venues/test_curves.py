"""A pool's curves: never below its quotes, above them by rounding only, and concave one by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import CurvedPool, Piece
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool, Volatility
from order_engine.venues.raydium.clmm import ClmmPool, FeeOn
from order_engine.venues.raydium.cpmm import CpmmPool
from order_engine.venues.transfer_fee import TransferFee, TransferFeePool
from tests.unit.venues.pools import amm_v4, clmm, cpmm, damm2, dlmm

AMOUNTS = st.integers(1, 10_000) | st.integers(1, 2**50) | st.integers(1, U64_MAX)
KINDS: dict[str, st.SearchStrategy[CurvedPool]] = {
    "cpmm": cpmm.pools(),
    "clmm": clmm.pools(),
    "dlmm": dlmm.pools(),
    "damm2": damm2.pools(),
    "amm_v4": amm_v4.pools(),
}
FEES = st.builds(TransferFee, st.integers(0, 1_000), st.integers(0, 10) | st.integers(0, 2**40))


def along(pieces: list[Piece], amount: float) -> float:
    """What the pieces give for an amount."""
    out = 0.0
    for price, bend, size in pieces:
        part = min(size, amount)
        out += price * part / (1 + bend * part)
        amount -= part
        if amount <= 0:
            break
    return out


def upper(pool: CurvedPool, mint_in: str, amount: int) -> float:
    """The greatest of the pool's curves."""
    return max(
        along(list(curve.pieces), amount - curve.idle) - curve.toll if amount > curve.idle else 0.0
        for curve in pool.curves(mint_in)
    )


def check_bound(pool: CurvedPool, side: int, amount: int) -> None:
    mint_in = pool.mints[side]
    try:
        quoted = pool.quote(mint_in, amount)
    except QuoteRefused:
        assume(False)
    assert quoted <= upper(pool, mint_in, amount) * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), side=st.integers(0, 1), amount=AMOUNTS)
def test_a_quote_is_never_above_the_curve(kind: str, data: st.DataObject, side: int, amount: int) -> None:
    check_bound(data.draw(KINDS[kind]), side, amount)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), side=st.integers(0, 1), amount=AMOUNTS, fees=st.tuples(FEES, FEES))
def test_with_transfer_fees_a_quote_is_never_above_the_greatest_curve(
    kind: str, data: st.DataObject, side: int, amount: int, fees: tuple[TransferFee, TransferFee]
) -> None:
    check_bound(TransferFeePool(data.draw(KINDS[kind]), fees), side, amount)  # type: ignore[type-var]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), side=st.integers(0, 1))
def test_prices_fall_along_a_curve(kind: str, data: st.DataObject, side: int) -> None:
    pool = data.draw(KINDS[kind])
    for curve in pool.curves(pool.mints[side]):
        pieces = list(curve.pieces)
        assert all(piece.price > 0 and piece.bend >= 0 and piece.size >= 0 for piece in pieces)
        ends = [price / (1 + bend * size) ** 2 for price, bend, size in pieces]
        assert all(end >= after.price * (1 - 1e-9) for end, (_, after) in zip(ends, pairwise(pieces), strict=False))


@pytest.mark.parametrize(
    ("pool", "amount"),
    [
        (CpmmPool("p", ("x", "y"), (10**12, 3 * 10**12), 2_500, 0, 0, 500), 10**10),
        (clmm.around_zero(), 5 * 10**9),
        (dlmm.two_bins(), 15_000),
    ],
)
def test_a_quote_is_below_the_curve_by_rounding_only(pool: CurvedPool, amount: int) -> None:
    mint_in = pool.mints[0]
    assert upper(pool, mint_in, amount) - pool.quote(mint_in, amount) < 8


def test_bins_that_get_better_towards_the_index_reference_are_joined() -> None:
    # Three bins downwards; the variable fee falls by more than the price until the reference is reached.
    pool = DlmmPool(
        "p",
        ("x", "y"),
        0,
        1,
        DlmmParameters(0, 40_000_000, 30, 600, 5_000, 10**9),
        tuple(Bin(i, 0, 10**6) for i in range(-6, 1)),
        Volatility(0, 0, -3, 1_000),
        1_000,
    )
    rates = [pool.parameters.fee_rate(abs(-3 - i) * 10_000, 1) for i in (0, -1, -2, -3)]
    assert rates == sorted(rates, reverse=True)
    pieces = list(pool.curves("x")[0].pieces)
    assert len(pieces) < 7
    assert [p.price for p in pieces] == sorted((p.price for p in pieces), reverse=True)
    for amount in range(1_000, 6_000_000, 99_991):
        assert pool.quote("x", amount) <= along(pieces, amount)


@pytest.mark.parametrize("reserves", [(0, 0), (10**6, 0), (0, 10**6)])
def test_an_empty_pool_has_no_curve(reserves: tuple[int, int]) -> None:
    with pytest.raises(QuoteRefused, match="empty"):
        CpmmPool("p", ("x", "y"), reserves, 0, 0, 0).curves("x")


def _clmm(**changes: object) -> ClmmPool:
    base = clmm.around_zero()
    return ClmmPool(
        base.pool_id,
        base.mints,
        base.sqrt_price,
        base.tick,
        base.liquidity,
        base.ticks,
        2_500,
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "side", "why"),
    [
        ({"dynamic_fee": True}, 0, "dynamic fee"),
        ({"dynamic_fee": True}, 1, "dynamic fee"),
        ({"fee_on": FeeOn.ONLY_TOKEN_1}, 0, "from the output"),
        ({"fee_on": FeeOn.ONLY_TOKEN_0}, 1, "from the output"),
    ],
)
def test_a_clmm_fee_that_is_not_computed_is_refused_by_name(changes: dict[str, object], side: int, why: str) -> None:
    pool = _clmm(**changes)
    asks: list[Callable[[], object]] = [
        lambda: pool.quote(pool.mints[side], 10**6),
        lambda: pool.swap(pool.mints[side], 10**6),
        lambda: pool.curves(pool.mints[side]),
    ]
    for ask in asks:
        with pytest.raises(QuoteRefused, match=why):
            ask()


@pytest.mark.parametrize(("fee_on", "side"), [(FeeOn.ONLY_TOKEN_0, 0), (FeeOn.ONLY_TOKEN_1, 1)])
def test_a_clmm_fee_on_the_token_that_goes_in_is_the_usual_one(fee_on: FeeOn, side: int) -> None:
    mint = clmm.around_zero().mints[side]
    assert _clmm(fee_on=fee_on).quote(mint, 10**6) == _clmm().quote(mint, 10**6)


PLAIN = DlmmParameters(0, 0, 0, 0, 0, 0)


def test_a_bin_whose_drain_does_not_fit_in_a_u64_is_refused_as_the_program_does() -> None:
    # 2^40 of Y at 1.04^-561 take 3.9 * 10^21 of X, which the program computes before anything else.
    pool = DlmmPool("p", ("x", "y"), -561, 400, PLAIN, (Bin(-561, 0, 2**40),))
    for attempt in (pool.quote, pool.swap):
        with pytest.raises(QuoteRefused, match="too large"):
            attempt("x", 10**15)
    # As much of Y as a u64 of X drains is no such bin.
    assert DlmmPool("p", ("x", "y"), -561, 400, PLAIN, (Bin(-561, 0, 2**31),)).quote("x", 10**15) == 278_161


def test_a_bin_too_large_ends_only_the_swaps_that_reach_it() -> None:
    pool = DlmmPool("p", ("x", "y"), -560, 400, PLAIN, (Bin(-561, 0, 2**40), Bin(-560, 0, 1_000)))
    assert pool.quote("x", 10**12) == pool.swap("x", 10**12).amount_out == 289
    for attempt in (pool.quote, pool.swap):
        with pytest.raises(QuoteRefused):
            attempt("x", 10**15)


def test_limit_orders_too_large_to_drain_end_only_what_reaches_them() -> None:
    orders = DlmmParameters(0, 0, 0, 0, 0, 0, limit_orders=True)
    pool = DlmmPool("p", ("x", "y"), -561, 400, orders, (Bin(-561, 0, 1_000, open_orders=2**40),))
    drains = -(-(1_000 << 64) // pool.spot("x")[0])
    assert pool.quote("x", drains) == pool.swap("x", drains).amount_out == 1_000
    for attempt in (pool.quote, pool.swap):
        with pytest.raises(QuoteRefused, match=r"too large|too little"):
            attempt("x", drains + 1)


def test_an_output_that_no_account_can_hold_is_refused() -> None:
    bins = (Bin(0, 0, U64_MAX), Bin(-1, 0, U64_MAX))
    pool = DlmmPool("p", ("x", "y"), 0, 1, PLAIN, bins[::-1])
    assert pool.quote("x", U64_MAX) == U64_MAX
    dear = DlmmPool("p", ("x", "y"), 561, 400, PLAIN, (Bin(561, 0, U64_MAX), Bin(560, 0, U64_MAX))[::-1])
    for attempt in (dear.quote, dear.swap):
        with pytest.raises(QuoteRefused, match="larger than an account"):
            attempt("x", 6 * 10**9)
