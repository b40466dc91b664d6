"""Who is told of what happens."""

from __future__ import annotations

from typing import Protocol

from order_engine.domain.order import Order


class Observer(Protocol):
    """Told what happens, for logs and metrics."""

    def changed(self, order: Order) -> None: ...

    def noted(self, order_id: str, what: str, reason: str) -> None: ...


class Silent:
    """An observer that says nothing."""

    def changed(self, order: Order) -> None: ...

    def noted(self, order_id: str, what: str, reason: str) -> None: ...
