"""A quote says whether an order would be refused, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from local.cloud import events
from order_engine.domain.order import OrderRef
from order_engine.domain.quote import Pool
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import engine
from tests.support.events import Context
from tests.support.http import Reply, request

PAIR = {"tokenIn": "SOL", "tokenOut": "USDC"}
FAR = "200000"


def quote(amount: str) -> Reply:
    return request("GET", "/api/quote", query={**PAIR, "amountIn": amount})


def execute(amount: str) -> Any:
    """Place an order and let a worker try it once; the order afterwards."""
    order_id = request("POST", "/api/orders/execute", body={**PAIR, "amountIn": amount}).json["orderId"]
    now = engine().clock.now_ms()
    work = engine().execute(OrderRef("alice", order_id), worker="w", deadline=now + 10_000)
    event_loop().run_until_complete(work)
    return request("GET", f"/api/orders/{order_id}").json


class Late:
    """A venue that does not answer in time."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        await asyncio.sleep(3600)
        return ()


def test_a_quote_that_is_answered_is_the_route_that_an_order_takes(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    answered = quote("1.5")
    order = execute("1.5")

    assert answered.status == 200
    assert order["route"] == answered.json["route"]
    assert order["status"] == "confirmed"


def test_a_quote_is_refused_with_the_code_that_the_order_fails_with_at_once(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy()
    refused = quote(FAR)
    order = execute(FAR)

    assert (refused.status, refused.json["code"]) == (422, "price_impact_too_high")
    assert "at most 1000 bps are allowed" in refused.json["detail"]
    shown = refused.json["quote"]
    assert float(shown["route"]["priceImpactBps"]) > 1000
    assert shown["quotes"]
    assert (order["status"], order["error"]["code"], order["attempts"]) == ("failed", "price_impact_too_high", 1)
    assert order["error"]["message"] == refused.json["detail"]


def test_a_venue_that_is_missing_makes_a_quote_unavailable_and_an_order_wait(
    deploy: Deploy, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(QUOTE_DEADLINE_MS="30")
    some, _ = engine().market.venues
    venues = (some, Late("meteora"))
    monkeypatch.setattr(engine().market, "venues", venues)

    refused = quote(FAR)
    order = execute(FAR)

    assert (refused.status, refused.json["code"]) == (503, "venues_unavailable")
    assert refused.headers["retry-after"] == "2"
    assert "meteora was left out: No answer within 30 ms." in refused.json["detail"]
    assert order["status"] == "pending"
    assert order["error"]["code"] == "venues_unavailable"
    # What can be filled without it is.
    assert quote("1").status == 200


def test_a_worker_of_the_queue_reports_a_final_failure_as_done(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    from process.handler import lambda_handler

    placed = request("POST", "/api/orders/execute", body={**PAIR, "amountIn": FAR}).json
    body = f'{{"userId":"alice","orderId":"{placed["orderId"]}"}}'

    answer = lambda_handler.over(engine())(events.messages(body), Context())

    assert answer == {"batchItemFailures": []}
