"""Withdrawing an order: what can be, what cannot any more, and who wins a race."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.errors import OrderNotFound, TooLateToCancel
from order_engine.domain.order import Failure, Lease, Order, OrderRef, Status
from order_engine.engine.cancel import Cancel
from tests.fakes.orders import FakeOrders
from tests.support.clock import TickingClock
from tests.support.orders import IN_STATUS, T0
from tests.support.recorder import Recorder

REF = OrderRef("user", "order")
CAN = (Status.OPEN, Status.PENDING)
CANNOT = tuple(status for status in Status if status not in (*CAN, Status.CANCELLED))


class Racing(FakeOrders):
    """Before each of the next writes, somebody else changes the order."""

    def __init__(self, *others: Callable[[Order], Order]) -> None:
        super().__init__()
        self._others = list(others)

    async def replace(self, old: Order, new: Order) -> None:
        if self._others:
            self.stored[old.ref] = self._others.pop(0)(self.stored[old.ref])
        await super().replace(old, new)


@pytest.mark.parametrize("status", CAN)
async def test_what_no_worker_has_claimed_is_withdrawn_and_told(status: Status) -> None:
    orders, notes = FakeOrders(), Recorder()
    await orders.create(IN_STATUS[status])
    cancelled = await Cancel(orders, TickingClock(), notes)(REF)
    assert cancelled.status is Status.CANCELLED
    assert await orders.get(REF) == cancelled
    assert notes.seen == [("order", "cancelled")]


async def test_what_is_withdrawn_already_is_answered_as_it_is() -> None:
    orders, notes = FakeOrders(), Recorder()
    await orders.create(IN_STATUS[Status.CANCELLED])
    assert await Cancel(orders, TickingClock(), notes)(REF) == IN_STATUS[Status.CANCELLED]
    assert notes.seen == []


@pytest.mark.parametrize("status", CANNOT)
async def test_what_is_being_executed_or_has_ended_stays_as_it_is(status: Status) -> None:
    orders, notes = FakeOrders(), Recorder()
    await orders.create(IN_STATUS[status])
    with pytest.raises(TooLateToCancel, match=status.value):
        await Cancel(orders, TickingClock(), notes)(REF)
    assert await orders.get(REF) == IN_STATUS[status]
    assert notes.seen == []


async def test_what_is_not_there_cannot_be_withdrawn() -> None:
    with pytest.raises(OrderNotFound):
        await Cancel(FakeOrders(), TickingClock(), Recorder())(REF)


def claim(order: Order) -> Order:
    return lifecycle.claim(order, Lease("worker", T0 + 20_000), T0 + 1)


async def test_a_worker_that_was_quicker_wins() -> None:
    orders, notes = Racing(claim), Recorder()
    await orders.create(IN_STATUS[Status.PENDING])
    with pytest.raises(TooLateToCancel):
        await Cancel(orders, TickingClock(), notes)(REF)
    assert orders.stored[REF].status is Status.ROUTING
    assert notes.seen == []


async def test_a_limit_order_that_fires_meanwhile_is_withdrawn_all_the_same() -> None:
    orders, notes = Racing(lambda order: lifecycle.fire(order, T0 + 1)), Recorder()
    await orders.create(IN_STATUS[Status.OPEN])
    cancelled = await Cancel(orders, TickingClock(), notes)(REF)
    assert [event.status for event in cancelled.events] == [Status.OPEN, Status.PENDING, Status.CANCELLED]
    assert orders.stored[REF] == cancelled


async def test_an_order_that_is_gone_when_it_is_written_was_not_there() -> None:
    class Vanishing(FakeOrders):
        async def replace(self, old: Order, new: Order) -> None:
            self.stored.clear()
            await super().replace(old, new)

    orders = Vanishing()
    await orders.create(IN_STATUS[Status.PENDING])
    with pytest.raises(OrderNotFound):
        await Cancel(orders, TickingClock(), Recorder())(REF)


@pytest.mark.parametrize(("changes", "wins"), [(4, True), (5, False)])
async def test_an_order_that_keeps_changing_is_given_up_in_the_end(changes: int, wins: bool) -> None:
    """A limit order that fires and rests in turn. Five tries, and the caller is told."""

    def turn(order: Order) -> Order:
        if order.status is Status.OPEN:
            return lifecycle.fire(order, T0)
        return lifecycle.rest(claim(order), Failure("limit_not_met", "."), T0, T0)

    orders = Racing(*[turn] * changes)
    await orders.create(IN_STATUS[Status.OPEN])
    if wins:
        assert (await Cancel(orders, TickingClock(), Recorder())(REF)).status is Status.CANCELLED
    else:
        with pytest.raises(TooLateToCancel):
            await Cancel(orders, TickingClock(), Recorder())(REF)
