"""Limit orders from the API to the market and back."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator
from decimal import Decimal
from itertools import permutations
from typing import Any

import boto3
import pytest

from local.cloud import events
from local.cloud.moto_state import fill
from order_engine.aws import codec
from order_engine.domain import lifecycle
from order_engine.domain.order import OrderRef, OrderRequest
from order_engine.domain.tokens import SOL, USDC
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import Resources, engine
from tests.support.events import Context
from tests.support.http import request

LIMIT: dict[str, Any] = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
QUERY = {"tokenIn": "SOL", "tokenOut": "USDC"}
BELOW, ABOVE = "1.25", "100000"


def place(price: str, **more: Any) -> str:
    reply = request("POST", "/api/orders/execute", body={**LIMIT, "limitPrice": price, **more})
    assert (reply.status, reply.json["status"]) == (202, "open"), reply.text
    order_id: str = reply.json["orderId"]
    return order_id


def read(order_id: str) -> Any:
    return request("GET", f"/api/orders/{order_id}").json


def run[T](work: Coroutine[Any, Any, T]) -> T:
    return event_loop().run_until_complete(work)


def test_a_limit_far_below_the_market_fires_in_every_pair(deploy: Deploy, clock: StandingClock) -> None:
    """Also in those that no single pool trades: the router fills them over two."""
    deploy(QUOTE_DELAY_MS="0", READS_BURST="10000")
    placed: dict[str, tuple[str, str]] = {}
    for source, target in permutations(("SOL", "USDC", "USDT", "BONK", "JUP", "RAY"), 2):
        pair = {"tokenIn": source, "tokenOut": target}
        quoted = request("GET", "/api/quote", query={**pair, "amountIn": "100"}).json
        price = Decimal(quoted["route"]["price"])
        fires, rests = (place(f"{price * part:.12f}", **pair, amountIn="100") for part in (Decimal("0.5"), Decimal(2)))
        placed[f"{source}/{target}"] = fires, rests
    for _ in range(3):
        beat(clock)
        clock.now += 1
    ends = {pair: tuple(read(order_id)["status"] for order_id in both) for pair, both in placed.items()}
    assert ends == dict.fromkeys(placed, ("pending", "open"))


def beat(clock: StandingClock) -> None:
    """One beat of each kind, as the scheduled function makes them."""
    run(engine().rounds.run(clock.now + 2000, sweep_every_ms=0, watch_every_ms=0))


def queued(resources: Resources) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for _ in range(20):
        answer = boto3.client("sqs").receive_message(QueueUrl=resources.orders_queue_url, MaxNumberOfMessages=10)
        if not answer.get("Messages"):
            break
        found += [json.loads(message["Body"]) for message in answer["Messages"]]
    return found


def work_off(resources: Resources) -> None:
    """Let the worker execute what is queued."""
    from process.handler import lambda_handler

    for message in queued(resources):
        lambda_handler.over(engine())(events.messages(json.dumps(message)), Context())


@pytest.fixture
def resources(deploy: Deploy, clock: StandingClock) -> Resources:
    return deploy(QUOTE_DELAY_MS="0", LANDING_MIN_MS="0", LANDING_MAX_MS="0", FAILURE_RATE="0")


def test_an_order_rests_while_the_market_is_below_its_price(resources: Resources, clock: StandingClock) -> None:
    order_id = place(ABOVE)

    for _ in range(3):
        clock.now += 2000
        beat(clock)

    assert read(order_id)["status"] == "open"
    assert queued(resources) == []


def test_an_order_whose_price_is_reached_fires_once_and_gets_at_least_its_limit(
    resources: Resources, clock: StandingClock
) -> None:
    order_id = place(BELOW)

    beat(clock)
    assert read(order_id)["status"] == "pending"
    beat(clock)
    beat(clock)
    messages = queued(resources)
    assert messages == [{"userId": "alice", "orderId": order_id, "schema": 1}]
    run(engine().stores.queue.send([OrderRef("alice", order_id)]))
    work_off(resources)

    order = read(order_id)
    assert order["status"] == "confirmed", order["events"]
    assert [event["status"] for event in order["events"]].count("pending") == 1
    assert Decimal(order["amountOut"]) >= Decimal(BELOW)
    assert Decimal(order["minOut"]) >= Decimal(BELOW)


def market_price(amount_in: str) -> Decimal:
    quote = request("GET", "/api/quote", query={**QUERY, "amountIn": amount_in}).json
    return Decimal(quote["route"]["amountOut"]) / Decimal(amount_in)


def test_an_order_whose_full_size_misses_the_limit_rests_on(resources: Resources, clock: StandingClock) -> None:
    # The price of a small amount is right, but this size would move it below the limit.
    limit = format((market_price("0.001") * Decimal("0.999")).quantize(Decimal("0.0001")), "f")
    order_id = place(limit, amountIn="20000")

    beat(clock)

    order = read(order_id)
    assert [event["status"] for event in order["events"]] == ["open"]
    assert queued(resources) == []


def test_an_order_goes_back_to_rest_when_the_price_has_left_its_limit(
    resources: Resources, clock: StandingClock
) -> None:
    limit = (market_price("1") * Decimal("0.99999")).quantize(Decimal("0.0001"))
    order_id = place(format(limit, "f"), amountIn="1")
    beat(clock)
    assert read(order_id)["status"] == "pending"

    for _ in range(600):
        clock.now += 60_000
        if market_price("1") < limit:
            break
    else:
        pytest.fail("the market of this seed never falls")
    work_off(resources)

    order = read(order_id)
    assert [event["status"] for event in order["events"]] == ["open", "pending", "routing", "open"]
    assert order["events"][-1]["error"]["code"] == "limit_not_met"
    assert order["amountOut"] is None


def test_an_order_expires_on_time(resources: Resources, clock: StandingClock) -> None:
    order_id = place(ABOVE, expiresAt="2027-01-15T08:01:00Z")

    clock.now += 59_999
    beat(clock)
    assert read(order_id)["status"] == "open"
    clock.now += 1
    beat(clock)

    assert read(order_id)["status"] == "expired"
    late = request("DELETE", f"/api/orders/{order_id}")
    assert (late.status, late.json["code"]) == (409, "too_late_to_cancel")


def test_a_cancelled_order_never_fires(resources: Resources, clock: StandingClock) -> None:
    order_id = place(BELOW)
    assert request("DELETE", f"/api/orders/{order_id}").json["status"] == "cancelled"

    beat(clock)

    assert read(order_id)["status"] == "cancelled"
    assert queued(resources) == []


# --- beside what cannot be filled --------------------------------------------------------------------------------


def unfillable(resources: Resources, number: int, now: int) -> None:
    """Orders of another user that the market's price has met and no pool could fill, past the API and its bounds."""

    def orders() -> Iterator[dict[str, Any]]:
        for place in range(number):
            limit = Decimal("0.000000001") + Decimal(place) / 10**15
            asked = OrderRequest("limit", SOL, USDC, 9_000_000_000 * SOL.unit + place, 50, limit)
            order = lifecycle.place(OrderRef("attacker", f"{place:08d}-junk"), asked, "f", now)
            yield codec.to_item(order)

    fill(resources.orders_table, orders())


@pytest.mark.parametrize("number", [1_100, pytest.param(10_000, marks=pytest.mark.long)])
def test_an_order_fires_within_two_beats_beside_thousands_that_another_user_cannot_have_filled(
    resources: Resources, clock: StandingClock, number: int
) -> None:
    unfillable(resources, number, clock.now)
    order_id = place(BELOW)

    for _ in range(2):
        beat(clock)

    assert read(order_id)["status"] == "pending"
    assert queued(resources) == [{"userId": "alice", "orderId": order_id, "schema": 1}]
