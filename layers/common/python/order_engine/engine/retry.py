"""When a failed attempt is tried again. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from order_engine.domain import lifecycle
from order_engine.domain.failures import TOO_MUCH, is_final, lets_rest, waits_for_somebody
from order_engine.domain.order import Failure, Order, Retry, Routed, Status

JITTER = 4  # up to a quarter of the wait is added
PATIENCE_MS = 6 * 3_600_000
LIMIT_NOT_MET = Failure("limit_not_met", "At its full size the order would miss its limit; it rests again.")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon.

    Attributes:
        max_retries: attempts after the first.
        base_ms: the wait before the first retry; it doubles with each.
        rest_ms: how long a limit order that missed its limit rests before it may fire again. One whose attempts all
            failed rests as long the first time, and twice as long each further time.
        longest_rest_ms: but no longer than this.
        patience_ms: how long a market order may wait, from its acceptance, for an attempt to begin.
    """

    max_retries: int = 3
    base_ms: int = 1000
    rest_ms: int = 10_000
    longest_rest_ms: int = 900_000
    patience_ms: int = PATIENCE_MS


def wait_ms(policy: RetryPolicy, order_id: str, attempt: int) -> int:
    """The wait after a failed attempt: ``base * 2 ** (attempt - 1)``, plus up to a quarter of it.

    The jitter is a function of the order and the attempt, so that every worker computes the same wait and
    orders that failed together do not come back together.

    Args:
        attempt: the attempt that failed, counted from 1.

    Returns:
        Milliseconds, between the nominal wait and 1.25 times it.
    """
    nominal = policy.base_ms << (attempt - 1)
    digest = hashlib.sha256(f"{order_id}/{attempt}".encode()).digest()
    return nominal + nominal * int.from_bytes(digest[:4]) // (JITTER * 2**32)


def after_failure(order: Order, failure: Failure, policy: RetryPolicy, now: int) -> Order:
    """The order after an attempt that is proved not to have landed: pending again, resting again, or failed for good.

    What trying again cannot cure is not tried again. The reason of the last attempt is the reason of the order. A limit
    order whose attempts are used up rests again where nothing speaks against it: its owner expects it to wait for its
    price as long as its own time limit allows, through an outage too. The first time all attempts are made. After that
    one has to do for each time it fires, and it fires less and less often: its history is long enough for hours of it.
    """
    rested = times_rested(order)
    spent = is_final(failure) or order.attempts > (0 if rested else policy.max_retries)
    if spent and order.request.trigger.rests and lets_rest(failure):
        passes_soon = is_final(failure) and not waits_for_somebody(failure)
        wait = policy.rest_ms if passes_soon else min(policy.rest_ms << rested, policy.longest_rest_ms)
        return lifecycle.rest(order, failure, now + wait, now)
    if is_final(failure) or order.attempts > policy.max_retries:
        return lifecycle.fail(order, failure, now)
    return lifecycle.retry(order, failure, now + wait_ms(policy, order.ref.order_id, order.attempts), now)


def times_rested(order: Order) -> int:
    """How often a limit order has gone back to rest because its attempts failed, and not because of its price."""
    return sum(
        event.status is Status.OPEN
        and isinstance(event.detail, Retry)
        and event.detail.failure.code != LIMIT_NOT_MET.code
        and (not is_final(event.detail.failure) or waits_for_somebody(event.detail.failure))
        for event in order.events
    )


def has_waited_too_long(order: Order, patience_ms: int, now: int) -> bool:
    """Whether no attempt may begin any more, whatever it was that kept the workers from it.

    A market order takes the price that it finds: hours later that is another trade. A limit order has its price, and
    waits until its own time limit. What has been submitted is no matter of patience, but of the chain.
    """
    if order.request.trigger.rests or order.status is Status.SUBMITTED:
        return False
    return now >= order.created_at + patience_ms


def lost_workers(order: Order) -> int:
    """How many workers in a row took this attempt and vanished: claims since the attempt began, less one."""
    claims = 0
    for event in reversed(order.events):
        if event.status not in (Status.ROUTING, Status.BUILDING):
            break
        claims += event.status is Status.ROUTING
    return max(0, claims - 1)


def most_legs(order: Order) -> int | None:
    """How many swaps its next route may have: half as many as one whose transaction was too much. None for any."""
    legs, most = 0, None
    for event in order.events:
        if isinstance(event.detail, Routed):
            legs = len(event.detail.decision.chosen.legs)
        elif isinstance(event.detail, Retry) and event.detail.failure.code in TOO_MUCH:
            most = max(1, min(legs, legs if most is None else most) // 2)
    return most
