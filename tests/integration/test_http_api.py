"""The HTTP API, through its Lambda handler over moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import boto3
import pytest

from order_engine.domain.tokens import SOL, USDC
from order_engine.wire import forms
from tests.support.cloud import Resources, deployed, stored
from tests.support.http import Reply, request

ORDER: dict[str, Any] = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageBps": 100}
EXECUTE = "/api/orders/execute"


@pytest.fixture
def resources() -> Iterator[Resources]:
    with deployed(ORDERS_BURST="10000", ORDERS_PER_MINUTE="100000") as made:
        yield made


def queued(resources: Resources) -> list[Any]:
    answer = boto3.client("sqs").receive_message(QueueUrl=resources.orders_queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def place(body: Any = ORDER, **more: Any) -> Reply:
    return request("POST", EXECUTE, body=body, **more)


def test_an_order_is_accepted_stored_and_queued(resources: Resources) -> None:
    reply = place()

    assert reply.status == 202
    assert reply.json["status"] == "pending"
    assert reply.json["wsUrl"].startswith("wss://socket.example/live?ticket=")
    assert reply.headers["location"] == f"/api/orders/{reply.json['orderId']}"
    assert len(stored()) == 1
    assert queued(resources) == [{"userId": "alice", "orderId": reply.json["orderId"], "schema": 1}]


def test_an_order_reads_back_with_what_was_asked(resources: Resources) -> None:
    order_id = place().json["orderId"]

    order = request("GET", f"/api/orders/{order_id}").json

    assert order["orderId"] == order_id
    assert (order["tokenIn"], order["tokenOut"], order["amountIn"]) == ("SOL", "USDC", "1.5")
    assert order["slippageBps"] == 100
    assert order["seq"] == 1
    assert [event["status"] for event in order["events"]] == ["pending"]
    assert order["amountOut"] is None
    assert order["failureReason"] is None


def test_an_order_is_accepted_even_if_the_queue_refuses_it(resources: Resources) -> None:
    boto3.client("sqs").delete_queue(QueueUrl=resources.orders_queue_url)

    reply = place()

    assert reply.status == 202
    assert len(stored()) == 1


def test_nothing_is_accepted_if_the_store_refuses_it(resources: Resources) -> None:
    boto3.client("dynamodb").delete_table(TableName=resources.orders_table)

    reply = place()

    assert reply.status == 503
    assert reply.json["code"] == "unavailable"
    assert queued(resources) == []


@pytest.mark.parametrize(
    ("change", "units"),
    [
        ({"amountIn": "0.000000001"}, 1),
        ({"amountIn": "18446744073.709551615"}, 2**64 - 1),
        ({"amountIn": "1.50"}, 1_500_000_000),
    ],
)
def test_amounts_are_exact(resources: Resources, change: dict[str, Any], units: int) -> None:
    assert place({**ORDER, **change}).status == 202

    assert json.loads(stored()[0]["request"]["S"])["a"] == units


def test_a_json_number_is_read_exactly(resources: Resources) -> None:
    # 0.1 + 2^-60: a float would round it to 0.1 and accept it.
    text = json.dumps(ORDER).replace('"1.5"', "0.123456789")
    assert place(text).status == 202
    assert json.loads(stored()[0]["request"]["S"])["a"] == 123_456_789

    too_fine = json.dumps(ORDER).replace('"1.5"', "0.1000000000000000000000000001")
    assert place(too_fine).status == 422


def test_tokens_are_named_by_symbol_or_mint(resources: Resources) -> None:
    reply = place({**ORDER, "tokenIn": SOL.mint, "tokenOut": USDC.mint})

    assert reply.status == 202
    assert request("GET", f"/api/orders/{reply.json['orderId']}").json["tokenIn"] == "SOL"


def test_the_names_that_similar_services_use_are_understood(resources: Resources) -> None:
    body = {
        "orderType": "market",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "1",
        "slippage": "0.75",
        "walletAddress": SOL.mint,
    }
    order = request("GET", f"/api/orders/{place(body).json['orderId']}").json

    assert order["slippageBps"] == 75
    assert order["walletAddress"] == SOL.mint


BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("tokenIn", "DOGE", "tokenIn"),
    ("tokenIn", "sol", "tokenIn"),
    ("tokenIn", "", "tokenIn"),
    ("tokenIn", None, "tokenIn"),
    ("tokenIn", 7, "tokenIn"),
    ("tokenIn", ["SOL"], "tokenIn"),
    ("tokenIn", "SOL\x00", "tokenIn"),
    ("tokenIn", "\u202eLOS", "tokenIn"),
    ("tokenIn", "\uff33\uff2f\uff2c", "tokenIn"),
    ("tokenOut", "SOL", "tokenOut"),
    ("tokenOut", SOL.mint, "tokenOut"),
    ("amountIn", "0", "amountIn"),
    ("amountIn", 0, "amountIn"),
    ("amountIn", "-1", "amountIn"),
    ("amountIn", "0.0000000001", "amountIn"),
    ("amountIn", "1e-18", "amountIn"),
    ("amountIn", "18446744073.709551616", "amountIn"),
    ("amountIn", "1e400", "amountIn"),
    ("amountIn", "1e-400", "amountIn"),
    ("amountIn", "NaN", "amountIn"),
    ("amountIn", "Infinity", "amountIn"),
    ("amountIn", "sNaN", "amountIn"),
    ("amountIn", "\uff11", "amountIn"),
    ("amountIn", "1_000", "amountIn"),
    ("amountIn", " 1", "amountIn"),
    ("amountIn", "", "amountIn"),
    ("amountIn", "one", "amountIn"),
    ("amountIn", True, "amountIn"),
    ("amountIn", None, "amountIn"),
    ("amountIn", {}, "amountIn"),
    ("amountIn", "9" * 5000, "amountIn"),
    ("slippageBps", -1, "slippageBps"),
    ("slippageBps", 10_001, "slippageBps"),
    ("slippageBps", "100", "slippageBps"),
    ("slippageBps", True, "slippageBps"),
    ("slippage", "51", "slippage"),
    ("slippage", "NaN", "slippage"),
    ("slippage", "x", "slippage"),
    ("type", "stop", "type"),
    ("type", "limit", "limitPrice"),
    ("walletAddress", "not base58: 0OIl", "walletAddress"),
    ("limitPrice", "150", "limitPrice"),
    ("surprise", 1, "surprise"),
]


@pytest.mark.parametrize(("name", "value", "field"), BAD_FIELDS, ids=lambda value: repr(value)[:24])
def test_a_bad_field_is_named_and_nothing_is_stored(resources: Resources, name: str, value: object, field: str) -> None:
    body = {key: item for key, item in ORDER.items() if not (name == "slippage" and key == "slippageBps")}

    reply = place({**body, name: value})

    assert reply.status == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["field"] == field
    assert reply.json["status"] == 422
    assert reply.json["detail"].endswith(".")
    assert stored() == []
    assert queued(resources) == []


@pytest.mark.parametrize("name", ["tokenIn", "tokenOut", "amountIn"])
def test_a_missing_field_is_named(resources: Resources, name: str) -> None:
    reply = place({key: value for key, value in ORDER.items() if key != name})

    assert (reply.status, reply.json["field"]) == (422, name)
    assert stored() == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "1e400",
        json.dumps(ORDER).replace('"1.5"', "NaN"),
        json.dumps(ORDER).replace('"1.5"', "1e400"),
        json.dumps(ORDER).replace('"1.5"', "1" + "0" * 5000),
        json.dumps(ORDER)[:-1] + ',"amountIn":"2"}',
        "[" * 8000,
        b"\xff\xfe{}",
    ],
    ids=lambda body: repr(body)[:24],
)
def test_a_body_that_is_no_order_is_refused(resources: Resources, body: str | bytes) -> None:
    reply = place(body)

    assert 400 <= reply.status < 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert stored() == []


def test_a_large_body_is_refused(resources: Resources) -> None:
    reply = place(json.dumps({**ORDER, "walletAddress": "A" * 1_000_000}))

    assert (reply.status, reply.json["code"]) == (413, "body_too_large")
    assert stored() == []


def test_only_json_is_taken(resources: Resources) -> None:
    assert place(headers={"content-type": "text/plain"}).status == 415
    assert stored() == []


def test_unknown_addresses_and_methods_are_problems(resources: Resources) -> None:
    missing = request("GET", "/api/nothing")
    assert (missing.status, missing.json["code"]) == (404, "not_found")
    wrong = request("PUT", EXECUTE, body={})
    assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]


def test_another_users_order_is_not_found(resources: Resources) -> None:
    order_id = place().json["orderId"]

    assert request("GET", f"/api/orders/{order_id}", user="bob").status == 404
    assert request("DELETE", f"/api/orders/{order_id}", user="bob").status == 404
    assert request("GET", "/api/orders", user="bob").json == {"orders": []}


def test_lists_are_newest_first_and_page_without_gaps(resources: Resources) -> None:
    placed = [place().json["orderId"] for _ in range(7)]

    seen: list[str] = []
    query = {"limit": "3"}
    for _ in range(4):
        page = request("GET", "/api/orders", query=query).json
        seen += [order["orderId"] for order in page["orders"]]
        if "nextCursor" not in page:
            break
        query["cursor"] = page["nextCursor"]

    assert sorted(seen) == sorted(placed)
    assert len(seen) == 7


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MTIz", "%00", "🙂", "a" * 201])
def test_a_foreign_cursor_is_refused(resources: Resources, cursor: str) -> None:
    reply = request("GET", "/api/orders", query={"cursor": cursor})

    assert (reply.status, reply.json["field"]) == (422, "cursor")


def test_a_pending_order_can_be_cancelled_once(resources: Resources) -> None:
    order_id = place().json["orderId"]

    first = request("DELETE", f"/api/orders/{order_id}")
    again = request("DELETE", f"/api/orders/{order_id}")

    assert (first.status, first.json["status"]) == (200, "cancelled")
    assert again.json == first.json


def test_a_replayed_request_gives_the_same_order(resources: Resources) -> None:
    headers = {"idempotency-key": "key-1", "content-type": "application/json"}
    first, second = place(headers=headers), place(headers=headers)

    assert second.status == 202
    assert {**second.json, "wsUrl": ""} == {**first.json, "wsUrl": ""}
    assert second.headers["idempotent-replayed"] == "true"
    assert len(stored()) == 1
    assert place(headers=headers, user="bob").json["orderId"] != first.json["orderId"]


def test_the_same_key_with_another_body_is_a_conflict(resources: Resources) -> None:
    headers = {"idempotency-key": "key-1", "content-type": "application/json"}
    place(headers=headers)

    reply = place({**ORDER, "amountIn": "2"}, headers=headers)

    assert (reply.status, reply.json["code"]) == (422, "idempotency_conflict")
    assert len(stored()) == 1


def test_health_needs_nothing(resources: Resources) -> None:
    assert request("GET", "/health").json == {"status": "ok", "stage": "local"}


def test_an_order_that_a_newer_release_has_written_is_neither_shown_nor_changed(resources: Resources) -> None:
    """While an update is under way: come again shortly, and nothing is guessed or lost."""
    body = {**ORDER, "amountIn": "2.5"}
    headers = {"Idempotency-Key": "once"}
    order_id = place(body, headers=headers).json["orderId"]
    table = boto3.resource("dynamodb").Table(resources.orders_table)
    key = {"user_id": "alice", "order_id": order_id}
    raised: dict[str, Any] = {"UpdateExpression": "SET #s = :s", "ExpressionAttributeNames": {"#s": "schema"}}
    table.update_item(Key=key, ExpressionAttributeValues={":s": forms.ORDER.reads + 1}, **raised)
    newer = stored()

    for method, path in (
        ("GET", f"/api/orders/{order_id}"),
        ("DELETE", f"/api/orders/{order_id}"),
        ("GET", "/api/orders"),
    ):
        reply = request(method, path)
        assert (reply.status, reply.json["code"]) == (503, "newer_release"), path
        assert int(reply.headers["retry-after"]) > 0
    assert place(body, headers=headers).json["code"] == "newer_release"
    assert stored() == newer

    table.update_item(Key=key, ExpressionAttributeValues={":s": 1}, **raised)
    assert request("GET", f"/api/orders/{order_id}").json["status"] == "pending"
    assert place(body, headers=headers).json["orderId"] == order_id


@pytest.mark.parametrize("days", ["0", "90"])
def test_an_ended_order_is_kept_as_long_as_the_deployment_says(days: str) -> None:
    with deployed(ORDER_RETENTION_DAYS=days):
        order_id = place({**ORDER, "type": "limit", "limitPrice": "100000"}).json["orderId"]
        assert "delete_at" not in stored()[0]
        ended = request("DELETE", f"/api/orders/{order_id}").json
        (item,) = stored()
        assert ended["status"] == "cancelled"
        if days == "0":
            assert "delete_at" not in item
        else:
            at = datetime.fromisoformat(ended["updatedAt"]).timestamp()
            assert int(item["delete_at"]["N"]) == int(at) + 90 * 86_400
