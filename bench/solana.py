"""What a live swap costs the worker and its node: ``python -m bench.solana [--json]``.

Processor time to read, decode, route, build and sign, over the pools of the local chain, which needs no program. Where
the venues' programs are at hand (``SOLANA_PROGRAMS``), orders are swapped through the whole local stack, every
call to the node counted on its way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from aiohttp import ClientSession, web
from nacl.signing import SigningKey

from bench import machine
from cli.client import Client
from local.process import running
from local.solana.genesis import ProgramsMissing, begin, find_programs
from local.solana.ledger import Chain
from local.solana.methods import Methods
from local.solana.own import own_chain
from order_engine.clock import SystemClock
from order_engine.domain.quote import Decision
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.routing.router import Router
from order_engine.venues.solana.build import SwapPlan, instructions, message_of, note_of, plan_swaps
from order_engine.venues.solana.messages import ComputeBudget
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import PoolSource
from order_engine.venues.solana.rpc import JsonRpc
from order_engine.venues.solana.signer import FileSigner, verify
from order_engine.venues.solana.transport import HttpAnswer
from order_engine.venues.solana.venue import LiveVenue

_ROUNDS = 60
_ORDERS = 30
# Of 1.5 SOL, which one pool fills, and of 60, which several do.
_AMOUNTS = {"one pool": 1_500_000_000, "several pools": 60_000_000_000}


class Replay:
    """A transport that answers as a chain does, and from then on with what it said the last time."""

    def __init__(self, chain: Chain) -> None:
        self._methods = Methods(chain)
        self._said: dict[str, object] = {}
        self._known: dict[bytes, tuple[bytes, bytes]] = {}

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer:
        asked = json.loads(body)
        key = json.dumps([asked["method"], asked["params"]]).encode()
        if key not in self._known:
            result = json.dumps(self._methods.call(asked["method"], asked["params"]))
            self._known[key] = (b'{"jsonrpc":"2.0","result":', result.encode())
        head, result_text = self._known[key]
        return HttpAnswer(200, b"".join((head, result_text, b',"id":', str(asked["id"]).encode(), b"}")))

    @property
    def largest(self) -> int:
        """Bytes of the longest answer."""
        return max(len(result) for _, result in self._known.values())


async def _timed[T](work: Callable[[], Awaitable[T]], rounds: int = _ROUNDS) -> tuple[float, T]:
    """Milliseconds of processor time, all threads: the median; and the last result."""
    found: list[float] = []
    for _ in range(rounds):
        began = time.process_time_ns()
        result = await work()
        found.append((time.process_time_ns() - began) / 1e6)
    return median(found), result


async def processor() -> dict[str, Any]:
    """Milliseconds of each step."""
    chain = Chain(lambda: 0)
    listings = begin(chain, {})
    replay = Replay(chain)
    node = Node(JsonRpc(["http://node.invalid"], transport=replay))
    source = PoolSource(node, [each.address for each in listings])
    mints = [SOL.mint, USDC.mint]
    await source.read(mints)
    reading_ms, reading = await _timed(lambda: source.read(mints))
    addresses = sorted({need for live in reading.pools for need in source.needs(live.pool.pool_id)})
    read_ms, _ = await _timed(lambda: node.accounts(addresses))
    router = Router([LiveVenue(name, source, lambda _: None) for name in ("raydium", "meteora")], SystemClock())
    gathered = await router.gather(*mints)
    pools = {live.pool.pool_id: live for live in reading.pools}
    result: dict[str, Any] = {
        "pools": len(pools),
        "accounts": len(addresses),
        "answer_bytes": replay.largest,
        "read_ms": round(read_ms, 3),
        "decode_ms": round(reading_ms - read_ms, 3),
        "orders": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        signer = FileSigner(_key(Path(folder)))
        for name, amount in _AMOUNTS.items():

            async def route(amount: int = amount) -> Decision:
                return router.choose(gathered, SOL, USDC, amount)

            route_ms, decision = await _timed(route)
            legs = decision.chosen.legs

            async def build(legs: Any = legs) -> bytes:
                plan: SwapPlan = plan_swaps(legs, pools, USDC.mint, min_out=1, path_tolerance_bps=5)
                calls = instructions(plan, pools, signer.address, note_of("0" * 36, 1))
                return message_of(calls, signer.address, "1" * 32, ComputeBudget(400_000, 1000))

            build_ms, message = await _timed(build)

            async def sign(message: bytes = message) -> bool:
                return verify(signer.address, message, await signer.sign(message))

            sign_ms, good = await _timed(sign)
            assert good
            result["orders"][name] = {
                "legs": len(legs),
                "message_bytes": len(message),
                "route_ms": round(route_ms, 3),
                "build_ms": round(build_ms, 3),
                "sign_and_verify_ms": round(sign_ms, 3),
            }
    return result


def _key(folder: Path) -> Path:
    key = SigningKey(secrets.token_bytes(32))
    path = folder / "key.json"
    path.write_text(json.dumps(list(bytes(key) + bytes(key.verify_key))))
    return path


@dataclass
class Counting:
    """A node's address that counts what goes through it."""

    to: str
    calls: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    received: int = 0
    url: str = ""
    _closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        self._session = await self._closing.enter_async_context(ClientSession())
        app = web.Application(client_max_size=1 << 22)
        app.router.add_post("/", self._pass)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._session.post(self.to, data=body, headers={"Content-Type": "application/json"}) as answer:
            text = await answer.read()
        self.calls[json.loads(body)["method"]] += 1
        self.sent += len(body)
        self.received += len(text)
        return web.Response(body=text, content_type="application/json")

    def reset(self) -> None:
        self.calls.clear()
        self.sent = self.received = 0


