"""kill -9 on the real local stack, of one worker and of the whole runner, while orders flow."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from datetime import datetime
from typing import Any

import httpx

from local import Running, running
from tests.e2e.clients import HEADERS, ORDER, read

# Nothing fails for a reason of the market: each order needs exactly one signature, whoever dies.
_CALM = {"FAILURE_RATE": "0"}
_ORDER = {**ORDER, "slippageBps": 1000}
_RECOVERY_S = 60
_SEED = 20


async def _place(stack: Running, number: int, pause_s: float, accepted: list[str]) -> None:
    """Post orders one after the other; those that were answered are accepted."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        for _ in range(number):
            try:
                reply = await http.post(f"{stack.http_url}/api/orders/execute", json=_ORDER, headers=HEADERS)
            except httpx.HTTPError:
                return
            assert reply.status_code == 202, reply.text
            accepted.append(reply.json()["orderId"])
            await asyncio.sleep(pause_s)


async def _reached(accepted: list[str], goal: int) -> None:
    while len(accepted) < goal:  # noqa: ASYNC110 - a list tells nobody that it has grown
        await asyncio.sleep(0.02)


async def _ended(stack: Running, order_ids: list[str], seconds: float) -> list[dict[str, Any]]:
    """All orders, once they have ended or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        orders = [await read(stack, order_id) for order_id in order_ids]
        if all(order["status"] in ("confirmed", "failed") for order in orders) or time.monotonic() > deadline:
            return orders
        await asyncio.sleep(0.5)


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _assert_swapped_once(order: dict[str, Any]) -> None:
    statuses = Counter(event["status"] for event in order["events"])
    assert order["status"] == "confirmed", order
    assert [event["seq"] for event in order["events"]] == list(range(1, order["seq"] + 1))
    assert (statuses["submitted"], statuses["confirmed"]) == (1, 1), order["events"]
    signed = next(event["txHash"] for event in order["events"] if event["status"] == "submitted")
    assert order["txHash"] == signed


async def test_workers_killed_in_the_middle_cost_less_than_a_minute_and_no_second_signature() -> None:
    rng, accepted, killed = random.Random(_SEED), list[str](), list[float]()
    with running("--isolate", environment=_CALM) as stack:
        placing = asyncio.create_task(_place(stack, 12, 0.7, accepted))
        while not placing.done() or len(killed) < 3:
            await asyncio.sleep(rng.uniform(0.5, 2.5))
            busy = [w for w in stack.workers() if "Process" in w["function"] and w["requestId"] is not None]
            if busy:
                os.kill(rng.choice(busy)["pid"], signal.SIGKILL)
                killed.append(time.time())
            if len(killed) >= 6:
                break
        await placing
        orders = await _ended(stack, accepted, 2 * _RECOVERY_S)
    assert len(killed) >= 3
    assert len(accepted) == 12
    for order in orders:
        _assert_swapped_once(order)
    # Somebody was hit: the work of a lost worker was begun again, or its transaction was found by another.
    waits = [
        _at(after) - death
        for order in orders
        for before, after in zip(order["events"], order["events"][1:], strict=False)
        for death in killed
        if _at(before) <= death <= _at(after)
    ]
    assert max(waits) > 10
    assert max(waits) < _RECOVERY_S


async def test_a_runner_killed_again_and_again_loses_no_accepted_order_and_signs_none_twice() -> None:
    rng, accepted = random.Random(_SEED), list[str]()
    # A shorter lease, so that three lives fit into a test.
    settings = {**_CALM, "LEASE_MS": "8000", "SWEEP_BEAT_MS": "1000"}
    with running(module="local.aws") as services:
        arguments = ("--isolate", "--aws-endpoint", services.http_url)
        for _ in range(3):
            with running(*arguments, environment=settings) as stack:
                placing = asyncio.create_task(_place(stack, 20, 0.25, accepted))
                # A loaded machine is slow to accept the first: it is killed in the middle of orders, not of its start.
                goal = len(accepted) + rng.randint(4, 12)
                reached = asyncio.create_task(_reached(accepted, goal))
                await asyncio.wait([placing, reached], return_when=asyncio.FIRST_COMPLETED)
                reached.cancel()
                stack.kill()
                await placing
        with running(*arguments, environment=settings) as stack:
            orders = await _ended(stack, accepted, 2 * _RECOVERY_S)
    assert len(accepted) > 10
    for order in orders:
        _assert_swapped_once(order)
