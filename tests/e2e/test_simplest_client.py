"""The simplest client that the README allows, against the real local stack: it keeps one number per order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from local import Running, running
from tests.e2e.clients import HEADERS, ORDER, read

NUMBERS = [12, pytest.param(216, marks=pytest.mark.long)]
AT_ONCE = 12
ENDS = ("confirmed", "failed")


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    environment = {
        "FAILURE_RATE": "0.25",
        "QUOTE_DELAY_MS": "5",
        "LANDING_MIN_MS": "20",
        "LANDING_MAX_MS": "120",
        "RETRY_BASE_MS": "50",
        "ORDERS_PER_MINUTE": "60000",
        "ORDERS_BURST": "60000",
    }
    with running(environment=environment) as started:
        yield started


@dataclass(slots=True)
class Seen:
    """What the client keeps of an order: the last number, and for the test's eyes what it took."""

    last: int = 0
    taken: list[int] = field(default_factory=list)
    ended: bool = False

    def take(self, frame: dict[str, Any]) -> None:
        """Drop what is at or below the last number; take the rest as it comes."""
        for event in frame["events"] if frame["type"] == "snapshot" else [frame]:
            if event["seq"] > self.last:
                self.last = event["seq"]
                self.taken.append(event["seq"])
                self.ended = event["status"] in ENDS


async def place(http: httpx.AsyncClient, stack: Running) -> dict[str, Any]:
    reply = await http.post(f"{stack.http_url}/api/orders/execute", json=ORDER, headers=HEADERS)
    assert reply.status_code == 202, reply.text
    accepted: dict[str, Any] = reply.json()
    return accepted


async def lost(stack: Running, seen: dict[str, Seen]) -> dict[str, list[int]]:
    """By order: the events that its client never took."""
    missing = {}
    for order_id, client in seen.items():
        stored = [event["seq"] for event in (await read(stack, order_id))["events"]]
        if gap := sorted(set(stored) - set(client.taken)):
            missing[order_id] = gap
        assert client.taken == sorted(client.taken)
    return missing


@pytest.mark.parametrize("orders", NUMBERS)
async def test_on_a_socket_for_each_order_it_loses_nothing(stack: Running, orders: int) -> None:
    gate, seen = asyncio.Semaphore(AT_ONCE), dict[str, Seen]()

    async def one(http: httpx.AsyncClient, seed: int) -> None:
        random = Random(seed)
        async with gate:
            accepted = await place(http, stack)
            client = seen[accepted["orderId"]] = Seen()
            async with connect(accepted["wsUrl"]) as socket:
                # Anywhere in the order's life, most often in its midst.
                await asyncio.sleep(random.uniform(0, 0.3))
                await socket.send(json.dumps({"action": "subscribe", "orderId": accepted["orderId"], "after": 0}))
                async for message in socket:
                    client.take(json.loads(message))

    async with httpx.AsyncClient(timeout=30) as http, asyncio.timeout(240):
        await asyncio.gather(*(one(http, seed) for seed in range(orders)))

    assert await lost(stack, seen) == {}


@pytest.mark.parametrize("orders", NUMBERS)
@pytest.mark.parametrize("asks", ["for each order", "for all"])
async def test_on_one_socket_for_many_orders_it_loses_nothing(stack: Running, asks: str, orders: int) -> None:
    seen = dict[str, Seen]()
    async with httpx.AsyncClient(timeout=30) as http, asyncio.timeout(240):
        ticket = (await http.post(f"{stack.http_url}/api/stream-tickets", json={}, headers=HEADERS)).json()
        gate = asyncio.Semaphore(AT_ONCE)
        async with connect(ticket["wsUrl"]) as socket:

            async def listen() -> None:
                async for message in socket:
                    frame = json.loads(message)
                    if frame["type"] in ("event", "snapshot"):
                        seen.setdefault(frame["orderId"], Seen()).take(frame)

            async def one(seed: int) -> str:
                random = Random(seed)
                async with gate:
                    order_id: str = (await place(http, stack))["orderId"]
                    if asks == "for each order":
                        await asyncio.sleep(random.uniform(0, 0.3))
                        await socket.send(json.dumps({"action": "subscribe", "orderId": order_id, "after": 0}))
                    while order_id not in seen or not seen[order_id].ended:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                return order_id

            listening = asyncio.create_task(listen())
            if asks == "for all":
                # In the midst of what goes on.
                begun = [asyncio.create_task(one(seed)) for seed in range(AT_ONCE)]
                await asyncio.sleep(0.3)
                await socket.send(json.dumps({"action": "subscribe"}))
            else:
                begun = []
            placed = await asyncio.gather(*begun, *(one(seed) for seed in range(100, 100 + orders)))
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
    assert await lost(stack, {order_id: seen[order_id] for order_id in placed}) == {}
