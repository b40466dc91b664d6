"""Who is told of what happens."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from order_engine.domain.order import Order


class Note(StrEnum):
    """What is worth a line of the log, and often a number, beside what becomes of orders."""

    # Of an order.
    CONFLICT = "conflict"
    RESENT = "resent"
    SWAPPED_TWICE = "swapped_twice"
    FILL_UNBELIEVABLE = "fill_unbelievable"
    SEND_FAILED = "send_failed"
    MARK_FAILED = "mark_failed"
    EXPIRE_FAILED = "expire_failed"
    FIRE_FAILED = "fire_failed"
    READ_FAILED = "read_failed"
    # Of the chain and the market.
    CHAIN_BEHIND = "chain_behind"
    CHAIN_SILENT = "chain_silent"
    POOL_LEFT_OUT = "pool_left_out"
    # Of a beat.
    LOOK_FAILED = "look_failed"
    RESEND_FAILED = "resend_failed"
    SWEEP_FAILED = "sweep_failed"
    WATCH_FAILED = "watch_failed"
    AUDIT_FAILED = "audit_failed"
    # Of sockets.
    PUSH_FAILED = "push_failed"
    CLOSE_FAILED = "close_failed"
    TIDY_FAILED = "tidy_failed"
    SOCKET_SLOW = "socket_slow"
    # Of what a request costs.
    METER_FAILED = "meter_failed"


class Observer(Protocol):
    """Told what happens, for logs and metrics."""

    def changed(self, order: Order) -> None: ...

    def noted(self, order_id: str, what: Note, reason: str) -> None: ...


class Silent:
    """An observer that says nothing."""

    def changed(self, order: Order) -> None: ...

    def noted(self, order_id: str, what: Note, reason: str) -> None: ...
