"""The one table of what may follow what, and the only functions that change an order.

An order changes by applying one event. Each function is pure: it takes the order and the time and returns
the next order, or raises IllegalTransition.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from order_engine.domain.errors import IllegalTransition
from order_engine.domain.order import (
    Detail,
    Event,
    Failure,
    Fill,
    Lease,
    Order,
    OrderRef,
    OrderRequest,
    Retry,
    Routed,
    SignedTransaction,
    Status,
    Submission,
)

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.OPEN: frozenset({Status.PENDING, Status.CANCELLED, Status.EXPIRED}),
    Status.PENDING: frozenset({Status.ROUTING, Status.CANCELLED, Status.EXPIRED, Status.FAILED}),
    Status.ROUTING: frozenset({Status.ROUTING, Status.BUILDING, Status.PENDING, Status.OPEN, Status.FAILED}),
    Status.BUILDING: frozenset({Status.ROUTING, Status.SUBMITTED, Status.PENDING, Status.OPEN, Status.FAILED}),
    Status.SUBMITTED: frozenset({Status.CONFIRMED, Status.PENDING, Status.OPEN, Status.FAILED}),
    Status.CONFIRMED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}
TERMINAL: frozenset[Status] = frozenset(s for s, then in TRANSITIONS.items() if not then)
EXECUTED: frozenset[Status] = frozenset({Status.CONFIRMED, Status.FAILED})
CLAIMED: frozenset[Status] = frozenset({Status.ROUTING, Status.BUILDING, Status.SUBMITTED})
UNDER_WAY: frozenset[Status] = CLAIMED | {Status.PENDING}
FIRST: frozenset[Status] = frozenset({Status.OPEN, Status.PENDING})


def place(ref: OrderRef, request: OrderRequest, fingerprint: str, now: int, key_id: str | None = None) -> Order:
    """A new order: open where its trigger lets it rest, or else pending. ``key_id`` tells who asked for it."""
    status = Status.OPEN if request.trigger.rests else Status.PENDING
    return Order(ref, request, now, fingerprint, (Event(1, status, now, 0, key_id=key_id),))


def _step(
    order: Order,
    status: Status,
    now: int,
    detail: Detail = None,
    *,
    attempt: int | None = None,
    key_id: str | None = None,
) -> Order:
    if status not in TRANSITIONS[order.status]:
        raise IllegalTransition(f"An order that is {order.status} cannot become {status}.")
    last = order.events[-1]
    # Clocks of several machines disagree a little; an order's own history never runs backwards.
    event = Event(last.seq + 1, status, max(now, last.at), last.attempt if attempt is None else attempt, detail, key_id)
    return replace(order, events=(*order.events, event))


def _only_from(order: Order, allowed: frozenset[Status], event: str) -> None:
    """Two events lead to pending: the table alone would let one take the other's place."""
    if order.status not in allowed:
        raise IllegalTransition(f"An order that is {order.status} cannot {event}.")


def _release(order: Order) -> Order:
    return replace(order, lease=None)


def claim(order: Order, lease: Lease, now: int) -> Order:
    """Start, or start again, an attempt: routing under a new lease and fencing number.

    A claim from pending begins the next attempt. Taking over from a dead worker continues the same one.
    """
    attempt = order.attempts + 1 if order.status is Status.PENDING else order.attempts
    claimed = _step(order, Status.ROUTING, now, attempt=attempt)
    return replace(claimed, version=order.version + 1, lease=lease, retry_at=None, resent_at=None, resends=0)


def take_over(order: Order, lease: Lease) -> Order:
    """Hold a submitted order without an event: its transaction's fate is to be found out, not a new attempt."""
    if order.status is not Status.SUBMITTED:
        raise IllegalTransition(f"Only a submitted order is taken over as it is; this one is {order.status}.")
    return replace(order, version=order.version + 1, lease=lease, resent_at=None, resends=0)


def route(order: Order, routed: Routed, now: int) -> Order:
    """The route is chosen; the transaction is being built."""
    return _step(order, Status.BUILDING, now, routed)


def lose_message(order: Order) -> Order:
    """Note, without an event, that the message that was sent last for this order is gone."""
    return replace(order, resent_at=None)


def submit(order: Order, intent: SignedTransaction, now: int) -> Order:
    """The signed transaction is stored, to be broadcast next."""
    return replace(_step(order, Status.SUBMITTED, now, Submission(intent.signature)), intent=intent)


def confirm(order: Order, fill: Fill, now: int) -> Order:
    """The swap landed."""
    return replace(_release(_step(order, Status.CONFIRMED, now, fill)), intent=None)


def retry(order: Order, failure: Failure, retry_at: int, now: int) -> Order:
    """The attempt failed and did not land; the next may start at ``retry_at``."""
    _only_from(order, CLAIMED, "be tried again")
    back = _step(order, Status.PENDING, now, Retry(failure, retry_at))
    return replace(_release(back), retry_at=retry_at, intent=None)


def rest(order: Order, failure: Failure, retry_at: int, now: int) -> Order:
    """What was tried did not land, and the limit order rests again; it does not fire before ``retry_at``."""
    back = _step(order, Status.OPEN, now, Retry(failure, retry_at))
    # The attempts did not count: resting is what a limit order is for.
    return replace(_release(back), retry_at=retry_at, intent=None, aside=None)


def set_aside(order: Order, price: Decimal) -> Order:
    """Note, without an event, that a resting order misses its limit at its full size until ``price`` is reached."""
    _only_from(order, frozenset({Status.OPEN}), "be set aside")
    return replace(order, aside=price)


def fire(order: Order, now: int) -> Order:
    """The price crossed the limit."""
    _only_from(order, frozenset({Status.OPEN}), "fire")
    return replace(_step(order, Status.PENDING, now, attempt=0), retry_at=None, aside=None)


def fail(order: Order, failure: Failure, now: int) -> Order:
    """Give up, with the reason."""
    return replace(_release(_step(order, Status.FAILED, now, failure)), intent=None, retry_at=None)


def cancel(order: Order, now: int, key_id: str | None = None) -> Order:
    """The user withdrew the order before a worker had claimed it."""
    return replace(_step(order, Status.CANCELLED, now, key_id=key_id), retry_at=None, aside=None)


def expire(order: Order, now: int) -> Order:
    """The order's own time limit passed before it was executed."""
    return replace(_step(order, Status.EXPIRED, now), retry_at=None, aside=None)
