"""The main job: orders go from POST to their end through the same handlers that deploy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from local import running
from tests.e2e.clients import place_many, queue_depths, read

LIFE = ["pending", "routing", "building", "submitted", "confirmed"]


def moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


async def test_five_orders_at_once_show_every_step_and_execute_as_quoted() -> None:
    with running(environment={"FAILURE_RATE": "0"}) as stack:
        await place_many(stack, 1)  # the first of a stack pays for what is loaded once
        orders = await place_many(stack, 5)
        stored = [await read(stack, order.order_id) for order in orders]

    for order, at_rest in zip(orders, stored, strict=True):
        assert order.statuses == LIFE
        assert [event["seq"] for event in order.events] == [1, 2, 3, 4, 5]
        assert at_rest["events"] == [
            {k: v for k, v in e.items() if k not in ("type", "orderId", "schema")} for e in order.events
        ]

        building, confirmed = order.step("building"), order.step("confirmed")
        venues = {quote["venue"] for quote in building["quotes"]}
        assert {"raydium", "meteora"} <= venues
        best = max(Decimal(quote["netOut"]) for quote in building["quotes"])
        assert Decimal(building["route"]["netOut"]) == best
        assert Decimal(confirmed["amountOut"]) >= Decimal(building["minOut"])
        assert abs(Decimal(confirmed["executedPrice"]) / Decimal(building["route"]["price"]) - 1) < Decimal("0.01")
        assert confirmed["txHash"] == order.step("submitted")["txHash"]
        assert at_rest["amountOut"] == confirmed["amountOut"]
        assert at_rest["failureReason"] is None

        landing = moment(confirmed) - moment(order.step("submitted"))
        assert 2.0 <= landing < 3.5


async def test_an_order_that_never_succeeds_fails_after_four_spaced_attempts() -> None:
    with running(environment={"FAILURE_RATE": "1", "LANDING_MIN_MS": "100", "LANDING_MAX_MS": "200"}) as stack:
        (order,) = await place_many(stack, 1)
        stored = await read(stack, order.order_id)
        await asyncio.sleep(1)  # the last message's deletion follows the last event
        depths = queue_depths(stack)

    attempt = ["routing", "building", "submitted"]
    assert order.statuses == [
        "pending",
        *attempt,
        "pending",
        *attempt,
        "pending",
        *attempt,
        "pending",
        *attempt,
        "failed",
    ]
    assert stored["attempts"] == 4
    assert stored["failureReason"]
    retries = [event for event in order.events[1:] if event["status"] == "pending"]
    assert all(event["error"]["message"] for event in retries)
    starts = [moment(event) for event in order.events if event["status"] == "routing"][1:]
    for nominal, failed, started in zip((1, 2, 4), retries, starts, strict=True):
        # Up to a quarter of jitter, and what the queue's resolution and this machine add.
        assert nominal <= started - moment(failed) <= nominal * 1.25 + 1.0
    assert set(depths.values()) == {0}, depths


@pytest.mark.parametrize("number", [40, pytest.param(100, marks=pytest.mark.long)])
async def test_many_orders_at_once_all_end(number: int) -> None:
    # Each order has a socket of its own here, as no client of more than a few orders would have.
    with running(environment={"FAILURE_RATE": "0.05", "SOCKETS_PER_USER": "100"}) as stack:
        began = time.monotonic()
        orders = await place_many(stack, number)
        took = time.monotonic() - began

    ends = Counter(order.statuses[-1] for order in orders)
    assert ends["confirmed"] + ends["failed"] == number
    assert ends["confirmed"] >= 0.95 * number
    for order in orders:
        assert [event["seq"] for event in order.events] == list(range(1, len(order.events) + 1))
    # Ten workers with ten orders each: one after the other they would take more than four minutes.
    assert took < 60
