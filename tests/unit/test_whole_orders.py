"""What each event makes of a whole order: of every field, also of those that it should leave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.errors import IllegalTransition
from order_engine.domain.order import Detail, Event, Failure, Fill, Lease, Order, Retry, Status, Submission
from tests.support.orders import FAILURE, FILL, IN_STATUS, INTENT, LIMIT, ROUTED, T0

NOW = T0 + 90_000
MINE = Lease("me", NOW + 20_000)
# As no order is: every field is set, so that whatever an event clears, keeps or counts can be seen.
FULL: dict[str, Any] = {
    "version": 7,
    "lease": Lease("another", T0 + 20_000),
    "retry_at": T0 + 40_000,
    "intent": INTENT,
    "resent_at": T0 + 30_000,
    "resends": 3,
    "aside": Decimal("151.25"),
}


def full(status: Status) -> Order:
    order = replace(IN_STATUS[status], request=LIMIT, **FULL)
    last = replace(order.events[-1], attempt=2)
    return replace(order, events=(*order.events[:-1], last))


def step(status: Status, *, attempt: int = 2, detail: Detail = None, key_id: str | None = None) -> Event:
    return Event(0, status, NOW, attempt, detail, key_id)


type Case = tuple[Status, Callable[[Order], Order], Event, dict[str, Any]]
IDLE = {"retry_at": None, "aside": None}
CASES: dict[str, Case] = {
    "claim": (
        Status.PENDING,
        lambda order: lifecycle.claim(order, MINE, NOW),
        step(Status.ROUTING, attempt=3),
        {"version": 8, "lease": MINE, "retry_at": None, "resent_at": None, "resends": 0},
    ),
    "claim after a lost worker": (
        Status.BUILDING,
        lambda order: lifecycle.claim(order, MINE, NOW),
        step(Status.ROUTING),
        {"version": 8, "lease": MINE, "retry_at": None, "resent_at": None, "resends": 0},
    ),
    "route": (
        Status.ROUTING,
        lambda order: lifecycle.route(order, ROUTED, NOW),
        step(Status.BUILDING, detail=ROUTED),
        {},
    ),
    "submit": (
        Status.BUILDING,
        lambda order: lifecycle.submit(replace(order, intent=None), INTENT, NOW),
        step(Status.SUBMITTED, detail=Submission(INTENT.signature)),
        {"intent": INTENT},
    ),
    "confirm": (
        Status.SUBMITTED,
        lambda order: lifecycle.confirm(order, FILL, NOW),
        step(Status.CONFIRMED, detail=Fill("signature", 149_500_000, 7)),
        {"lease": None, "intent": None},
    ),
    "retry": (
        Status.SUBMITTED,
        lambda order: lifecycle.retry(order, FAILURE, NOW + 4_000, NOW),
        step(Status.PENDING, detail=Retry(FAILURE, NOW + 4_000)),
        {"lease": None, "intent": None, "retry_at": NOW + 4_000},
    ),
    "rest": (
        Status.ROUTING,
        lambda order: lifecycle.rest(order, FAILURE, NOW + 10_000, NOW),
        step(Status.OPEN, detail=Retry(FAILURE, NOW + 10_000)),
        {"lease": None, "intent": None, "retry_at": NOW + 10_000, "aside": None},
    ),
    "fire": (Status.OPEN, lambda order: lifecycle.fire(order, NOW), step(Status.PENDING, attempt=0), IDLE),
    "fail": (
        Status.BUILDING,
        lambda order: lifecycle.fail(order, FAILURE, NOW),
        step(Status.FAILED, detail=Failure("venues_unavailable", "There is no way.")),
        {"lease": None, "intent": None, "retry_at": None},
    ),
    "cancel": (
        Status.OPEN,
        lambda order: lifecycle.cancel(order, NOW, "0123456789ab"),
        step(Status.CANCELLED, key_id="0123456789ab"),
        IDLE,
    ),
    "expire": (Status.OPEN, lambda order: lifecycle.expire(order, NOW), step(Status.EXPIRED), IDLE),
}


@pytest.mark.parametrize("name", CASES)
def test_an_event_changes_what_it_says_and_nothing_else(name: str) -> None:
    status, apply, event, changes = CASES[name]
    before = full(status)
    expected = replace(before, events=(*before.events, replace(event, seq=before.seq + 1)), **changes)
    assert apply(before) == expected


def test_what_is_noted_without_an_event_changes_nothing_else() -> None:
    sent, resting = full(Status.SUBMITTED), full(Status.OPEN)
    assert lifecycle.take_over(sent, MINE) == replace(sent, version=8, lease=MINE, resent_at=None, resends=0)
    assert lifecycle.lose_message(sent) == replace(sent, resent_at=None)
    assert lifecycle.set_aside(resting, Decimal(160)) == replace(resting, aside=Decimal(160))


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OPEN])
def test_only_a_resting_order_is_set_aside(status: Status) -> None:
    with pytest.raises(IllegalTransition, match=f"{status} cannot be set aside"):
        lifecycle.set_aside(full(status), Decimal(160))


def test_the_error_says_what_cannot_be_done() -> None:
    with pytest.raises(IllegalTransition, match="confirmed cannot fire"):
        lifecycle.fire(full(Status.CONFIRMED), NOW)
    with pytest.raises(IllegalTransition, match="pending cannot be tried again"):
        lifecycle.retry(full(Status.PENDING), FAILURE, NOW, NOW)
    with pytest.raises(IllegalTransition, match="confirmed cannot become cancelled"):
        lifecycle.cancel(full(Status.CONFIRMED), NOW)
