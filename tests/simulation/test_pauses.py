"""Whatever stops the workers, and for however long: an accepted order waits, and the queue is not flooded meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import pytest

from order_engine.domain.order import Order, Status
from order_engine.domain.tokens import SOL
from order_engine.engine.retry import PATIENCE_MS
from tests.simulation.run import Plan, Planned, Result, Simulation, limit_order, market_order
from tests.simulation.world import EPOCH_MS

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# From the end of a pause: a message that is hidden comes back, or its letter is resolved and it is sent again.
RESUMES_MS = 4 * MINUTE_MS
# The whole world that a pause needs: throttled invocations, whose receives count, or a mapping that is switched off.
STOPPED = {"throttled": ("process",), "all throttled": ("process", "dead_letters"), "disabled": ("process source",)}


def paused(
    how: str, pause_ms: int, *, share: float = 1.0, patience_ms: int = PATIENCE_MS
) -> tuple[Simulation, Result, Counter[str]]:
    """Market orders from the beginning of a pause to its middle; the order queue's messages by order, at its end."""
    orders = [Planned(n * pause_ms // 20, f"user{n % 2 + 1}", market_order(SOL.unit, 300)) for n in range(10)]
    messages: Counter[str] = Counter()

    def look(simulation: Simulation) -> None:
        waiting = simulation.queue.messages.values()
        messages.update(json.loads(message.body)["orderId"] for message in waiting)

    plan = Plan(
        orders,
        bad_ms=pause_ms + 1000,
        pauses=[(name, share, 0, pause_ms) for name in STOPPED[how]],
        patience_ms=patience_ms,
        probes=[(pause_ms - 1, look)],
    )
    simulation = Simulation(1, plan)
    return simulation, simulation.run(), messages


def ended(simulation: Simulation) -> list[Order]:
    return list(simulation.orders.stored.values())


@pytest.mark.parametrize("how", STOPPED)
@pytest.mark.parametrize("minutes", [5, 20, pytest.param(60, marks=pytest.mark.long), 300])
def test_orders_wait_out_a_pause_and_are_executed_soon_after_it(how: str, minutes: int) -> None:
    pause_ms = minutes * MINUTE_MS
    simulation, result, messages = paused(how, pause_ms)
    assert result.violation is None
    assert result.statuses == {"confirmed": 10}
    claimed = [
        next(event.at for event in order.events if event.status is Status.ROUTING) for order in ended(simulation)
    ]
    assert max(claimed) <= EPOCH_MS + pause_ms + RESUMES_MS
    assert max(messages.values(), default=0) <= 8


@pytest.mark.parametrize("days", [0.5, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["throttled", "disabled"])
def test_after_days_what_waited_too_long_has_ended_and_patience_is_a_setting(how: str, days: float) -> None:
    pause_ms = int(days * DAY_MS)
    simulation, result, _ = paused(how, pause_ms)
    assert result.violation is None
    assert result.statuses == {"failed": 10}
    for order in ended(simulation):
        assert order.failure is not None
        assert order.failure.code == "gave_up"
        # Ended by the sweeper, while no worker runs.
        assert PATIENCE_MS <= order.updated_at - order.created_at <= PATIENCE_MS + 3 * MINUTE_MS
    simulation, result, messages = paused(how, pause_ms, patience_ms=7 * DAY_MS)
    assert result.violation is None
    assert result.statuses == {"confirmed": 10}
    assert max(messages.values()) <= 20


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_workers_that_are_throttled_most_of_the_time_end_no_order(share: float) -> None:
    _, result, messages = paused("throttled", 2 * HOUR_MS, share=share)
    assert result.violation is None
    assert result.statuses == {"confirmed": 10}
    assert max(messages.values(), default=0) <= 4


def test_a_limit_order_that_has_fired_waits_as_long_as_its_own_limit_lets_it() -> None:
    until = EPOCH_MS + 2 * DAY_MS
    met = Planned(1000, "user1", limit_order(SOL.unit, Decimal(1), until))
    plan = Plan([met], bad_ms=DAY_MS + 1000, pauses=[("process", 1.0, 0, DAY_MS)])
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    (order,) = ended(simulation)
    assert order.status is Status.CONFIRMED
    assert order.updated_at > EPOCH_MS + DAY_MS


def test_an_order_that_waits_for_workers_can_be_cancelled() -> None:
    plan = Plan(
        [Planned(1000, "user1", market_order(SOL.unit), cancel_at_ms=HOUR_MS)],
        bad_ms=2 * HOUR_MS,
        pauses=[("process", 1.0, 0, 2 * HOUR_MS)],
    )
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    (order,) = ended(simulation)
    assert order.status is Status.CANCELLED
