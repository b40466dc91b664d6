"""How long a status takes to reach its sockets, and what a socket costs the local stack.

``python -m bench.stream [--orders N] [--held N] [--record]``

Everything runs on one machine: the local stack in a process of its own, the clients in this one. The delay of a
status is from the moment that the order's event carries (set just before it is stored) to the frame's arrival at a
client, so it includes the write, the stream, the notify function, the push and the socket. The delays of the paper
venues are short, as they have no part in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import psutil  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection, connect

from bench.machine import record
from cli.client import Client
from cli.load import quantile
from local import Running, running
from local.demo import store
from order_engine.engine.accounts import new_key

SETTINGS = {
    "QUOTE_DELAY_MS": "20",
    "LANDING_MIN_MS": "100",
    "LANDING_MAX_MS": "200",
    "FAILURE_RATE": "0",
    "ORDERS_PER_MINUTE": "1000000",
    "ORDERS_BURST": "1000000",
}
# Orders a second; fewer where each has many sockets, so that what is measured is the delay and not a queue.
RATE = 4.0
FRAMES_PER_SECOND = 300
PER_USER = 10
_ENDS = {"confirmed", "failed", "cancelled", "expired"}
_LIFE = ("pending", "routing", "building", "submitted", "confirmed")


class Follower:
    """A raw socket that follows all orders of its user and notes each status's delay in milliseconds."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.delays: list[float] = []
        self.ended: set[str] = set()

    async def run(self) -> None:
        """Read until the socket is closed, which only the stack's own slowness brings about here."""
        async for message in self.socket:
            now = time.time()
            frame = json.loads(message)
            if frame["type"] != "event":
                continue
            self.delays.append((now - datetime.fromisoformat(frame["at"]).timestamp()) * 1000)
            if frame["status"] in _ENDS:
                self.ended.add(frame["orderId"])


async def keys(stack: Running, count: int) -> list[str]:
    """API keys of ``count`` users."""
    made = [new_key(f"user-{n}", int(time.time() * 1000)) for n in range(count)]
    await store(stack.client("dynamodb"), *(stored for _, stored in made))
    return [key for key, _ in made]


async def open_sockets(clients: Sequence[Client], count: int, stack: AsyncExitStack) -> list[Follower]:
    """Sockets that follow all orders of their users, ``PER_USER`` a user where there are several."""
    followers: list[Follower] = []
    for start in range(0, count, PER_USER):
        address, _ = await clients[(start // PER_USER) % len(clients)].stream_address()
        for _ in range(min(PER_USER, count - start)):
            socket = await stack.enter_async_context(connect(address, compression=None, ping_interval=None))
            await socket.send(json.dumps({"action": "subscribe"}))
            while json.loads(await socket.recv())["type"] != "subscribed":
                pass
            followers.append(Follower(socket))
    return followers


async def delays(stack: Running, names: Sequence[str], sockets: int, orders: int) -> dict[str, Any]:
    """Place orders for the users in turn; the delays of all statuses at all sockets."""
    async with AsyncExitStack() as closing:
        clients = [await closing.enter_async_context(Client(stack.http_url, name)) for name in names]
        followers = await open_sockets(clients, sockets, closing)
        running_all = [asyncio.create_task(follower.run()) for follower in followers]
        placed: dict[int, set[str]] = {}
        for n in range(orders):
            user = n % len(clients)
            accepted = await clients[user].place("SOL", "USDC", "0.5")
            placed.setdefault(user, set()).add(accepted.order_id)
            await asyncio.sleep(max(1 / RATE, len(_LIFE) * sockets / len(clients) / FRAMES_PER_SECOND))
        # The last frames of the last order.
        for _ in range(1200):
            behind = [
                n
                for n, follower in enumerate(followers)
                if not placed.get((n // PER_USER) % len(clients), set()) <= follower.ended and not running_all[n].done()
            ]
            if not behind:
                break
            await asyncio.sleep(0.1)
        lost = sum(task.done() for task in running_all)
        for task in running_all:
            task.cancel()
    found = [delay for follower in followers for delay in follower.delays]
    return {
        "sockets": sockets,
        "users": len(clients),
        "orders": orders,
        "socketsLost": lost,
        "frames": len(found),
        "p50Ms": round(quantile(found, 50) or 0, 1),
        "p99Ms": round(quantile(found, 99) or 0, 1),
        "maxMs": round(max(found), 1),
    }


async def held(stack: Running, names: Sequence[str], sockets: int) -> dict[str, Any]:
    """Open many sockets, see that each still answers, and what memory the stack has taken for them."""
    process = psutil.Process(stack.process.pid)
    async with AsyncExitStack() as closing:
        clients = [await closing.enter_async_context(Client(stack.http_url, name)) for name in names]
        # What is loaded or allocated once is not the sockets'.
        await open_sockets(clients, 50, closing)
        before = process.memory_info().rss
        began = time.monotonic()
        followers = await open_sockets(clients, sockets, closing)
        took = time.monotonic() - began
        after = process.memory_info().rss
        for follower in followers:
            await follower.socket.send(json.dumps({"action": "ping"}))
        async with asyncio.timeout(120):
            answers = [json.loads(await follower.socket.recv())["type"] for follower in followers]
    return {
        "sockets": sockets,
        "answered": answers.count("pong"),
        "openedPerSecond": round(sockets / took, 1),
        "kilobytesPerSocket": round((after - before) / sockets / 1024, 1),
        "stackMegabytes": round(after / 1024**2, 1),
    }


async def measure(orders: int, sockets: int) -> dict[str, Any]:
    with running(environment=SETTINGS) as stack:
        (alone, *others) = await keys(stack, 101)
        await delays(stack, [alone], 1, 10)  # the first orders pay for what is loaded once
        return {
            "load": [round(value, 1) for value in psutil.getloadavg()],
            "one socket": await delays(stack, [alone], 1, orders),
            "200 sockets of 20 users": await delays(stack, others[:20], 200, orders),
            "200 sockets of one user": await delays(stack, [others[20]], 200, max(10, orders // 4)),
            "held": await held(stack, others, sockets),
        }


def main() -> None:
    """Print the figures, and keep them where told."""
    parser = argparse.ArgumentParser(description="The stream: delay of a status, memory of a socket.")
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--held", type=int, default=1000, help="sockets that are held at once")
    parser.add_argument("--record", action="store_true", help="keep the figures in bench/results/")
    given = parser.parse_args()
    # Each socket is a file here and one in the stack.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    result = asyncio.run(measure(given.orders, given.held))
    print(json.dumps(result, indent=2))
    if given.record:
        record("stream", result)


if __name__ == "__main__":
    main()
