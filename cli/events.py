"""Events of an order, each once and in order, whichever way they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.order import Status

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One step of an order's life.

    Attributes:
        seq: 1, 2, 3… without a gap.
        attempt: which attempt to execute it belongs to; 0 before the first.
        detail: what the step adds, by its name on the wire: the decision with all quotes, the signature, the price,
            the error.
    """

    order_id: str
    seq: int
    status: Status
    at: datetime
    attempt: int
    detail: Mapping[str, Any]

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @classmethod
    def read(cls, order_id: str, view: Mapping[str, Any]) -> OrderEvent:
        """Read an event of a frame or of an order.

        Raises:
            KeyError, ValueError, TypeError: it is none.
        """
        known = {"type", "orderId", "seq", "status", "at", "attempt"}
        return cls(
            order_id=order_id,
            seq=int(view["seq"]),
            status=Status(view["status"]),
            at=datetime.fromisoformat(view["at"]),
            attempt=int(view["attempt"]),
            detail={name: value for name, value in view.items() if name not in known},
        )


class Merge:
    """Puts the frames of one order in order. An event comes out once, after all events before it.

    Attributes:
        seq: the last event that came out.
        finished: nothing can follow.
        created_at: the time of the first event, once seen.
    """

    def __init__(self, after: int = 0) -> None:
        self.seq = after
        self.finished = False
        self.created_at: datetime | None = None
        self._held: dict[int, OrderEvent] = {}

    @property
    def gap(self) -> bool:
        """Whether later events are held back for one that is missing."""
        return bool(self._held)

    def add(self, events: Iterable[OrderEvent]) -> list[OrderEvent]:
        """Take in events in any order; what can come out now, in order."""
        for event in events:
            if event.seq > self.seq:
                self._held.setdefault(event.seq, event)
        ready: list[OrderEvent] = []
        while self.seq + 1 in self._held:
            event = self._held.pop(self.seq + 1)
            self.seq = event.seq
            self.finished = event.terminal
            if event.seq == 1:
                self.created_at = event.at
            ready.append(event)
        return ready

    def snapshot(self, seq: int, status: Status, events: Iterable[OrderEvent]) -> list[OrderEvent]:
        """Take in a snapshot: the order stands at ``seq`` and has ``status``."""
        ready = self.add(events)
        if status in TERMINAL and seq <= self.seq:
            self.finished = True
        return ready
