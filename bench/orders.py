"""Orders through the real handlers, each step an invocation that is noted."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.account import Account, Invoked
from local.cloud import events
from order_engine import observability
from order_engine.aws.codec import from_item
from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.order import Order
from order_engine.engine.accounts import new_key
from order_engine.runtime import event_loop

type Json = Any

# The orders stream is polled four times a second.
# https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
POLL_MS = 250
MARKET_ORDER: Json = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageBps": 100}


@dataclass(slots=True)
class Run:
    """What a number of orders took."""

    orders: list[Order] = field(default_factory=list)
    invocations: list[Invoked] = field(default_factory=list)
    frames: int = 0
    frame_bytes: int = 0
    client_messages: int = 0
    log_bytes: int = 0
    records: int = 0

    def of(self, function: str) -> list[Invoked]:
        return [invocation for invocation in self.invocations if invocation.function == function]


@contextlib.contextmanager
def logs() -> Iterator[io.StringIO]:
    """Catch what the handlers write to their log and as embedded metrics."""
    written = io.StringIO()
    handler = observability.logger.registered_handler
    former = handler.setStream(written)  # type: ignore[attr-defined]
    try:
        with contextlib.redirect_stdout(written):
            yield written
    finally:
        handler.setStream(former)  # type: ignore[attr-defined]


def new_user(account: Account, user: str = "alice", scopes: Sequence[str] = ("trade", "read")) -> str:
    """Make an API key, as the command line does, and return it."""
    key, stored = new_key(user, account.engine.clock.now_ms(), scopes=scopes)
    event_loop().run_until_complete(account.engine.stores.keys.add_key(stored))
    return key


def follow(account: Account, connection: str, run: Run, order_id: str, url: str) -> Json:
    """Open a socket with an order's address and subscribe to the order. Returns the socket's identity."""
    ticket = parse_qs(urlsplit(url).query)["ticket"][0]
    allowed = account.invoke("submit.authorizer", events.socket_authorizer(ticket))
    identity = allowed.result["context"]
    subscribe = {"action": "subscribe", "orderId": order_id, "after": 0}
    run.invocations += [
        allowed,
        account.invoke("notify.socket", events.socket("$connect", connection, identity)),
        account.invoke("notify.socket", events.socket("$default", connection, identity, subscribe)),
    ]
    run.client_messages += 1
    return identity


def place(account: Account, identity: Json, body: Json = MARKET_ORDER) -> Invoked:
    return account.invoke("submit.handler", events.http("POST", "/api/orders/execute", identity, body=body))


def market_orders(account: Account, number: int, *, batch_size: int, own_sockets: bool = True) -> Run:
    """Market orders from POST to their end, executed in batches.

    Args:
        batch_size: orders that are placed together, and executed by one invocation.
        own_sockets: each order is followed on a socket of its own, as the wsUrl of a 202 invites to; else one socket
            that was opened before, and is not counted, follows all of them.
    """
    run = Run()
    key = new_user(account)
    authorized = account.invoke("submit.authorizer", events.http_authorizer(f"Bearer {key}"))
    identity = authorized.result["context"]
    sockets: list[tuple[str, Json]] = []
    if not own_sockets:
        account.invoke("notify.socket", events.socket("$connect", "all", identity))
        account.invoke("notify.socket", events.socket("$default", "all", identity, {"action": "subscribe"}))
    account.calls.clear()
    account.frames.clear()
    with logs() as written:
        for start in range(0, number, batch_size):
            for _ in range(min(batch_size, number - start)):
                placed = place(account, identity)
                run.invocations.append(placed)
                answer = json.loads(placed.result["body"])
                if own_sockets:
                    connection = secrets.token_hex(6)
                    who = follow(account, connection, run, answer["orderId"], answer["wsUrl"])
                    sockets.append((connection, who))
            _work(account, run)
            for connection, who in sockets:
                run.invocations.append(account.invoke("notify.socket", events.socket("$disconnect", connection, who)))
            sockets.clear()
    run.log_bytes = len(written.getvalue().encode())
    run.frames = len(account.frames)
    run.frame_bytes = sum(len(frame) for _, frame in account.frames)
    return run


def _work(account: Account, run: Run) -> None:
    """Execute what is queued until nothing is left, and push what happened."""
    for _ in range(20):
        records = account.messages("Orders")
        if records:
            worked = account.invoke("process.handler", {"Records": records})
            run.invocations.append(worked)
            failed = {item["itemIdentifier"] for item in worked.result["batchItemFailures"]}
            account.delete("Orders", [record for record in records if record["messageId"] not in failed])
        _push(account, run)
        if not records:
            if all(order.status in TERMINAL for order in run.orders):
                return
            time.sleep(0.2)
    raise TimeoutError("The orders did not end.")


def _push(account: Account, run: Run) -> None:
    """Give the stream's records to their function in the portions in which it would poll them."""
    found = account.changes()
    run.records += len(found)
    polls: dict[int, list[Json]] = {}
    latest: dict[str, Order] = {}
    for record in found:
        order = from_item(record["dynamodb"]["NewImage"])
        latest[order.ref.order_id] = order
        polls.setdefault(order.updated_at // POLL_MS, []).append(record)
    for records in polls.values():
        run.invocations.append(account.invoke("notify.handler", {"Records": records}))
    kept = [order for order in run.orders if order.ref.order_id not in latest]
    run.orders = [*kept, *latest.values()]
