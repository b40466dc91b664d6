"""Resolve what the queue gave up on. Nothing is dropped or swapped twice, and nothing ends for want of workers.

Receives say little about an order: each one that Lambda throttles counts, so that a pause of the workers alone makes
dead letters of all messages within a quarter of an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain import lifecycle
from order_engine.domain.errors import OrderNotFound
from order_engine.domain.order import Order, OrderRef
from order_engine.engine.execute import Action, Done, Execute, Later, Verdict, next_step
from order_engine.engine.ports import Conflict

# A message that was sent so lately is still on its way, whatever became of this one.
ANOTHER_MS = 600_000


@dataclass(frozen=True, slots=True)
class ResolveDeadLetter:
    """The use case.

    A terminal order needs nothing. A submitted one is followed on the chain, as any worker would, and one that has
    waited too long is ended, as any worker would. Any other waits on: the sweeper sends it again, one message for the
    one that is gone. Sending it from here would be quicker, but AWS stops queues that feed themselves through Lambda.
    """

    execute: Execute

    async def __call__(self, ref: OrderRef, *, worker: str, deadline: int) -> Verdict:
        """Bring a given-up order to its end, or back to the sweeper.

        Raises:
            OrderNotFound: there is no such order.
        """
        order = await self.execute.orders.get(ref)
        if order is None:
            raise OrderNotFound("There is no such order.")
        now = self.execute.clock.now_ms()
        step = next_step(order, now, self.execute.policy.retry.patience_ms)
        if step.action is Action.DROP:
            return Done(step.reason)
        if step.action is Action.HELD:
            return Later(step.wait_ms, step.reason)
        if step.action in (Action.TAKE_OVER, Action.GIVE_UP):
            return await self.execute(ref, worker=worker, deadline=deadline)
        return await self._hand_back(order, now)

    async def _hand_back(self, order: Order, now: int) -> Verdict:
        if order.resent_at is None or now < order.resent_at + ANOTHER_MS:
            return Done("the sweeper sends it again, or has done so")
        try:
            await self.execute.orders.replace(order, lifecycle.lose_message(order))
        except Conflict:
            return Later(1000, "it moved while it was being resolved")
        return Done("the sweeper sends it again")
