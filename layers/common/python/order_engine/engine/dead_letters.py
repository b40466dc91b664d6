"""Resolve what the queue gave up on. Nothing is dropped and nothing is swapped twice."""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain import lifecycle
from order_engine.domain.errors import OrderNotFound
from order_engine.domain.order import Failure, OrderRef, Status
from order_engine.engine.execute import Done, Execute, Later, Verdict
from order_engine.engine.ports import Conflict

# By then the sweeper has sent an order several times. If that led to no step, neither will the next message.
IDLE_MS = 300_000


@dataclass(frozen=True, slots=True)
class ResolveDeadLetter:
    """The use case.

    A terminal order needs nothing. A submitted one is followed on the chain, as any worker would. One that has moved
    lately is left to the sweeper, which sends a fresh message: on a slow chain a message is received many times
    within one attempt, and attempts are counted on the order. Any other is failed with the reason, unless a living
    worker holds it.
    """

    execute: Execute

    async def __call__(self, ref: OrderRef, *, worker: str, deadline: int) -> Verdict:
        """Bring a given-up order to its end.

        Raises:
            OrderNotFound: there is no such order.
        """
        order = await self.execute.orders.get(ref)
        if order is None:
            raise OrderNotFound("There is no such order.")
        now = self.execute.clock.now_ms()
        if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
            return Done(f"already {order.status}")
        if order.lease is not None and now < order.lease.until:
            return Later(order.lease.until - now, "held by another worker")
        if order.status is Status.SUBMITTED:
            return await self.execute(ref, worker=worker, deadline=deadline)
        if now < max(order.updated_at, order.retry_at or 0) + IDLE_MS:
            return Done("it still moves; the sweeper sends it again")
        failure = Failure("gave_up", "The order was delivered too often without coming to an end.")
        failed = lifecycle.fail(order, failure, now)
        try:
            await self.execute.orders.replace(order, failed)
        except Conflict:
            return Later(1000, "it moved while it was being resolved")
        self.execute.observer.changed(failed)
        return Done(failure.message)
