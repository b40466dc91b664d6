"""What no single failure may end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from order_engine.domain.order import Order, OrderRef
from order_engine.engine.observer import Note, Observer


async def survive[T](observer: Observer, what: Note, work: Callable[[], Awaitable[T]], order_id: str = "") -> T | None:
    """The result; None if it failed. One order's trouble must not cost the others, nor one beat's the next."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - a throttle, an item that cannot be read: whatever it was
        observer.noted(order_id, what, f"{type(error).__name__}: {error}")
        return None


def readable(observer: Observer, found: Mapping[OrderRef, Order | Exception]) -> list[Order]:
    """The orders that could be read. The others are told of: they are passed by, and nobody waits behind them."""
    orders: list[Order] = []
    for ref, order in found.items():
        if isinstance(order, Exception):
            observer.noted(ref.order_id, Note.READ_FAILED, f"{type(order).__name__}: {order}")
        else:
            orders.append(order)
    return orders
