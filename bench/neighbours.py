"""What one user's sockets do to another's stream.

``python -m bench.neighbours [--sockets N] [--seconds N] [--record]``

Two users of one local stack. The neighbour has one socket and places an order every half a second; the other has many
sockets that follow all of its orders, and places as many orders as the rate limit lets (100 a minute). What is measured
is the neighbour's: from the moment that an event carries to the frame's arrival, with the other and without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import psutil  # type: ignore[import-untyped]
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bench.machine import record
from bench.stream import SETTINGS, Follower, keys
from cli.client import Client
from cli.load import quantile
from local import Running, running

PER_MINUTE = 100
EVERY_S = 0.5


async def _sockets(client: Client, count: int, stack: AsyncExitStack) -> list[Follower]:
    """As many as are let in."""
    followers: list[Follower] = []
    for _ in range(count):
        address, headers = await client.stream_address()
        try:
            socket = await stack.enter_async_context(
                connect(address, additional_headers=headers, compression=None, ping_interval=None)
            )
        except InvalidStatus as refused:
            if refused.response.status_code != 429:
                raise
            continue
        await socket.send(json.dumps({"action": "subscribe"}))
        while json.loads(await socket.recv())["type"] != "subscribed":
            pass
        followers.append(Follower(socket))
    return followers


async def _place(client: Client, every_s: float) -> None:
    """Place orders at a steady rate until cancelled."""
    at, placing = time.monotonic(), set[asyncio.Task[Any]]()
    try:
        while True:
            task = asyncio.create_task(client.place("SOL", "USDC", "0.5"))
            placing.add(task)
            task.add_done_callback(placing.discard)
            at += every_s
            await asyncio.sleep(max(0, at - time.monotonic()))
    finally:
        await asyncio.gather(*placing, return_exceptions=True)


async def lag(stack: Running, mine: str, another: str, *, sockets: int, seconds: float) -> dict[str, Any]:
    """The neighbour's lag in milliseconds beside so many sockets that another asks for; without any: alone."""
    async with AsyncExitStack() as closing:
        me, other = [await closing.enter_async_context(Client(stack.http_url, key)) for key in (mine, another)]
        crowd = await _sockets(other, sockets, closing)
        (own,) = await _sockets(me, 1, closing)
        tasks = [asyncio.create_task(follower.run()) for follower in (own, *crowd)]
        placing = [asyncio.create_task(_place(me, EVERY_S))]
        if sockets:
            placing.append(asyncio.create_task(_place(other, 60 / PER_MINUTE)))
        await asyncio.sleep(seconds)
        for task in placing:
            task.cancel()
        await asyncio.gather(*placing, return_exceptions=True)
        # What is still on its way counts.
        quiet = 0
        while quiet < 10:
            before = len(own.delays)
            await asyncio.sleep(0.2)
            quiet = quiet + 1 if len(own.delays) == before else 0
        for task in tasks:
            task.cancel()
    return {
        "asked": sockets,
        "open": len(crowd),
        "frames": len(own.delays),
        "framesOfTheOther": sum(len(follower.delays) for follower in crowd),
        "p50Ms": round(quantile(own.delays, 50) or 0, 1),
        "p99Ms": round(quantile(own.delays, 99) or 0, 1),
        "maxMs": round(max(own.delays, default=0), 1),
    }


async def measure(sockets: int, seconds: float, **settings: str) -> dict[str, Any]:
    with running(environment=SETTINGS | settings) as stack:
        mine, another = await keys(stack, 2)
        await lag(stack, mine, another, sockets=2, seconds=5)  # the first orders pay for what is loaded once
        # Alternating, so that what the machine does besides hits both.
        runs = [await lag(stack, mine, another, sockets=n, seconds=seconds) for n in (0, sockets, 0, sockets)]
        alone, beside = [min((runs[n], runs[n + 2]), key=lambda run: run["p50Ms"]) for n in (0, 1)]
        return {
            "load": [round(value, 1) for value in psutil.getloadavg()],
            "alone": alone,
            "beside": beside,
            "ratio": round(beside["p50Ms"] / alone["p50Ms"], 2),
        }


def main() -> None:
    """Print the figures, and keep them where told."""
    parser = argparse.ArgumentParser(description="One user's sockets against another's stream.")
    parser.add_argument("--sockets", type=int, default=150, help="sockets that the other asks for")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--record", action="store_true", help="keep the figures in bench/results/")
    given = parser.parse_args()
    result = asyncio.run(measure(given.sockets, given.seconds))
    print(json.dumps(result, indent=2))
    if given.record:
        record("neighbours", result)


if __name__ == "__main__":
    main()
