"""What is to be done with an order, case by case and at the very millisecond; and that a worker does it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Lease, Order, OrderRef, OrderRequest, Status
from order_engine.engine.execute import MAX_EVENTS, Action, Done, Step, Verdict, next_step
from order_engine.engine.retry import RetryPolicy
from tests.support.orders import FAILURE, IN_STATUS, LIMIT, MARKET, T0
from tests.unit.following import follow

NEVER = 10**12
LIMIT_AT = T0 + 60_000


def place(request: OrderRequest) -> Order:
    order = lifecycle.place(OrderRef("user", "order"), request, "print", T0)
    return order if order.status is Status.PENDING else lifecycle.fire(order, T0)


def orphan(request: OrderRequest = MARKET, lost: int = 0) -> Order:
    """Claimed by workers that died one after the other; the last one's lease ends at ``T0 + 20_000``."""
    order = place(request)
    for number in range(lost + 1):
        order = lifecycle.claim(order, Lease(f"gone{number}", T0 + 20_000), T0)
    return order


def waiting() -> Order:
    return lifecycle.retry(orphan(), FAILURE, T0 + 4_000, T0)


CLAIM = Step(Action.CLAIM, "free")
EXPIRE = Step(Action.EXPIRE, "its time limit has passed")
GIVE_BACK = Step(Action.GIVE_BACK, "its time limit passed after its worker was lost")
GIVE_UP = Step(Action.GIVE_UP, "it has waited too long")
TAKE_OVER = Step(Action.TAKE_OVER, "its worker is gone; the chain knows what became of the transaction")
RESTING = Step(Action.DROP, "resting until its limit is met")


@pytest.mark.parametrize(
    ("order", "now", "step"),
    [
        (place(MARKET), T0, CLAIM),
        (place(LIMIT), LIMIT_AT - 1, CLAIM),
        (place(LIMIT), LIMIT_AT, EXPIRE),
        (place(LIMIT), LIMIT_AT + 1, EXPIRE),
        (waiting(), T0 + 3_999, Step(Action.WAIT, "waiting to be tried again", 1)),
        (waiting(), T0 + 4_000, CLAIM),
        (orphan(), T0 + 19_999, Step(Action.HELD, "held by another worker", 1)),
        (orphan(), T0 + 20_000, CLAIM),
        (orphan(LIMIT), LIMIT_AT - 1, CLAIM),
        (orphan(LIMIT), LIMIT_AT, GIVE_BACK),
        (orphan(LIMIT), LIMIT_AT + 1, GIVE_BACK),
        (orphan(lost=2), T0 + 20_000, CLAIM),
        (orphan(lost=3), T0 + 20_000, Step(Action.ABANDON, "4 workers were lost during this attempt")),
        (IN_STATUS[Status.SUBMITTED], T0 + 19_999, Step(Action.HELD, "held by another worker", 1)),
        (IN_STATUS[Status.SUBMITTED], T0 + 20_000, TAKE_OVER),
        (replace(IN_STATUS[Status.SUBMITTED], lease=None), T0, TAKE_OVER),
        (IN_STATUS[Status.OPEN], NEVER, RESTING),
        *(
            (IN_STATUS[status], NEVER, Step(Action.DROP, f"already {status}"))
            for status in (Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED)
        ),
    ],
)
def test_the_next_step(order: Order, now: int, step: Step) -> None:
    assert next_step(order, now, NEVER) == step


@pytest.mark.parametrize("order", [place(MARKET), orphan()], ids=["pending", "orphan"])
def test_a_market_order_that_has_waited_too_long_is_given_up_at_that_moment(order: Order) -> None:
    assert next_step(order, T0 + 29_999, 30_000) == CLAIM
    assert next_step(order, T0 + 30_000, 30_000) == GIVE_UP
    assert next_step(place(LIMIT), LIMIT_AT - 1, 30_000) == CLAIM
    # Six hours, where nobody says otherwise.
    assert next_step(order, T0 + 6 * 3_600_000 - 1) == CLAIM
    assert next_step(order, T0 + 6 * 3_600_000) == GIVE_UP


def test_a_full_history_ends_an_order_but_not_one_that_is_to_wait() -> None:
    events = tuple(Event(seq, Status.PENDING, T0, 0) for seq in range(1, MAX_EVENTS + 1))
    full = replace(place(MARKET), events=events)
    assert next_step(full, T0) == Step(Action.ABANDON, f"no end after {MAX_EVENTS} events")
    assert next_step(replace(full, events=events[:-1]), T0) == CLAIM
    later = replace(full, retry_at=T0 + 10)
    assert next_step(later, T0) == Step(Action.WAIT, "waiting to be tried again", 10)


@pytest.mark.parametrize(
    "status", [Status.OPEN, Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED], ids=str
)
def test_a_message_for_what_needs_no_worker_is_spent_and_changes_nothing(status: Status) -> None:
    order = IN_STATUS[status]
    done = follow(order)
    assert done.order == order
    reason = "resting until its limit is met" if status is Status.OPEN else f"already {status}"
    assert done.verdict == Done(reason)


def test_the_policys_patience_is_what_counts() -> None:
    """Before a wait, and after one."""
    policy = RetryPolicy(patience_ms=600)
    old = replace(place(MARKET), created_at=T0 - 600)
    assert _given_up(follow(old, retry=policy).order, follow(old, retry=policy).verdict)
    soon = replace(place(MARKET), retry_at=T0 + 700)
    done = follow(soon, retry=policy)
    assert _given_up(done.order, done.verdict)
    assert done.ended == 700


def _given_up(order: Order, verdict: Verdict) -> bool:
    assert order.failure is not None
    return (order.failure.code, verdict) == ("gave_up", Done("it has waited too long"))
