"""Statistics of finished orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from order_engine.domain.lifecycle import EXECUTED, TERMINAL
from order_engine.engine.stats import REMEMBERED_MINUTES, Statistics, Tally, bucket, minute, moves
from tests.fakes.wire import Direct, Replica, Wire


@dataclass(slots=True)
class Totals:
    marks: dict[int, set[tuple[str, int]]] = field(default_factory=dict)
    by_status: Counter[str] = field(default_factory=Counter)
    by_venue: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)
    by_stage: Counter[str] = field(default_factory=Counter)


class FakeStatistics:
    """``StatisticsStore`` in memory: counts each event of each order once, as long as it remembers it.

    Args:
        lags: reads see what is counted only after ``replica.catch_up``.

    Attributes:
        failing: users for whom nothing can be counted.
    """

    def __init__(self, wire: Wire | None = None, *, lags: bool = False) -> None:
        self._wire = wire or Direct()
        self.totals: dict[str, Totals] = {}
        self.replica = Replica(self.totals, lags=lags)
        self.failing: set[str] = set()

    async def count(self, user_id: str, tallies: Sequence[Tally]) -> None:
        await self._wire.call("statistics.count", lambda: self._count(user_id, tallies), again=True)

    def _count(self, user_id: str, tallies: Sequence[Tally]) -> None:
        if user_id in self.failing:
            raise ConnectionError("the table does not answer for this user")
        totals = self.totals.setdefault(user_id, Totals())
        for tally in tallies:
            if not self.is_new(totals, tally):
                continue
            self._remember(totals, tally)
            for name, number in moves(tally.before, tally.status).items():
                totals.by_stage[name] += number
            if tally.status not in TERMINAL:
                continue
            totals.by_status[tally.status.value] += 1
            if tally.status in EXECUTED:
                totals.latency[bucket(tally.latency_ms)] += 1
            if tally.venue:
                totals.by_venue[tally.venue] += 1

    def is_new(self, totals: Totals, tally: Tally) -> bool:
        return (tally.order_id, tally.seq) not in totals.marks.get(minute(tally.at), ())

    def _remember(self, totals: Totals, tally: Tally) -> None:
        """As the adapter does: an event of a minute makes those forgotten that are twenty minutes older, or forty."""
        now = minute(tally.at)
        for past in [past for past in totals.marks if past < now and (now - past) % REMEMBERED_MINUTES == 0]:
            del totals.marks[past]
        totals.marks.setdefault(now, set()).add((tally.order_id, tally.seq))

    async def of_user(self, user_id: str) -> Statistics:
        totals = await self._wire.call("statistics.of_user", lambda: self.replica.read().get(user_id, Totals()))
        return Statistics(dict(totals.by_status), dict(totals.by_venue), dict(totals.latency), dict(totals.by_stage))
