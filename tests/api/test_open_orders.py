"""How many limit orders a user may have open: two users, keys of their own limits, and what an order costs."""

from __future__ import annotations

from typing import Any

import pytest

from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import counted, engine
from tests.support.http import Reply, request

LIMIT: dict[str, Any] = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "limitPrice": "100000"}
MARKET: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
MOST = 3


def place(body: Any = LIMIT, **more: Any) -> Reply:
    return request("POST", "/api/orders/execute", body=body, **more)


def own_limit(number: int, user: str = "alice") -> dict[str, Any]:
    return {"lambda": {"userId": user, "scopes": "trade read", "keyId": "k", "maxOpenOrders": str(number)}}


@pytest.fixture(autouse=True)
def _deployed(deploy: Deploy, clock: StandingClock) -> None:
    deploy(OPEN_ORDERS_PER_USER=str(MOST))


def test_the_order_beyond_the_limit_is_refused_with_a_problem_that_says_so() -> None:
    assert [place().status for _ in range(MOST)] == [202] * MOST
    refused = place()
    assert (refused.status, refused.json["code"]) == (409, "too_many_open_orders")
    assert refused.json["detail"] == (
        "You have 3 open limit orders, and no more are taken. Cancel some, or wait until they end."
    )
    assert len(request("GET", "/api/orders").json["orders"]) == MOST


def test_market_orders_and_other_users_are_not_concerned() -> None:
    for _ in range(MOST):
        place()
    assert place().status == 409
    assert place(MARKET).status == 202
    assert place(user="bob").status == 202


def test_cancelling_or_expiring_makes_room(clock: StandingClock) -> None:
    first, *_ = [place({**LIMIT, "expiresAt": "2027-01-15T08:01:00Z"}).json["orderId"] for _ in range(MOST)]
    assert place().status == 409
    assert request("DELETE", f"/api/orders/{first}").status == 200
    assert place().status == 202
    assert place().status == 409
    clock.now += 60_000
    rounds = engine().rounds.run(clock.now + 2000, sweep_every_ms=0, watch_every_ms=0)
    event_loop().run_until_complete(rounds)
    assert [place().status for _ in range(MOST)] == [202, 202, 409]


def test_an_order_that_has_fired_is_open_until_it_ends() -> None:
    for _ in range(MOST):
        place({**LIMIT, "limitPrice": "1.25"})
    clock = engine().clock
    rounds = engine().rounds.run(clock.now_ms() + 2000, sweep_every_ms=0, watch_every_ms=0)
    event_loop().run_until_complete(rounds)
    assert {order["status"] for order in request("GET", "/api/orders").json["orders"]} == {"pending"}
    assert place().status == 409


def test_a_key_may_have_a_limit_of_its_own() -> None:
    for _ in range(MOST):
        place()
    assert place().status == 409
    assert place(authorizer=own_limit(MOST + 1)).status == 202
    refused = place(authorizer=own_limit(MOST + 1))
    assert (refused.status, refused.json["detail"][:11]) == (409, "You have 4 ")
    assert place(authorizer=own_limit(1, "bob")).status == 202
    assert place(authorizer=own_limit(1, "bob")).status == 409


def test_what_was_placed_may_be_asked_for_again_beyond_the_limit() -> None:
    placed = place(headers={"idempotency-key": "mine"})
    for _ in range(MOST - 1):
        place()
    again = place(headers={"idempotency-key": "mine"})
    assert (again.status, again.json["orderId"]) == (202, placed.json["orderId"])
    assert again.headers["idempotent-replayed"] == "true"
    other = place({**LIMIT, "amountIn": "2"}, headers={"idempotency-key": "mine"})
    assert (other.status, other.json["code"]) == (422, "idempotency_conflict")
    assert place(headers={"idempotency-key": "new"}).status == 409


def test_a_refused_order_does_not_count_against_the_rate_and_is_metered_as_a_read() -> None:
    for _ in range(MOST):
        place()
    before = place(MARKET).headers["ratelimit"]
    refusals = [place().status for _ in range(300)]
    assert set(refusals) == {409, 429}
    after = place(MARKET).headers["ratelimit"]
    remaining = [int(text.partition("r=")[2].partition(";")[0]) for text in (before, after)]
    assert remaining[0] - remaining[1] == 1


def test_a_market_order_costs_nothing_more() -> None:
    with counted() as calls:
        place(MARKET)
    assert not [call for call in calls.count if call.startswith("Query")]
    with counted() as calls:
        place()
    assert calls.count["Query orders"] == 1
