"""The client's HTTP side: exact amounts, safe repetition, typed errors."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cli import client as module
from cli.client import ApiError, Client, Unreachable

ACCEPTED = {"orderId": "o", "status": "pending", "createdAt": "2026-01-01T00:00:00.000Z", "wsUrl": "wss://x?ticket=t"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.0)


class Server:
    """Answers from a list, the last one for ever; an exception is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> Client:
        return Client("http://engine/", "oek_test", transport=httpx.MockTransport(self))


async def test_an_order_is_sent_exactly_as_it_was_given() -> None:
    server = Server(httpx.Response(202, json=ACCEPTED, headers={"Idempotent-Replayed": "true"}))
    async with server.client() as client:
        accepted = await client.place(
            "SOL",
            "USDC",
            Decimal("0.000000001"),
            slippage_bps=30,
            limit_price=Decimal("1E+3"),
            expires_at=datetime(2026, 1, 2, tzinfo=UTC),
            wallet_address="w",
            idempotency_key="k",
        )
    (request,) = server.requests
    assert json.loads(request.content) == {
        "type": "limit",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "0.000000001",
        "slippageBps": 30,
        "limitPrice": "1000",
        "expiresAt": "2026-01-02T00:00:00+00:00",
        "walletAddress": "w",
    }
    assert request.headers["Authorization"] == "Bearer oek_test"
    assert request.headers["Idempotency-Key"] == "k"
    assert (accepted.order_id, accepted.status, accepted.replayed) == ("o", "pending", True)


async def test_a_float_is_no_amount() -> None:
    async with Server(httpx.Response(202, json=ACCEPTED)).client() as client:
        with pytest.raises(TypeError, match="not exact"):
            await client.place("SOL", "USDC", 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("trouble", [httpx.ReadTimeout("late"), httpx.Response(503), httpx.RemoteProtocolError("cut")])
async def test_an_order_that_got_no_answer_is_sent_again_under_the_same_key(trouble: Any) -> None:
    server = Server(trouble, trouble, httpx.Response(202, json=ACCEPTED))
    async with server.client() as client:
        await client.place("SOL", "USDC", "1")
    names = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(server.requests) == 3
    assert len(names) == 1
    assert names != {""}


async def test_two_orders_have_two_keys() -> None:
    server = Server(httpx.Response(202, json=ACCEPTED))
    async with server.client() as client:
        await client.place("SOL", "USDC", "1")
        await client.place("SOL", "USDC", "1")
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 2


async def test_what_is_refused_is_not_sent_again() -> None:
    problem = {"code": "unknown_token", "detail": "This token is not traded here.", "field": "tokenIn"}
    server = Server(httpx.Response(422, json=problem))
    async with server.client() as client:
        with pytest.raises(ApiError) as caught:
            await client.place("XXX", "USDC", "1")
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "unknown_token", "tokenIn")
    assert caught.value.detail == "This token is not traded here."
    assert not caught.value.passing
    assert len(server.requests) == 1


async def test_too_many_orders_say_when_to_come_again() -> None:
    answer = httpx.Response(429, json={"code": "rate_limited", "detail": "Too many."}, headers={"Retry-After": "7"})
    async with Server(answer).client() as client:
        with pytest.raises(ApiError) as caught:
            await client.place("SOL", "USDC", "1")
    assert caught.value.retry_after_s == 7
    assert caught.value.passing


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(403, json={"message": "Forbidden"}), "forbidden"),
        (httpx.Response(401, json={"message": "Unauthorized"}), "unauthorized"),
        (httpx.Response(404, json={"message": "Not Found"}), "not_found"),
        (httpx.Response(500, json={"message": "Internal Server Error"}), "http_500"),
        (httpx.Response(200, text="<html>"), "not_an_order_engine"),
        (httpx.Response(200, json=["x"]), "not_an_order_engine"),
        (httpx.Response(404, text="nginx"), "not_an_order_engine"),
        (httpx.Response(302, headers={"Location": "/"}), "not_an_order_engine"),
    ],
)
async def test_every_other_answer_is_an_error_with_a_code_and_a_sentence(answer: httpx.Response, code: str) -> None:
    async with Server(answer).client() as client:
        with pytest.raises(ApiError) as caught:
            await client.stats()
    assert caught.value.code == code
    assert caught.value.detail.endswith((".", "Forbidden", "Not Found", "Error"))


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "unknown"),
    [
        (httpx.ConnectError("no"), "the connection was refused", False),
        (_caused(httpx.ConnectError("no"), socket.gaierror(-2, "?")), "the host is not known", False),
        (httpx.ConnectTimeout("no"), "no answer in time", False),
        (httpx.ReadTimeout("no"), "no answer in time", True),
        (httpx.ReadError("no"), "the connection broke", True),
    ],
)
async def test_silence_is_told_from_refusal(error: Exception, reason: str, unknown: bool) -> None:
    async with Server(error).client() as client:
        with pytest.raises(Unreachable) as caught:
            await client.place("SOL", "USDC", "1")
    assert (caught.value.reason, caught.value.unknown) == (reason, unknown)


async def test_an_order_that_may_have_arrived_at_the_first_try_stays_unknown() -> None:
    server = Server(httpx.ReadTimeout("late"), httpx.ConnectError("gone"))
    async with server.client() as client:
        with pytest.raises(Unreachable) as caught:
            await client.place("SOL", "USDC", "1")
    assert caught.value.unknown


async def test_all_pages_are_read() -> None:
    server = Server(
        httpx.Response(200, json={"orders": [{"orderId": "3"}, {"orderId": "2"}], "nextCursor": "c/1"}),
        httpx.Response(200, json={"orders": [{"orderId": "1"}]}),
    )
    async with server.client() as client:
        assert [order["orderId"] async for order in client.orders(status="failed")] == ["3", "2", "1"]
    assert [dict(request.url.params) for request in server.requests] == [
        {"status": "failed", "limit": "100"},
        {"status": "failed", "limit": "100", "cursor": "c/1"},
    ]


@pytest.mark.parametrize("call", [Client.get, Client.cancel])
async def test_an_id_cannot_leave_its_place_in_the_path(call: Callable[[Client, str], Any]) -> None:
    server = Server(httpx.Response(404, json={"code": "order_not_found", "detail": "There is no such order."}))
    async with server.client() as client:
        with pytest.raises(ApiError, match="no such order"):
            await call(client, "../a b?c#d")
    assert server.requests[0].url.raw_path == b"/api/orders/..%2Fa%20b%3Fc%23d"
