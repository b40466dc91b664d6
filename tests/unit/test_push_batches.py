"""One batch of the stream: whose records come again, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Connection
from order_engine.engine.push import Change, PushEvents, tally_of
from order_engine.engine.stats import Tally
from order_engine.wire.views import event_frame, snapshot_frames
from tests.fakes.connections import FakeConnections
from tests.fakes.statistics import FakeStatistics
from tests.support.clock import StandingClock
from tests.support.lives import orders
from tests.support.orders import MARKET, T0


class _Slow:
    """A push that takes a moment, and remembers."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def post(self, connection_id: str, frame: bytes, *, within_ms: int | None = None) -> None:
        await asyncio.sleep(0.02)
        self.sent.append(connection_id)

    async def close(self, connection_id: str) -> None: ...

    async def alive(self, connection_id: str) -> bool:
        return True


def _change(user: str, number: int) -> Change:
    order = lifecycle.place(OrderRef(user, f"order{number}"), MARKET, "print", T0)
    return Change(str(number), lifecycle.cancel(order, T0 + 5), 1)


async def _push(statistics: FakeStatistics, push: _Slow, changes: Sequence[Change]) -> list[str]:
    connections = FakeConnections()
    for user in ("well", "ill"):
        await connections.add(Connection(user, f"{user}-socket", follows_all=True), expires_at=T0)
    pushing = PushEvents(connections, push, statistics, event_frame, snapshot_frames, StandingClock(T0), Silent())
    return await pushing(changes)


async def test_only_the_failing_users_records_come_again() -> None:
    statistics = FakeStatistics()
    statistics.failing.add("ill")
    failed = await _push(statistics, _Slow(), [_change("well", 1), _change("ill", 2), _change("well", 3)])
    assert failed == ["2"]
    assert statistics.totals["well"].by_status == {"cancelled": 2}


async def test_what_was_begun_is_ended_before_a_failure_is_answered() -> None:
    """A frame still on its way when the handler returns would be sent in the middle of a later batch."""
    statistics, push = FakeStatistics(), _Slow()
    statistics.failing.add("ill")
    await _push(statistics, push, [_change("ill", 1), _change("ill", 2)])
    sent = list(push.sent)
    await asyncio.sleep(0.1)
    assert push.sent == sent
    assert len(sent) == 2


@given(orders())
def test_each_order_is_counted_once_at_its_end_and_leaves_no_stage_behind(order: Order) -> None:
    changes = [
        Change(str(event.seq), replace(order, events=order.events[: event.seq]), event.seq - 1)
        for event in order.events
    ]
    tallies: list[Tally] = [tally for change in changes if (tally := tally_of(change)) is not None]
    statistics = FakeStatistics()
    for tally in tallies:
        asyncio.run(statistics.count("user", [tally]))
    totals = asyncio.run(statistics.of_user("user"))
    ended = order.status in lifecycle.TERMINAL
    assert sum(totals.by_status.values()) == ended
    # A market order is on its way for seconds: it is counted at its end only.
    rests = order.status is Status.OPEN and order.request.type == "limit"
    expected = {"open": 1} if rests else {}
    assert {stage: number for stage, number in totals.by_stage.items() if number} == expected
