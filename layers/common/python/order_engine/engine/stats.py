"""What is counted of orders, how a count is known again (stages, latency buckets, marks), and who keeps it."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, Protocol

from order_engine.domain.order import Status


def _bounds() -> tuple[int, ...]:
    """Upper bounds in milliseconds, each at least a tenth above the last, up to a day."""
    bounds = [1]
    while bounds[-1] < 86_400_000:
        bounds.append(max(bounds[-1] + 1, bounds[-1] * 11 // 10))
    return tuple(bounds)


BUCKETS_MS: tuple[int, ...] = _bounds()


# A counted event is remembered at least this long. Its record of the stream comes again within 15 minutes or never.
REMEMBERED_MINUTES = 20
_MARK_BYTES = 6


def minute(at: int) -> int:
    """The minute that an event's time (milliseconds since the epoch) lies in."""
    return at // 60_000


def mark(order_id: str, seq: int) -> bytes:
    """Six bytes that stand for one event of one order: enough to tell a minute's events of one user apart."""
    return hashlib.sha256(f"{order_id}#{seq}".encode()).digest()[:_MARK_BYTES]


def stage(status: Status | None) -> Literal["open"] | None:
    """Whether an order rests; None where it is not there yet, under way, or has ended."""
    return "open" if status is Status.OPEN else None


def moves(before: Status | None, after: Status) -> dict[str, int]:
    """What a change does to the number of open orders. How many are under way is asked of the orders' own index."""
    old, new = stage(before), stage(after)
    if old == new:
        return {}
    return {name: number for name, number in ((old, -1), (new, 1)) if name is not None}


def bucket(latency_ms: int) -> int:
    """The index of the smallest bucket bound at or above ``latency_ms``; the last one for anything longer."""
    return min(bisect_left(BUCKETS_MS, latency_ms), len(BUCKETS_MS) - 1)


def quantile(counts: Mapping[int, int], share: int) -> int | None:
    """The latency in milliseconds that ``share`` percent of the counted orders did not exceed.

    Args:
        counts: orders per bucket index.

    Returns:
        The bucket's upper bound, at most a tenth too high; None if nothing was counted.
    """
    total = sum(counts.values())
    if total == 0:
        return None
    wanted = -(-total * share // 100)
    ordered = sorted(counts.items())
    running = 0

    def below(entry: tuple[int, int]) -> bool:
        nonlocal running
        running += entry[1]
        return running < wanted

    skipped = sum(1 for _ in takewhile(below, ordered))
    return BUCKETS_MS[ordered[min(skipped, len(ordered) - 1)][0]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one change of an order adds to its user's statistics.

    Attributes:
        order_id, seq: the change's last event, which is what makes the tally the same one when it comes again.
        at: the event's time, milliseconds since the epoch.
        status, before: after the change and before it; None before an order's first, and for market orders.
        venue: where a confirmed order was filled.
        latency_ms: from accepted, or from when a limit order fired, to this change. Counted of executed orders.
    """

    order_id: str
    seq: int
    at: int
    status: Status
    venue: str | None
    latency_ms: int
    before: Status | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """A user's orders in numbers.

    Attributes:
        by_status, by_venue: totals of finished orders.
        latency_counts: finished orders per bucket of ``BUCKETS_MS``.
        by_stage: how many orders rest, under ``open``.
    """

    by_status: Mapping[str, int]
    by_venue: Mapping[str, int]
    latency_counts: Mapping[int, int]
    by_stage: Mapping[str, int] = field(default_factory=dict)


class StatisticsStore(Protocol):
    async def count(self, user_id: str, tallies: Sequence[Tally]) -> None:
        """Add tallies, in any order and from any number of callers at once.

        One that comes again is skipped, if it does so before its event is ``REMEMBERED_MINUTES`` old.
        """

    async def of_user(self, user_id: str) -> Statistics:
        """What was counted, up to a moment ago: the read may lag behind the last count."""
