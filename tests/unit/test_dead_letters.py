"""What the consumer of the dead letters may end, and what it has to leave alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.errors import OrderNotFound
from order_engine.domain.failures import WAITED_TOO_LONG
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.dead_letters import ANOTHER_MS, ResolveDeadLetter
from order_engine.engine.execute import Done, Execute, ExecutionPolicy, Later, Verdict
from order_engine.engine.observer import Silent
from order_engine.engine.retry import PATIENCE_MS, RetryPolicy
from order_engine.engine.routing.router import Router
from tests.fakes.orders import FakeOrders
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock
from tests.support.orders import IN_STATUS, T0
from tests.unit.following import LANDED, ScriptedChain
from tests.unit.one_worker import Racing

YEAR_MS = 365 * 86_400_000


def resolve(order: Order | None, *, after_ms: int, store: FakeOrders | None = None) -> tuple[Verdict, Order | None]:
    """Hand the order's letter to the consumer so long after ``T0``; the chain knows every transaction as landed."""
    loop = VirtualLoop()
    loop._virtual = after_ms / 1000
    clock = LoopClock(loop)
    chain = ScriptedChain(clock, landed=lambda ms: LANDED)

    async def work() -> tuple[Verdict, Order | None]:
        orders = store or FakeOrders()
        if order is not None:
            await orders.create(order)
        ref = OrderRef("user", "order")
        execute = Execute(orders, Router((), clock), chain, clock, ExecutionPolicy(RetryPolicy()), Silent())
        verdict = await ResolveDeadLetter(execute)(ref, worker="me", deadline=clock.now_ms() + 14_000)
        return verdict, await orders.get(ref)

    return run(loop, work())


@pytest.mark.parametrize("status", [Status.OPEN, *sorted(lifecycle.TERMINAL)])
def test_an_order_that_rests_or_has_ended_is_left_as_it_is(status: Status) -> None:
    """However long ago: a limit order may rest for a year, and its letter be a year old."""
    order = IN_STATUS[status]
    verdict, after = resolve(order, after_ms=YEAR_MS)
    assert isinstance(verdict, Done)
    assert after == order


@pytest.mark.parametrize("status", [Status.ROUTING, Status.BUILDING, Status.SUBMITTED])
def test_a_living_workers_order_is_left_to_it(status: Status) -> None:
    order = IN_STATUS[status]
    assert order.lease is not None
    left_ms = 500
    verdict, after = resolve(order, after_ms=order.lease.until - T0 - left_ms)
    assert verdict == Later(left_ms, "held by another worker")
    assert after == order


def test_what_became_of_a_submitted_order_is_asked_for_on_the_chain() -> None:
    verdict, after = resolve(IN_STATUS[Status.SUBMITTED], after_ms=YEAR_MS)
    assert isinstance(verdict, Done)
    assert after is not None
    assert after.status is Status.CONFIRMED


def test_a_letter_of_no_order_is_said_to_be_one() -> None:
    with pytest.raises(OrderNotFound):
        resolve(None, after_ms=0)


@pytest.mark.parametrize("status", [Status.PENDING, Status.ROUTING, Status.BUILDING])
def test_what_may_still_wait_is_left_to_the_sweeper(status: Status) -> None:
    order = IN_STATUS[status]
    verdict, after = resolve(order, after_ms=PATIENCE_MS - 1)
    assert isinstance(verdict, Done)
    assert after == order


def test_a_limit_order_waits_as_long_as_its_own_limit_lets_it() -> None:
    fired = IN_STATUS[Status.PENDING]
    assert fired.request.type == "limit"
    waiting = replace(fired, request=replace(fired.request, expires_at=None))
    _, after = resolve(waiting, after_ms=YEAR_MS)
    assert after == waiting


@pytest.mark.parametrize("status", [Status.ROUTING, Status.BUILDING])
def test_what_has_waited_too_long_is_ended(status: Status) -> None:
    order = IN_STATUS[status]
    assert order.request.type == "market"
    _, after = resolve(order, after_ms=PATIENCE_MS)
    assert after is not None
    assert after.failure == WAITED_TOO_LONG


def test_the_sweeper_is_told_that_a_message_is_gone_unless_another_is_on_its_way() -> None:
    sent = replace(IN_STATUS[Status.PENDING], resent_at=T0, resends=3)
    _, after = resolve(sent, after_ms=ANOTHER_MS - 1)
    assert after == sent
    _, after = resolve(sent, after_ms=ANOTHER_MS)
    assert after == replace(sent, resent_at=None)


def test_a_letter_whose_order_moved_meanwhile_comes_again_in_a_second() -> None:
    async def moves(store: FakeOrders, read: Order) -> None:
        await store.replace(read, lifecycle.cancel(read, T0))

    sent = replace(IN_STATUS[Status.PENDING], resent_at=T0, resends=3)
    verdict, after = resolve(sent, after_ms=ANOTHER_MS, store=Racing(moves))
    assert verdict == Later(1_000, "it moved while it was being resolved")
    assert after is not None
    assert after.status is Status.CANCELLED
