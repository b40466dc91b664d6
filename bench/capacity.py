"""Orders per minute on the local stack: ``python -m bench.capacity [--json]``.

Orders are posted over HTTP as fast as they are taken, and executed at the paper market's default delays by the event
source that the template describes. Everything shares this machine's processors, the simulated services included: what
is measured with small batches is the waiting that the design allows for, with large ones it is this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench import machine
from bench.orders import logs
from bench.scaling import WAIT_S
from infra.synth import synth
from local.demo import store
from local.stack import Stack
from order_engine.engine.accounts import new_key

type Json = Any

_ORDER: Json = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageBps": 500}
# Batch size, concurrent invocations, orders to run.
CASES = ((1, 2, 10), (1, 10, 40), (10, 2, 60), (10, 10, 200))
_GIVE_UP_S = 90


@dataclass(frozen=True, slots=True)
class Capacity:
    """``allowed_per_minute``: what the waits alone would allow, with full batches."""

    batch_size: int
    concurrency: int
    orders: int
    seconds: float
    per_minute: float
    allowed_per_minute: float


def _template(batch_size: int, concurrency: int) -> Json:
    context = {"stage": "local", "bundle": False, "batchSize": batch_size, "reservedConcurrency": concurrency}
    with tempfile.TemporaryDirectory() as directory:
        return json.loads(synth(Path(directory), context).read_text())


async def measure(batch_size: int, concurrency: int, orders: int) -> Capacity:
    """Run one case on a stack of its own."""
    settings = {"ORDERS_BURST": "100000", "ORDERS_PER_MINUTE": "60000", "FAILURE_RATE": "0"}
    async with Stack(_template(batch_size, concurrency), settings) as stack:
        text, key = new_key("bench", time.time_ns() // 1_000_000)
        await store(stack.client("dynamodb"), key)
        headers = {"Authorization": f"Bearer {text}"}
        async with aiohttp.ClientSession(stack.http_url, headers=headers) as http:
            started = time.monotonic()
            gate = asyncio.Semaphore(8)

            async def place() -> None:
                async with gate, http.post("/api/orders/execute", json=_ORDER) as answer:
                    assert answer.status == 202, await answer.text()

            await asyncio.gather(*(place() for _ in range(orders)))
            while True:
                async with http.get("/api/stats") as answer:
                    done = (await answer.json())["finished"]
                if done >= orders:
                    break
                if time.monotonic() - started > _GIVE_UP_S:
                    raise TimeoutError(f"{done} of {orders} orders have ended.")
                await asyncio.sleep(0.25)
            seconds = time.monotonic() - started
    return Capacity(
        batch_size, concurrency, orders, seconds, 60 * orders / seconds, 60 * batch_size * concurrency / WAIT_S
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/capacity.json")
    given = parser.parse_args(arguments)
    found = []
    print("batch  concurrent  orders  seconds  orders/min  waits alone allow")
    for case in CASES:
        # The handlers run in this process; their log is not what is wanted here.
        with logs():
            one = asyncio.run(measure(*case))
        found.append(one)
        print(
            f"{one.batch_size:5} {one.concurrency:11} {one.orders:7} {one.seconds:8.1f} {one.per_minute:11.0f} "
            f"{one.allowed_per_minute:18.0f}",
            flush=True,
        )
    if given.json:
        machine.record("capacity", {"cases": [asdict(one) for one in found]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
