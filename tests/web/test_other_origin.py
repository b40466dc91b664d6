"""A page of another origin, in a real browser: what ``corsOrigins`` lets it do, and what not.

The runner answers preflights as API Gateway does: a greedy route with an authorizer would catch them.
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from local import Running, running
from tests.web.conftest import QUICK, create_key

# What a page does with the API: place, read what it was answered, read the order, cancel, be refused.
SCRIPT = """async ([url, key]) => {
    const seen = {};
    const call = async (name, path, options = {}) => {
        try {
            const reply = await fetch(url + path, {
                ...options,
                headers: { Authorization: `Bearer ${key}`, ...options.headers },
            });
            seen[name] = { status: reply.status, location: reply.headers.get("Location") };
            seen[name].body = await reply.json();
        } catch (error) {
            seen[name] = { refused: String(error) };
        }
        return seen[name];
    };
    const order = { type: "limit", tokenIn: "SOL", tokenOut: "USDC", amountIn: "1", limitPrice: "100000" };
    const placed = await call("place", "/api/orders/execute", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": "once" },
        body: JSON.stringify(order),
    });
    await call("read", `/api/orders/${placed.body?.orderId}`);
    await call("cancel", `/api/orders/${placed.body?.orderId}`, { method: "DELETE" });
    await call("unknown", "/api/orders/none");
    await call("header", "/api/orders", { headers: { "X-Other": "1" } });
    return seen;
}"""


@pytest.fixture(scope="module")
def page_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty page, served from an origin of its own."""
    folder: Path = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><title>Another desk</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visit(browser: Browser, origin: str, stack: Running) -> dict[str, Any]:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(origin)
        seen: dict[str, Any] = page.evaluate(SCRIPT, [stack.http_url, create_key(stack)])
        return seen
    finally:
        context.close()


def test_a_page_of_an_allowed_origin_places_reads_and_cancels(browser: Browser, page_elsewhere: str) -> None:
    with running("-c", f"corsOrigins={page_elsewhere}", environment=QUICK) as stack:
        seen = visit(browser, page_elsewhere, stack)
    assert {name: answer.get("status") for name, answer in seen.items()} == {
        "place": 202,
        "read": 200,
        "cancel": 200,
        "unknown": 404,
        # A header that the deployment does not allow.
        "header": None,
    }
    assert seen["place"]["location"] == f"/api/orders/{seen['place']['body']['orderId']}"
    assert seen["cancel"]["body"]["status"] == "cancelled"
    assert seen["unknown"]["body"]["code"] == "order_not_found"


def test_a_page_of_another_origin_may_do_nothing(browser: Browser, page_elsewhere: str, stack: Running) -> None:
    """By default, and also where other origins are allowed."""
    with running("-c", "corsOrigins=https://desk.example.com", environment=QUICK) as other:
        for refusing in (stack, other):
            seen = visit(browser, page_elsewhere, refusing)
            assert [name for name, answer in seen.items() if "refused" not in answer] == []
