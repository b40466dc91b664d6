"""Accept an order: store it, then queue it. It is accepted once it is stored."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from order_engine.domain import lifecycle
from order_engine.domain.amounts import format_price
from order_engine.domain.errors import IdempotencyConflict, SameToken, TooManyOpenOrders
from order_engine.domain.order import Order, OrderRef, OrderRequest, Status, first_fields, further_values
from order_engine.domain.tokens import Token
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, OrderExists, OrderQueue, OrderStore

_NAMESPACE = uuid.UUID("6f1f4b9e-5f5a-4c39-9d9a-0a7c5f0f6f0e")


def fingerprint(request: OrderRequest) -> str:
    """A hash of what was asked for, to tell a replay from a conflict.

    It covers every field. One that came after 0.1.0 counts by its name and only where it is not at its default, so that
    an order which does not use it has the hash that it always had.
    """
    said = [_plain(getattr(request, field.name)) for field in first_fields()]
    said += [[name, _plain(value)] for name, value in further_values(request).items()]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _plain(value: object) -> object:
    """A field's value for hashing. However a price is written, and whatever a token is called, it is the same one."""
    match value:
        case Decimal():
            return format_price(value)
        case Token():
            return value.mint
        case None | str() | int():
            return value
        case _:
            raise TypeError(f"Say how {type(value).__name__} is hashed.")


def order_id_for(user_id: str, idempotency_key: str) -> str:
    """The order id that belongs to a user's idempotency key: the same key always names the same order."""
    return str(uuid.uuid5(_NAMESPACE, f"{len(user_id)}:{user_id}:{idempotency_key}"))


@dataclass(frozen=True, slots=True)
class Placed:
    """The stored order; ``replayed`` if an earlier request with the same key had stored it."""

    order: Order
    replayed: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The use case."""

    orders: OrderStore
    queue: OrderQueue
    clock: Clock
    observer: Observer
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    async def __call__(
        self,
        user_id: str,
        request: OrderRequest,
        idempotency_key: str | None = None,
        *,
        key_id: str | None = None,
        max_open: int | None = None,
    ) -> Placed:
        """Store and queue an order.

        Args:
            key_id: the API key that asks for it. Another key's replay is answered with the order as it is.
            max_open: how many limit orders that have not ended a user may have; None for any number. Those that are
                placed at the same moment do not see each other.

        Raises:
            SameToken: both sides are the same token.
            IdempotencyConflict: the key was used for another request.
            TooManyOpenOrders: nothing was stored.
            Exception: the store failed; nothing was accepted, as far as the caller can know.
        """
        if request.mint_in == request.mint_out:
            raise SameToken("tokenIn and tokenOut are the same token.", field="tokenOut")
        order_id = self.new_id() if idempotency_key is None else order_id_for(user_id, idempotency_key)
        ref, now = OrderRef(user_id, order_id), self.clock.now_ms()
        order = lifecycle.place(ref, request, fingerprint(request), now, key_id)
        if order.status is Status.OPEN and max_open is not None and await self._is_full(user_id, max_open):
            # What was placed before may be asked for again.
            earlier = None if idempotency_key is None else await self.replay(user_id, request, idempotency_key)
            if earlier is not None:
                return earlier
            raise TooManyOpenOrders(
                f"You have {max_open} open limit orders, and no more are taken. Cancel some, or wait until they end."
            )
        try:
            await self.orders.create(order)
        except OrderExists as exists:
            return self._replay(order.fingerprint, exists.current)
        self.observer.changed(order)
        if order.status is Status.PENDING:
            await self._send(order)
        return Placed(order, replayed=False)

    async def _is_full(self, user_id: str, max_open: int) -> bool:
        return await self.orders.count_living(user_id, limit=max_open) >= max_open

    async def replay(self, user_id: str, request: OrderRequest, idempotency_key: str) -> Placed | None:
        """What an earlier request with this key has stored; None if there was none.

        Raises:
            IdempotencyConflict: the key was used for another request.
        """
        current = await self.orders.get(OrderRef(user_id, order_id_for(user_id, idempotency_key)))
        return None if current is None else self._replay(fingerprint(request), current)

    def _replay(self, wanted: str, current: Order) -> Placed:
        if current.fingerprint != wanted:
            raise IdempotencyConflict(
                "This Idempotency-Key was used for another order. Use a new key for a new order.",
                field="Idempotency-Key",
            )
        return Placed(current, replayed=True)

    async def _send(self, order: Order) -> None:
        try:
            await self.queue.send([order.ref])
        except Exception as error:  # noqa: BLE001 - the order is accepted; the sweeper sends what was not sent
            self.observer.noted(order.ref.order_id, Note.SEND_FAILED, type(error).__name__)
