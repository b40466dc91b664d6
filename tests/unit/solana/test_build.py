"""Fixing the inputs and least outputs of a route's swaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.errors import BuildFailed
from order_engine.venues.raydium.amm_v4 import AmmV4Pool
from order_engine.venues.solana.addresses import TOKEN
from order_engine.venues.solana.build import instructions, message_of, note_of, plan_swaps
from order_engine.venues.solana.messages import ComputeBudget, Instruction
from order_engine.venues.solana.programs.program import LivePool
from tests.unit.solana.routes import WALLET, A, B, M, Route

amounts = st.integers(10**4, 10**12)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """Direct pools, and pools into the middle token with pools out of it that take all that arrives."""
    route = Route()
    for amount in draw(st.lists(amounts, min_size=1, max_size=2)):
        route.add("direct", amount)
    arrived = sum(route.add("into", amount) for amount in draw(st.lists(amounts, max_size=2)))
    if arrived:
        first = draw(st.integers(1, arrived - 1)) if draw(st.booleans()) and arrived > 10**5 else arrived
        for amount in (first, arrived - first):
            if amount > 10**3:
                route.add("out", amount)
    return route


@given(routes(), st.integers(0, 5000), st.integers(0, 500))
def test_the_least_outputs_add_up_to_the_orders(route: Route, slippage: int, tolerance: int) -> None:
    best = route.plan(0, tolerance).amount_out
    min_out = best * (10_000 - slippage) // 10_000
    plan = route.plan(min_out, tolerance)
    final = [swap for swap in plan.swaps if swap.leg.mint_out == B]
    assert sum(swap.min_out for swap in final) == min_out
    assert all(0 <= swap.min_out <= swap.leg.amount_out for swap in plan.swaps)
    assert plan.amount_out == sum(swap.leg.amount_out for swap in final) == best


@given(routes(), st.integers(0, 500))
def test_a_swap_out_of_the_middle_never_needs_more_than_is_sure_to_be_there(route: Route, tolerance: int) -> None:
    plan = route.plan(0, tolerance)
    sure = sum(swap.min_out for swap in plan.swaps if swap.leg.mint_out == M)
    taken = sum(swap.leg.amount_in for swap in plan.swaps if swap.leg.mint_in == M)
    arrives = sum(swap.leg.amount_out for swap in plan.swaps if swap.leg.mint_out == M)
    assert taken <= sure <= arrives
    assert plan.left_over == ({M: arrives - taken} if arrives else {})
    # What stays behind is the tolerance, and roundings.
    assert arrives - taken <= arrives * tolerance // 10_000 + 10**3 + 4


@given(routes())
def test_what_the_order_gives_is_not_changed(route: Route) -> None:
    plan = route.plan(0)
    for leg, swap in zip(route.legs, plan.swaps, strict=True):
        assert (swap.leg.pool_id, swap.leg.mint_in, swap.leg.mint_out) == (leg.pool_id, leg.mint_in, leg.mint_out)
        assert swap.leg.amount_in == leg.amount_in or leg.mint_in == M
        assert swap.leg.amount_out == route.pools[leg.pool_id].pool.quote(leg.mint_in, swap.leg.amount_in)


def test_a_path_without_tolerance_leaves_nothing_behind() -> None:
    route = Route()
    route.add("out", route.add("into", 10**9))
    route.legs.reverse()
    route.legs.sort(key=lambda leg: leg.mint_in == M)
    plan = route.plan(0, 0)
    assert plan.left_over == {M: 0}


def test_what_the_route_cannot_give_any_more_is_said() -> None:
    route = Route()
    out = route.add("direct", 10**9)
    assert route.plan(out).swaps[0].min_out == out
    with pytest.raises(BuildFailed, match=f"gives {out} base units now, and at least {out + 1}"):
        route.plan(out + 1)


def test_a_pool_that_was_not_read_or_fills_no_more_is_named() -> None:
    route = Route()
    route.add("direct", 10**9)
    with pytest.raises(BuildFailed, match="direct0 has not been read"):
        plan_swaps(route.legs, {}, B, min_out=0, path_tolerance_bps=5)
    emptied = LivePool(AmmV4Pool("direct0", (A, B), (0, 0)), route.pools["direct0"].accounts)
    with pytest.raises(BuildFailed, match="direct0 cannot fill its part any more: The pool is empty"):
        plan_swaps(route.legs, {"direct0": emptied}, B, min_out=0, path_tolerance_bps=5)


def test_the_transaction_notes_the_order_and_makes_each_account_once() -> None:
    route = Route()
    route.add("direct", 10**9)
    route.add("out", route.add("into", 10**9))
    calls = instructions(route.plan(0), route.pools, WALLET, note_of("7f", 2))
    assert calls[0].data == b"order 7f attempt 2"
    made = [call.accounts[3].address for call in calls if call.program.startswith("ATok")]
    assert made == [B, M]
    assert len(calls) == 1 + 2 + 3
    assert all(call.accounts[5].address == TOKEN for call in calls[1:3])


def test_version_1_is_taken_where_version_0_does_not_suffice() -> None:
    def version(size: int) -> int:
        calls = [Instruction(TOKEN, (), bytes(size))]
        return message_of(calls, WALLET, "1" * 32, ComputeBudget(1))[0] & 0x7F

    assert (version(900), version(1100), version(3800)) == (0, 1, 1)
    with pytest.raises(BuildFailed, match="does not fit"):
        version(4100)
