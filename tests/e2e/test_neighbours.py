"""What one user does must not stand in the way of another: on the real local stack, with two users."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from itertools import batched
from typing import Any

import httpx

from local import Running, running
from order_engine.aws import codec
from order_engine.domain import lifecycle
from order_engine.domain.order import OrderRef, OrderRequest
from order_engine.domain.tokens import SOL, USDC

# As many as five users may have. In memory the table takes a second for what takes DynamoDB a hundredth: ten thousand
# are tried without a clock, in tests/api/test_limit_orders.py.
UNFILLABLE = 1_000
BEAT_S = 4
LIMIT = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageBps": 100}


def write_unfillable(stack: Running, user: str, number: int) -> None:
    """Resting orders whose price the market has met and that no pool could fill, past the API and its bounds."""
    client = stack.client("dynamodb")
    (table,) = [name for name in client.list_tables()["TableNames"] if "Orders" in name]
    now = time.time_ns() // 1_000_000

    def item(place: int) -> dict[str, Any]:
        limit = Decimal("0.000000001") + Decimal(place) / 10**15
        request = OrderRequest("limit", SOL, USDC, 9_000_000_000 * SOL.unit + place, 50, limit)
        return codec.to_item(lifecycle.place(OrderRef(user, f"{place:08d}-junk"), request, "f", now))

    for places in batched(range(number), 25, strict=False):
        requests = [{"PutRequest": {"Item": item(place)}} for place in places]
        client.batch_write_item(RequestItems={table: requests})


async def fires_after(http: httpx.AsyncClient, user: str) -> float:
    """Place a limit order that the market meets; the seconds until it fires."""
    headers = {"Authorization": f"Bearer oek_{user}"}
    reply = await http.post("/api/orders/execute", json={**LIMIT, "limitPrice": "1"}, headers=headers)
    assert reply.status_code == 202, reply.text
    began, path = time.monotonic(), f"/api/orders/{reply.json()['orderId']}"
    async with asyncio.timeout(60):
        while True:
            reply = await http.get(path, headers=headers)
            # A machine that has too much to do may answer late, and that is a 500.
            if reply.status_code < 500 and reply.json()["status"] != "open":
                break
            await asyncio.sleep(0.05)
    assert [event["status"] for event in reply.json()["events"]][:2] == ["open", "pending"]
    return time.monotonic() - began


async def test_a_limit_order_fires_in_the_second_beat_at_the_latest_beside_a_thousand_of_another_user() -> None:
    with running(environment={"FAILURE_RATE": "0", "WATCH_BEAT_MS": str(BEAT_S * 1000)}) as stack:
        async with httpx.AsyncClient(base_url=stack.http_url, timeout=30, trust_env=False) as http:
            # So that the pair is known to have resting orders, which is looked for less often.
            await fires_after(http, "bob")
            await asyncio.to_thread(write_unfillable, stack, "alice", UNFILLABLE)
            waits = [await fires_after(http, "bob") for _ in range(4)]
    # The rest of the beat in which it was placed, and two more; twice that for a machine that has too much to do. What
    # this is about lasted for minutes.
    assert max(waits) < 6 * BEAT_S, waits
