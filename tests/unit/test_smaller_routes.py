"""An order whose transaction was too much for the chain is tried again with a route of fewer swaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Failure, Lease, Order, OrderRef, Routed, Status
from order_engine.domain.quote import Leg
from order_engine.engine.retry import RetryPolicy, after_failure, most_legs
from tests.support.orders import MARKET, ROUTED, T0


def routed(legs: int) -> Routed:
    chosen = ROUTED.decision.chosen
    leg = chosen.legs[0]
    parts = tuple(Leg(leg.venue, f"pool{n}", leg.mint_in, leg.mint_out, 1, 1) for n in range(legs))
    return Routed(replace(ROUTED.decision, chosen=replace(chosen, legs=parts)), ROUTED.min_out)


def tried(order: Order, legs: int, code: str) -> Order:
    claimed = lifecycle.claim(order, Lease("worker", T0 + 20_000), T0)
    return after_failure(lifecycle.route(claimed, routed(legs), T0), Failure(code, "."), RetryPolicy(), T0)


@pytest.mark.parametrize("code", ["compute_exceeded", "route_too_large"])
def test_each_such_attempt_halves_the_next_route(code: str) -> None:
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    assert most_legs(order) is None
    found = []
    for legs in (4, 2, 1):
        order = tried(order, legs, code)
        assert order.status is Status.PENDING
        found.append(most_legs(order))
    assert found == [2, 1, 1]


def test_another_failure_says_nothing_of_the_size() -> None:
    order = tried(lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0), 4, "slippage_tolerance_exceeded")
    assert most_legs(order) is None
    assert most_legs(tried(order, 3, "route_too_large")) == 1
