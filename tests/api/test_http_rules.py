"""What HTTP itself asks of every address: methods, HEAD, Allow, and headers that keep browsers and caches careful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cloud import Resources, deployed, engine, stored
from tests.support.http import request

ORDER: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
EXECUTE = "/api/orders/execute"
QUOTE = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
READ = "GET, HEAD"
ALLOWED = {
    "/": READ,
    "/health": READ,
    "/docs": READ,
    "/openapi.json": READ,
    "/asyncapi.json": READ,
    "/web/app.js": READ,
    "/api/orders": READ,
    "/api/quote": READ,
    "/api/stats": READ,
    "/api/tokens": READ,
    "/api/orders/0b5f": f"DELETE, {READ}",
    EXECUTE: "POST",
    "/api/stream-tickets": "POST",
}


@pytest.fixture(scope="module", autouse=True)
def resources() -> Iterator[Resources]:
    with deployed() as made:
        yield made


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"])
def test_a_wrong_method_is_told_the_right_ones(path: str, method: str) -> None:
    if method in ALLOWED[path].split(", "):
        return
    reply = request(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, ALLOWED[path])
    assert reply.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert reply.json["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", [*ALLOWED, "/api/nothing", "/web/nothing", "/api/orders/not%00one"])
def test_head_answers_as_get_does_without_the_body(path: str) -> None:
    query = QUOTE if path == "/api/quote" else {}
    got, head = request("GET", path, query=query), request("HEAD", path, query=query)

    assert (head.status, head.text) == (got.status, "")
    assert {**head.headers, "content-length": ""} == {**got.headers, "content-length": ""}


def test_head_changes_nothing() -> None:
    assert request("HEAD", EXECUTE, body=ORDER).status == 405
    assert stored() == []


def answers() -> dict[str, dict[str, str]]:
    """The headers of one answer of each kind."""
    placed = request("POST", EXECUTE, body=ORDER)
    order_id = placed.json["orderId"]
    found = {
        "accepted": placed,
        "order": request("GET", f"/api/orders/{order_id}"),
        "list": request("GET", "/api/orders"),
        "cancelled": request("DELETE", f"/api/orders/{order_id}"),
        "quote": request("GET", "/api/quote", query=QUOTE),
        "stats": request("GET", "/api/stats"),
        "tokens": request("GET", "/api/tokens"),
        "ticket": request("POST", "/api/stream-tickets"),
        "health": request("GET", "/health"),
        "description": request("GET", "/openapi.json"),
        "the stream's": request("GET", "/asyncapi.json"),
        "page": request("GET", "/"),
        "file": request("GET", "/web/app.js"),
        "not found": request("GET", "/api/nothing"),
        "refused": request("POST", EXECUTE, body={}),
        "nobody": request("GET", "/api/orders", authorizer={}),
        "wrong method": request("BREW", EXECUTE),
    }
    return {name: reply.headers for name, reply in found.items()}


def test_every_answer_is_careful_with_browsers_and_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answers()
    with monkeypatch.context() as patch:
        patch.setattr(engine().stores, "orders", None)
        crashed = request("GET", "/api/orders")
    assert crashed.status == 503

    for name, headers in {**found, "crashed": crashed.headers}.items():
        assert headers["x-content-type-options"] == "nosniff", name
        assert headers["strict-transport-security"] == "max-age=63072000", name
        assert headers["cache-control"] == ("no-cache" if name in ("page", "file") else "no-store"), name
