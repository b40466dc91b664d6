"""What time and the market do to a resting order: through the use cases, one beat of each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, OrderRequest, Status
from order_engine.domain.tokens import SOL
from order_engine.engine.routing.router import Router
from order_engine.engine.sweep import Sweep
from order_engine.engine.triggers import Triggers
from order_engine.venues.paper.tokens import TOKENS
from order_engine.wire import messages
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock
from tests.support.orders import FAILURE, LIMIT, T0
from tests.support.recorder import Recorder
from tests.unit.one_worker import Venue, at_its_limit

REF = OrderRef("user", "order")
# Half of the pool's SOL, at a price that it gives nevertheless.
LARGE = replace(LIMIT, amount_in=500 * SOL.unit, limit_price=Decimal(50), expires_at=None)


def watch_once(order: Order, *, most_impact_bps: int = 1_000, after_ms: int = 0) -> tuple[Order, list[str], Recorder]:
    """One beat of each: the order afterwards, what was queued, and what was told."""
    loop = VirtualLoop()
    loop._virtual = after_ms / 1000
    clock, notes = LoopClock(loop), Recorder()

    async def work() -> tuple[Order, list[str], Recorder]:
        orders, queue = FakeOrders(), FakeQueue(clock.now_ms)
        await orders.create(order)
        until = clock.now_ms() + 10_000
        await Sweep(orders, queue, clock, notes).beat(until)
        triggers = Triggers(
            orders,
            queue,
            Router((Venue(),), clock, max_price_impact_bps=most_impact_bps),
            clock,
            notes,
            lambda: TOKENS,
        )
        await triggers.find_pairs()
        await triggers.beat(until)
        stored = await orders.get(order.ref)
        assert stored is not None
        return stored, [message.body for message in queue.messages.values()], notes

    return run(loop, work())


def resting(request: OrderRequest) -> Order:
    return lifecycle.place(REF, request, "print", T0)


@pytest.mark.parametrize(("most_impact_bps", "fires"), [(1_000, False), (10_000, True)])
def test_an_order_that_moves_the_price_too_far_rests_although_its_limit_is_met(
    most_impact_bps: int, fires: bool
) -> None:
    """A worker would refuse it, and send it back to rest: again and again, until its history is full."""
    order, queued, _ = watch_once(resting(LARGE), most_impact_bps=most_impact_bps)
    assert order.status is (Status.PENDING if fires else Status.OPEN)
    assert queued == ([messages.encode(REF)] if fires else [])


@pytest.mark.parametrize(("units_above", "fires"), [(0, True), (1, False)])
def test_an_order_fires_at_its_limit_exactly(units_above: int, fires: bool) -> None:
    order, queued, notes = watch_once(resting(at_its_limit(SOL.unit, units_above=units_above)))
    assert order.status is (Status.PENDING if fires else Status.OPEN)
    assert len(queued) == fires
    assert notes.seen == ([("order", "pending")] if fires else [])


@pytest.mark.parametrize(("after_ms", "fires"), [(9_999, False), (10_000, True)])
def test_an_order_that_missed_its_limit_rests_for_its_time(after_ms: int, fires: bool) -> None:
    fired = lifecycle.fire(resting(replace(LIMIT, limit_price=Decimal(1), expires_at=None)), T0)
    claimed = lifecycle.claim(fired, Lease("worker", T0 + 20_000), T0)
    order, queued, _ = watch_once(lifecycle.rest(claimed, FAILURE, T0 + 10_000, T0), after_ms=after_ms)
    assert order.status is (Status.PENDING if fires else Status.OPEN)
    assert len(queued) == fires
    assert order.attempts == (0 if fires else 1)


@pytest.mark.parametrize(("after_ms", "ends"), [(59_999, Status.OPEN), (60_000, Status.EXPIRED)])
def test_an_order_expires_at_its_time_limit_and_not_before(after_ms: int, ends: Status) -> None:
    order, queued, _ = watch_once(resting(replace(LIMIT, limit_price=Decimal(10_000))), after_ms=after_ms)
    assert order.status is ends
    assert queued == []
