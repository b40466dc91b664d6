"""A real browser on the page of a running local stack."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from local import Running, running
from local.demo import store
from order_engine.domain.venues import REGISTRY
from order_engine.engine.accounts import new_key
from order_engine.venues.paper.tokens import TOKENS
from order_engine.wire.views import tokens_view

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Quick venues, but slow enough that every step can be seen.
QUICK = {
    "QUOTE_DELAY_MS": "100",
    "LANDING_MIN_MS": "600",
    "LANDING_MAX_MS": "800",
    "FAILURE_RATE": "0",
    "WATCH_BEAT_MS": "300",
}

expect.set_options(timeout=30_000)


# Not longer than a module: while it is open, an event loop runs in this thread, and other files' tests need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium for the order desk's tests.")
        pytest.skip("chromium is not installed (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def stack() -> Iterator[Running]:
    with running(environment=QUICK) as started:
        yield started


@pytest.fixture(scope="session")
def failing_stack() -> Iterator[Running]:
    """A stack on whose chain every transaction fails."""
    with running(environment={**QUICK, "FAILURE_RATE": "1", "RETRY_BASE_MS": "1000", "MAX_RETRIES": "1"}) as started:
        yield started


def create_key(stack: Running) -> str:
    """The key of a new user, so that each test has a desk of its own."""
    key, stored = new_key(f"web-{uuid.uuid4().hex[:12]}", 0)
    # The browser's event loop belongs to this thread.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, store(stack.client("dynamodb"), stored)).result()
    return key


@dataclass(slots=True)
class Desk:
    """The page, signed in, and what it did behind the scenes."""

    page: Page
    stack: Running
    key: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    expected_errors: tuple[str, ...] = ()

    def api(self, method: str, path: str, **options: Any) -> Any:
        """Call the API as the same user, past the page."""
        headers = {"Authorization": f"Bearer {self.key}"}
        reply = httpx.request(method, f"{self.stack.http_url}{path}", headers=headers, timeout=20, **options)
        reply.raise_for_status()
        return reply.json()

    def place(self, **changes: Any) -> str:
        body = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", **changes}
        order_id: str = self.api("POST", "/api/orders/execute", json=body)["orderId"]
        return order_id

    def sign_in(self) -> None:
        self.page.goto(self.stack.http_url)
        self.page.get_by_role("textbox", name="API key").fill(self.key)
        self.page.get_by_role("button", name="Continue").click()
        expect(self.page.locator("#stream")).to_have_attribute("data-state", "connected")

    def row(self, order_id: str) -> Any:
        return self.page.locator(f'[data-order="{order_id}"]')

    def only_row(self) -> Any:
        rows = self.page.locator("tbody.order")
        expect(rows).to_have_count(1)
        return rows.first

    def open_row(self, order_id: str) -> Any:
        row = self.row(order_id)
        row.locator(".chevron").click()
        return row.locator(".panel-detail")

    def timeline(self, order_id: str) -> list[tuple[int, str]]:
        """The numbers and statuses of the steps that an opened row shows."""
        found: list[tuple[int, str]] = []
        for step in self.row(order_id).locator("li.step").all():
            css = str(step.get_attribute("class")).split()
            status = next(name.removeprefix("s-") for name in css if name.startswith("s-"))
            found.append((int(str(step.get_attribute("data-seq"))), status))
        return found

    def stored(self, order_id: str) -> list[tuple[int, str]]:
        return [(event["seq"], event["status"]) for event in self.api("GET", f"/api/orders/{order_id}")["events"]]

    def cut_sockets(self) -> int:
        """Close the user's sockets from the side of the stack. Returns how many there were."""
        dynamodb = self.stack.client("dynamodb")
        table = next(name for name in dynamodb.list_tables()["TableNames"] if "onnections" in name)
        found = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        gateway = self.stack.ws_url.replace("ws://", "http://").rstrip("/")
        cut = 0
        for item in found:
            reply = httpx.delete(f"{gateway}/@connections/{item['connection_id']['S']}", timeout=30)
            cut += reply.status_code in (200, 204)
        return cut


type OpenDesk = Callable[..., Desk]


def watch(desk: Desk) -> None:
    """Note every request and every error of the page."""
    desk.page.on("request", lambda request: desk.requests.append(request.url))
    desk.page.on("websocket", lambda socket: desk.requests.append(socket.url))
    desk.page.on("console", lambda message: desk.errors.append(message.text) if message.type == "error" else None)
    desk.page.on("pageerror", lambda error: desk.errors.append(str(error)))


@pytest.fixture
def open_desk(browser: Browser) -> Iterator[OpenDesk]:
    """Opens desks; when the test is over, none may have had an error or asked anybody else for anything."""
    opened: list[tuple[Desk, BrowserContext]] = []

    def open_one(
        stack: Running, *, sign_in: bool = True, expected_errors: tuple[str, ...] = (), **options: Any
    ) -> Desk:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(30_000)
        desk = Desk(context.new_page(), stack, create_key(stack), expected_errors=expected_errors)
        opened.append((desk, context))
        watch(desk)
        if sign_in:
            desk.sign_in()
        return desk

    yield open_one
    for desk, context in opened:
        # A handler that is at work would find its answer gone, and fail the next test.
        desk.page.unroute_all(behavior="wait")
        context.close()
        origins = {urlsplit(desk.stack.http_url).netloc, urlsplit(desk.stack.ws_url).netloc}
        assert {urlsplit(url).netloc for url in desk.requests} <= origins
        unexpected = [text for text in desk.errors if not any(known in text for known in desk.expected_errors)]
        assert unexpected == []


@pytest.fixture
def desk(stack: Running, open_desk: OpenDesk) -> Desk:
    """A signed-in desk on the quick stack."""
    return open_desk(stack)


class Modules:
    """Calls functions of the page's pure modules, in node, by name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, name: str, *args: Any) -> Any:
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None
        assert received is not None
        sent.write(json.dumps({"name": name, "args": args}) + "\n")
        sent.flush()
        return json.loads(received.readline())


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node is not None, "node comes with the virtual environment"
    command = [node, str(Path(__file__).with_name("modules.mjs"))]
    pipe = subprocess.PIPE
    # Leaving the block closes its input, which ends it.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        found = Modules(process)
        # What the server tells the page.
        found("learnTokens", tokens_view(TOKENS)["tokens"])
        found("learnVenues", [asdict(venue) for venue in REGISTRY])
        yield found
