"""A user's orders in numbers, and how much waits in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from order_engine.engine.ports import OrderQueue, OrderStore
from order_engine.engine.stats import StatisticsStore, quantile

SHARES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a user's orders.

    Attributes:
        waiting, in_flight, dead: messages of all users in the queue, with the workers, and given up.
        resting: orders that wait for their trigger.
        active: orders that are under way.
        by_status, by_venue: orders that have ended.
        latency_ms: by share of the finished orders, as a percentage: how long they took at most.
    """

    waiting: int
    in_flight: int
    dead: int
    resting: int
    active: int
    by_status: Mapping[str, int]
    by_venue: Mapping[str, int]
    latency_ms: Mapping[int, int | None]


@dataclass(frozen=True, slots=True)
class Summarise:
    """The use case."""

    orders: OrderStore
    queue: OrderQueue
    statistics: StatisticsStore

    async def __call__(self, user_id: str) -> Summary:
        totals, depth, active = await asyncio.gather(
            self.statistics.of_user(user_id), self.queue.depth(), self.orders.count_active(user_id)
        )
        return Summary(
            waiting=depth["visible"] + depth["delayed"],
            in_flight=depth["in_flight"],
            dead=depth["dead"],
            resting=max(0, totals.by_stage.get("open", 0)),
            active=active,
            by_status=totals.by_status,
            by_venue=totals.by_venue,
            latency_ms={share: quantile(totals.latency_counts, share) for share in SHARES},
        )
