"""The sweeper works while there is work, and an idle deployment pays for one look a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef
from order_engine.engine.rounds import Rounds
from order_engine.engine.routing.router import Router
from order_engine.engine.sweep import Sweep
from order_engine.engine.triggers import Triggers
from order_engine.venues.paper.tokens import TOKENS
from process.sweep import _written_until
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock
from tests.support.orders import LIMIT, MARKET, T0
from tests.support.recorder import Recorder

RUN_MS = 57_000


@dataclass(slots=True)
class Wire:
    """Answers at once, counts the calls, and fails those that it is told to."""

    calls: Counter[str] = field(default_factory=Counter)
    failing: frozenset[str] = frozenset()

    async def call[T](self, name: str, effect: Callable[[], T], *, again: bool = False) -> T:
        self.calls[name] += 1
        if name in self.failing:
            raise TimeoutError(name)
        return effect()

    def later(self, name: str, effect: Callable[[], None]) -> None:
        effect()


class Clock(LoopClock):
    """The time of the virtual loop that runs the case, with things that happen meanwhile."""

    def __init__(self, began_at: int = T0) -> None:
        self.virtual = VirtualLoop()
        super().__init__(self.virtual, began_at)
        self.plans: list[tuple[int, Callable[[], object]]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> int:
        """Run to the end; milliseconds that it took."""
        for at, happen in self.plans:
            self.virtual.call_at((at - self.began_at) / 1000, happen)
        run(self.virtual, work)
        return self.now_ms() - self.began_at


class Case:
    """A sweeper over a table in memory."""

    def __init__(self, *failing: str) -> None:
        self.wire, self.clock, self.observer = Wire(failing=frozenset(failing)), Clock(), Recorder()
        self.orders = FakeOrders(self.wire)
        self.queue = FakeQueue(self.clock.now_ms)
        self.triggers = Triggers(
            self.orders, self.queue, Router((), self.clock), self.clock, self.observer, lambda: TOKENS
        )

    def rounds(self) -> Rounds:
        sweep = Sweep(self.orders, self.queue, self.clock, self.observer)
        return Rounds(self.orders, sweep, self.triggers, self.clock, self.observer)

    def put(self, order: Order) -> Order:
        self.orders._put(self.orders.stored.get(order.ref), order)
        return order

    def run(self, stay_ms: int = -T0) -> int:
        """Run as the schedule does; milliseconds until it returned."""
        began = self.clock.began_at
        return self.clock.run(
            self.rounds().run(began + RUN_MS, sweep_every_ms=10_000, watch_every_ms=2_000, stay_until=began + stay_ms)
        )


def an_order(at: int = T0) -> Order:
    return lifecycle.place(OrderRef("user", "order"), MARKET, "print", at)


def test_with_nothing_to_do_one_look_is_all() -> None:
    case = Case()
    assert case.run() == 0
    assert case.wire.calls == {"orders.any_waiting": 1}


def test_what_has_ended_is_nothing_to_do() -> None:
    case = Case()
    case.put(lifecycle.cancel(an_order(), T0))
    assert case.run() == 0


def test_a_resting_order_is_watched_to_the_end_of_the_run() -> None:
    case = Case()
    resting = replace(LIMIT, expires_at=None)
    case.put(lifecycle.place(OrderRef("user", "resting"), resting, "print", T0))
    assert case.run() >= RUN_MS - 10_000
    assert case.wire.calls["orders.any_waiting"] == 6


def test_an_active_order_is_looked_after_until_it_ends_and_no_longer() -> None:
    case = Case()
    order = case.put(an_order())
    ended = lifecycle.cancel(order, T0 + 23_000)
    case.clock.plans.append((T0 + 23_000, lambda: case.put(ended)))
    assert 23_000 <= case.run() <= 33_000


def test_an_order_that_lost_its_message_while_the_stage_was_idle_is_sent_by_the_next_run() -> None:
    case = Case()
    assert case.run() == 0
    case.put(an_order(at=T0 + 1))
    case.clock = case.triggers.clock = Clock(T0 + 60_000)
    case.run()
    assert len(case.queue.messages) == 1


def test_a_look_that_fails_is_no_reason_to_stop() -> None:
    case = Case("orders.any_waiting")
    case.put(an_order(at=T0 - 60_000))
    assert case.run() >= RUN_MS - 10_000
    assert "look_failed" in case.observer.whats
    assert len(case.queue.messages) == 1


def test_who_was_told_of_an_order_stays_until_the_index_must_show_it() -> None:
    case = Case()
    resting = lifecycle.place(OrderRef("user", "resting"), replace(LIMIT, expires_at=None), "print", T0)
    case.clock.plans.append((T0 + 2_000, lambda: case.put(resting)))
    assert case.run(stay_ms=3_000) >= RUN_MS - 10_000
    idle = Case()
    assert idle.run(stay_ms=3_000) <= 3_100
    assert idle.wire.calls == {"orders.any_waiting": 2}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, 0),
        ({"source": "aws.events"}, 0),
        ({"Records": [{"dynamodb": {"ApproximateCreationDateTime": at}} for at in (1_790_000_000, 1_790_000_007.0)]},
         1_790_000_008_000),
    ],
)  # fmt: skip
def test_the_stream_tells_until_when_orders_were_written(event: dict[str, Any], expected: int) -> None:
    assert _written_until(event) == expected
