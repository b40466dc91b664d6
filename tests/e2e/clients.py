"""Real HTTP and WebSocket clients of a running stack."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect

from local import Running

KEY = "oek_alice"
HEADERS = {"Authorization": f"Bearer {KEY}"}
ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageBps": 100}


@dataclass(slots=True)
class Followed:
    """One order, as its client saw it. Times in seconds."""

    order_id: str
    total: float
    posted: float
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def statuses(self) -> list[str]:
        return [event["status"] for event in self.events]

    def step(self, status: str) -> dict[str, Any]:
        return next(event for event in self.events if event["status"] == status)


async def place_and_follow(http: httpx.AsyncClient, url: str, order: dict[str, Any] = ORDER) -> Followed:
    """Post an order and follow its socket until the server closes it.

    As clients do: what is not answered in time, on a machine that has too much to do, is asked again with its key.
    """
    began = time.monotonic()
    headers = HEADERS | {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(5):
        reply = await http.post(f"{url}/api/orders/execute", json=order, headers=headers)
        if reply.status_code < 500:
            break
    posted = time.monotonic() - began
    assert reply.status_code == 202, reply.text
    accepted = reply.json()
    events: dict[int, dict[str, Any]] = {}
    async with connect(accepted["wsUrl"]) as socket:
        await socket.send(json.dumps({"action": "subscribe", "orderId": accepted["orderId"], "after": 0}))
        async for message in socket:
            frame = json.loads(message)
            assert frame["orderId"] == accepted["orderId"]
            for event in frame["events"] if frame["type"] == "snapshot" else [frame]:
                events.setdefault(event["seq"], event)
    total = time.monotonic() - began
    return Followed(accepted["orderId"], total, posted, [events[seq] for seq in sorted(events)])


async def place_many(stack: Running, number: int, order: dict[str, Any] = ORDER) -> list[Followed]:
    """Place orders at the same moment, each followed by a client of its own."""
    limits = httpx.Limits(max_connections=number)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http, asyncio.timeout(120):
        return await asyncio.gather(*(place_and_follow(http, stack.http_url, order) for _ in range(number)))


async def read(stack: Running, order_id: str) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=20) as http:
        reply = await http.get(f"{stack.http_url}/api/orders/{order_id}", headers=HEADERS)
    found: dict[str, Any] = reply.json()
    return found


def queue_depths(stack: Running) -> dict[str, int]:
    """Messages in each of the stack's queues, visible or not."""
    sqs = stack.client("sqs")
    depths = {}
    for url in sqs.list_queues().get("QueueUrls", []):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        depths[url.rsplit("/", 1)[1]] = sum(map(int, attributes.values()))
    return depths
