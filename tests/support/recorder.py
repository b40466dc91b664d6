"""Remembering what happens: what an observer is told, and what a deployed engine asks of AWS."""

from __future__ import annotations

from dataclasses import dataclass, field

from order_engine.domain.order import Order
from order_engine.engine.observer import Note, Silent


@dataclass(slots=True)
class Recorder(Silent):
    """``Observer`` that remembers, in order: of a changed order its id and status, of what is noted all of it."""

    told: list[tuple[str, ...]] = field(default_factory=list)

    def changed(self, order: Order) -> None:
        self.told.append((order.ref.order_id, order.status.value))

    def noted(self, order_id: str, what: Note, reason: str) -> None:
        self.told.append((order_id, what, reason))

    @property
    def seen(self) -> list[tuple[str, str]]:
        """The same without reasons."""
        return [(order_id, what) for order_id, what, *_ in self.told]

    @property
    def whats(self) -> list[str]:
        return [what for _, what in self.seen]
