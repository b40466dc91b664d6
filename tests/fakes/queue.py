"""A standard queue: at least once, in any order, with visibility timeouts and a redrive policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.order import OrderRef
from order_engine.wire import messages
from tests.fakes.wire import Direct, Wire

_MAX_VISIBILITY_S = 42_300


@dataclass(slots=True)
class Message:
    """One message. ``receipt`` names its latest receive; earlier receipts no longer change it."""

    message_id: str
    body: str
    visible_at: int
    receives: int = 0
    receipt: str = ""
    reason: str = ""


class FakeQueue:
    """A queue with its consumers' side.

    Args:
        now: milliseconds since the epoch.
        visibility_ms: how long a received message is hidden.
        max_receives: after so many receives a message moves to ``gives_up_to``.

    Attributes:
        refused: ids of orders whose messages are not taken.
    """

    def __init__(
        self,
        now: Callable[[], int],
        *,
        name: str = "queue",
        wire: Wire | None = None,
        visibility_ms: int = 90_000,
        max_receives: int = 10,
        gives_up_to: FakeQueue | None = None,
    ) -> None:
        self._now = now
        self._wire = wire or Direct()
        self._visibility_ms = visibility_ms
        self._max_receives = max_receives
        self._gives_up_to = gives_up_to
        self._numbers = 0
        self.name = name
        self.messages: dict[str, Message] = {}
        self.refused: set[str] = set()
        self.wake: Callable[[], None] = lambda: None

    # --- the engine's side -------------------------------------------------------------------------------------

    async def send(self, refs: Sequence[OrderRef]) -> None:
        await self._wire.call(f"{self.name}.send", lambda: self._send(refs))

    def _send(self, refs: Sequence[OrderRef]) -> None:
        taken = [ref for ref in refs if ref.order_id not in self.refused]
        for ref in taken:
            self.put(messages.encode(ref))
        if len(taken) < len(refs):
            raise ConnectionError("not all messages were taken")

    async def keep(self, body: str, reason: str) -> None:
        await self._wire.call(f"{self.name}.keep", lambda: self.put(body, reason))

    async def hide(self, receipt_handle: str, delay_ms: int) -> None:
        await self._wire.call(f"{self.name}.hide", lambda: self._hide(receipt_handle, delay_ms))

    def _hide(self, receipt: str, delay_ms: int) -> None:
        message = self._held(receipt)
        if message is None:
            raise LookupError("the receipt handle has expired")
        message.visible_at = self._now() + min(delay_ms // 1000, _MAX_VISIBILITY_S) * 1000
        self.wake()

    async def held(self) -> tuple[int, int]:
        def counted() -> tuple[int, int]:
            return sum(message.visible_at <= self._now() for message in self.messages.values()), len(self.messages)

        return await self._wire.call(f"{self.name}.held", counted)

    async def depth(self) -> Mapping[str, int]:
        return await self._wire.call(f"{self.name}.depth", self._depth)

    def _depth(self) -> Mapping[str, int]:
        now = self._now()
        visible = sum(message.visible_at <= now for message in self.messages.values())
        dead = len(self._gives_up_to.messages) if self._gives_up_to else 0
        return {"visible": visible, "in_flight": len(self.messages) - visible, "delayed": 0, "dead": dead}

    # --- the service's side ------------------------------------------------------------------------------------

    def put(self, body: str, reason: str = "") -> None:
        self._numbers += 1
        message_id = f"{self.name}-{self._numbers}"
        self.messages[message_id] = Message(message_id, body, self._now(), reason=reason)
        self.wake()

    def receive(self, limit: int, choose: Callable[[list[Message]], list[Message]] = list) -> list[Message]:
        """Take up to ``limit`` visible messages, in the order that ``choose`` gives them."""
        now = self._now()
        taken: list[Message] = []
        for message in choose([message for message in self.messages.values() if message.visible_at <= now]):
            if len(taken) == limit:
                break
            if self._gives_up_to is not None and message.receives >= self._max_receives:
                del self.messages[message.message_id]
                self._gives_up_to.put(message.body, message.reason)
                continue
            message.receives += 1
            message.receipt = f"{message.message_id}/{message.receives}"
            message.visible_at = now + self._visibility_ms
            taken.append(message)
        return taken

    def delete(self, receipt: str) -> None:
        """Delete a message by its latest receipt; an older one deletes nothing."""
        message = self._held(receipt)
        if message is not None:
            del self.messages[message.message_id]

    def _held(self, receipt: str) -> Message | None:
        message = self.messages.get(receipt.partition("/")[0])
        return message if message is not None and message.receipt == receipt else None

    def next_visible(self) -> int | None:
        """When the next message can be received; None for an empty queue."""
        return min((message.visible_at for message in self.messages.values()), default=None)


def record_of(message: Message) -> dict[str, object]:
    """The message as Lambda hands it to a function."""
    return {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives)},
    }


def body_of(ref: OrderRef) -> str:
    return json.dumps({"userId": ref.user_id, "orderId": ref.order_id})