async def calls(orders: int) -> dict[str, Any]:
    """Calls and bytes per order, one order after another and ten at a time, through the whole local stack.

    Raises:
        ProgramsMissing: the venues' programs are not at hand.
    """
    programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    found: dict[str, Any] = {}
    with own_chain(programs) as chain:
        async with Counting(chain.url) as counting:
            settings = {**chain.settings, "RPC_URL": counting.url, "ORDERS_PER_MINUTE": "6000", "ORDERS_BURST": "1000"}
            context = running(environment=settings)
            stack = await asyncio.to_thread(context.__enter__)
            try:
                async with Client(stack.http_url, "oek_alice") as client:
                    # The first orders read what later ones know.
                    await asyncio.gather(*(_fill(client) for _ in range(3)))
                    for name, together in (("one after another", 1), ("ten at a time", 10)):
                        counting.reset()
                        took = []
                        for _ in range(orders // together):
                            began = time.monotonic()
                            await asyncio.gather(*(_fill(client) for _ in range(together)))
                            took.append(time.monotonic() - began)
                        found[name] = {
                            "calls_per_order": round(counting.calls.total() / orders, 2),
                            "by_method": {
                                method: round(count / orders, 2) for method, count in counting.calls.most_common()
                            },
                            "bytes_sent_per_order": counting.sent // orders,
                            "bytes_received_per_order": counting.received // orders,
                            "seconds": round(median(took), 2),
                        }
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)
    return found


async def _fill(client: Client) -> None:
    placed = await client.place("SOL", "USDC", "0.5", slippage_bps=300)
    events = [event async for event in client.follow(placed.order_id, ws_url=placed.ws_url)]
    if events[-1].status != "confirmed":
        raise RuntimeError(f"An order ended as {events[-1].status}.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.solana", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=_ORDERS, help=f"through the whole stack (default {_ORDERS})")
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/solana.json")
    given = parser.parse_args(arguments)
    result = asyncio.run(processor())
    _print_processor(result)
    try:
        result["calls"] = asyncio.run(calls(given.orders))
    except ProgramsMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    for name, line in result["calls"].items():
        print(f"{name}: {line['calls_per_order']} calls an order, {line['seconds']} s")
        print(f"  sent {line['bytes_sent_per_order']:,} bytes, received {line['bytes_received_per_order']:,}")
        print("  " + ", ".join(f"{method} {count}" for method, count in line["by_method"].items()))
    if given.json:
        print(f"recorded {machine.record('solana', result).name}")
    return 0


def _print_processor(result: Mapping[str, Any]) -> None:
    print(f"{result['pools']} pools, {result['accounts']} accounts, an answer of {result['answer_bytes']:,} bytes")
    print(f"  read {result['read_ms']:.2f} ms, decode {result['decode_ms']:.2f} ms")
    for name, one in result["orders"].items():
        print(
            f"  {name} ({one['legs']}): route {one['route_ms']:.2f} ms, build {one['build_ms']:.2f} ms, "
            f"sign and verify {one['sign_and_verify_ms']:.2f} ms, message {one['message_bytes']} bytes"
        )


if __name__ == "__main__":
    sys.exit(main())
