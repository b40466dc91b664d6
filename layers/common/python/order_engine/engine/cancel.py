"""Withdraw an order that no worker has claimed yet."""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain import lifecycle
from order_engine.domain.errors import OrderNotFound, TooLateToCancel
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.observer import Observer
from order_engine.engine.ports import Clock, Conflict, OrderStore

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Cancel:
    """The use case. A race with a worker has exactly one winner: the store's condition decides."""

    orders: OrderStore
    clock: Clock
    observer: Observer

    async def __call__(self, ref: OrderRef, *, key_id: str | None = None) -> Order:
        """Cancel an open or pending order; a cancelled one is answered as it is.

        Args:
            key_id: the API key that asks for it.

        Raises:
            OrderNotFound: this user has no such order.
            TooLateToCancel: it is being executed, or has ended.
        """
        order = await self.orders.get(ref)
        for _ in range(_TRIES):
            if order is None:
                break
            if order.status is Status.CANCELLED:
                return order
            if Status.CANCELLED not in lifecycle.TRANSITIONS[order.status]:
                raise TooLateToCancel(f"The order is {order.status} and can no longer be cancelled.")
            cancelled = lifecycle.cancel(order, self.clock.now_ms(), key_id)
            try:
                await self.orders.replace(order, cancelled)
            except Conflict as conflict:
                order = conflict.current
                continue
            self.observer.changed(cancelled)
            return cancelled
        if order is None:
            raise OrderNotFound("There is no such order.")
        raise TooLateToCancel("The order is changing too fast to be cancelled.")
