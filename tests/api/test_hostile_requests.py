"""Hostile numerals through the handlers themselves: each is answered at once, with the field at fault."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.cloud import events
from tests.support.cloud import Resources, deployed, engine, stored
from tests.support.events import Context
from tests.support.http import request
from tests.unit.hostile import little_work, numerals

EXECUTE = "/api/orders/execute"
# moto's own work is counted with ours.
CPU_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def resources() -> Iterator[Resources]:
    with deployed(ORDERS_BURST="100000", ORDERS_PER_MINUTE="100000") as made:
        # The first request builds the application.
        request("GET", "/health")
        request("POST", EXECUTE, body={})
        yield made


def count() -> int:
    return len(stored())


@pytest.mark.parametrize("field", ["amountIn", "limitPrice", "slippage", "slippageBps"])
@pytest.mark.parametrize("number", ["1e999999999", "1e-999999999", "-1e999999999", "1" + "0" * 5000, "-0.0e999999999"])
def test_one_small_request_cannot_hold_the_api(field: str, number: str) -> None:
    order = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "limitPrice": "1"}
    order.pop(field, None)
    body = f'{json.dumps(order)[:-1]},"{field}":{number}}}'

    with little_work(CPU_S):
        reply = request("POST", EXECUTE, body=body)

    assert (reply.status, reply.json["field"]) == (422, field)
    assert count() == 0


@given(st.sampled_from(["limit", "cursor", "status"]), numerals())
@example("limit", "1e999999999")
@example("limit", "\uff11")
@example("limit", "1_0")
@example("limit", " 5")
@example("limit", "9" * 4301)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_text_in_a_query_harms(name: str, text: str) -> None:
    with little_work(CPU_S):
        reply = request("GET", "/api/orders", query={name: text})

    plain = text.isascii() and text.isdigit()
    assert reply.status == 200 if name == "limit" and plain and 1 <= int(text[-9:]) <= 100 >= len(text) else 422
    if reply.status == 422:
        assert reply.json["field"] == name


@given(numerals())
@example("1e999999999")
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_amount_in_a_query_harms(text: str) -> None:
    with little_work(CPU_S):
        reply = request("GET", "/api/quote", query={"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": text})

    assert reply.status in (200, 422)


@given(numerals())
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_cursor_harms(text: str) -> None:
    for inside in (text, f"{text}#x", f"1800000000000#{text}"):
        cursor = base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")
        with little_work(CPU_S):
            assert request("GET", "/api/orders", query={"cursor": cursor}).status in (200, 422)


@given(st.sampled_from(["expiresAt", "ordersPerMinute"]), numerals())
@example("expiresAt", "1e999999999")
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_number_of_the_authorizers_that_cannot_be_read_lets_nobody_in(name: str, text: str) -> None:
    context = {"userId": "alice", "scopes": "read", "keyId": "k", name: text}
    with little_work(CPU_S):
        status = request("GET", "/api/orders", authorizer={"lambda": context}).status

    assert status in ((200, 401) if not text or (text.isascii() and text.isdigit()) else (401,))


@given(numerals())
@example("1e999999999")
@example("9" * 4301)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_number_in_a_sockets_message_harms(text: str) -> None:
    from notify import socket

    refused: list[bytes] = []

    class Push:
        async def post(self, connection_id: str, frame: bytes) -> None:
            refused.append(frame)

        async def close(self, connection_id: str) -> None:
            """A number that can be meant: the subscription finds that the socket is not known."""
            refused.append(b'{"code": "gone"}')

    # As text: JSON that says what no number of ours can be written as.
    event = events.socket("$default", "c", {"userId": "alice"})
    event["body"] = f'{{"action":"subscribe","orderId":"none","after":{text}}}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine().stores, "push", Push())
        with little_work(CPU_S):
            assert socket.lambda_handler.over(engine())(event, Context()) == {"statusCode": 200}

    [frame] = refused
    assert json.loads(frame)["code"] in ("invalid_message", "order_not_found", "gone")
