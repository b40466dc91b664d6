"""An order that would get exactly its limit gets it: it fires, and a worker executes it."""

from __future__ import annotations

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, Retry, SignedTransaction, Status
from order_engine.domain.tokens import SOL
from order_engine.engine.execute import Execute, ExecutionPolicy
from order_engine.engine.observer import Silent
from order_engine.engine.retry import LIMIT_NOT_MET, RetryPolicy
from order_engine.engine.routing.router import Gathered, Router
from order_engine.engine.triggers import best_output
from tests.fakes.orders import FakeOrders
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock, StandingClock
from tests.support.orders import T0
from tests.unit.following import LANDED, ScriptedChain
from tests.unit.one_worker import POOL, Venue, at_its_limit


# Amounts by which every price is a finite decimal.
@pytest.mark.parametrize("amount_in", [tokens * SOL.unit for tokens in (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40)])
def test_a_limit_met_exactly_is_met_and_one_a_base_unit_above_is_not(amount_in: int) -> None:
    for units_above, met in ((0, True), (1, False)):
        request = at_its_limit(amount_in, units_above=units_above)
        assert request.trigger.met_by(best_output(request, Router((), StandingClock()), Gathered([POOL], ()))) == met


class Building(ScriptedChain):
    """Signs what it is asked to, and remembers the least output."""

    least: int = 0

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        self.least = min_out
        return SignedTransaction("signature", "cmF3", 100)


@pytest.mark.parametrize(("units_above", "ends"), [(0, Status.CONFIRMED), (1, Status.OPEN)])
def test_a_worker_executes_a_limit_met_exactly_and_never_signs_for_less(units_above: int, ends: Status) -> None:
    request = at_its_limit(SOL.unit, units_above=units_above)
    fired = lifecycle.fire(lifecycle.place(OrderRef("user", "order"), request, "print", T0), T0)
    loop = VirtualLoop()
    clock = LoopClock(loop)
    chain = Building(clock, landed=lambda ms: LANDED)

    async def work() -> Order:
        store = FakeOrders()
        await store.create(fired)
        execute = Execute(store, Router((Venue(),), clock), chain, clock, ExecutionPolicy(RetryPolicy()), Silent())
        await execute(fired.ref, worker="me", deadline=T0 + 14_000)
        stored = await store.get(fired.ref)
        assert stored is not None
        return stored

    order = run(loop, work())
    assert order.status is ends
    if ends is Status.CONFIRMED:
        assert chain.least == POOL.quote(SOL.mint, SOL.unit)
    else:
        assert order.retry_at == T0 + RetryPolicy().rest_ms
        assert order.events[-1].detail == Retry(LIMIT_NOT_MET, order.retry_at)
