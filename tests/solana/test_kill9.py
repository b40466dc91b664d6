"""The whole local stack on the venues' real programs in bad weather, its workers killed with kill -9: exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from cli.client import Client
from local.process import Running, running
from local.solana.genesis import ProgramsMissing, find_programs
from local.solana.ledger import Weather
from local.solana.own import own_chain
from order_engine.venues.solana.history import swaps_since
from order_engine.venues.solana.node import Node as Nodes
from order_engine.venues.solana.rpc import JsonRpc
from tests.solana.asked import MINTS, Node, units

# Faster than the real chain, so that a transaction expires within twenty seconds.
STORM = Weather(
    slot_ms=100, lost=0.2, doomed=0.05, late=0.1, vanishing=0.05, lags=(0, 2, 0, 7, 0, 45), forks=(0, 0, 0, 5, 20)
)
PAIRS = (("SOL", "USDC", "1.5"), ("USDC", "SOL", "200"), ("USDC", "BONK", "30"), ("JUP", "SOL", "90"))
SETTINGS = {
    "LEASE_MS": "8000",
    "SWEEP_BEAT_MS": "1000",
    "QUOTE_DEADLINE_MS": "10000",
    "ORDERS_PER_MINUTE": "60000",
    "ORDERS_BURST": "60000",
    "READS_PER_MINUTE": "600000",
}
ENDED = ("confirmed", "failed")


async def place(stack: Running, count: int, dice: random.Random) -> dict[str, tuple[str, str, str]]:
    placed = {}
    async with Client(stack.http_url, "oek_alice") as client:
        for _ in range(count):
            wish = dice.choice(PAIRS)
            placed[(await client.place(*wish, slippage_bps=300)).order_id] = wish
            await asyncio.sleep(dice.uniform(0, 0.5))
    return placed


async def kill_at_random(stack: Running, dice: random.Random) -> int:
    """Kill working workers until cancelled."""
    killed = 0
    try:
        while True:
            await asyncio.sleep(dice.uniform(0.5, 2.5))
            busy = [w for w in stack.workers() if "Process" in w["function"] and w["requestId"] is not None]
            if busy:
                os.kill(dice.choice(busy)["pid"], signal.SIGKILL)
                killed += 1
    except asyncio.CancelledError:
        return killed


async def ends_of(stack: Running, names: Mapping[str, object], seconds: float) -> dict[str, dict[str, Any]]:
    ended: dict[str, dict[str, Any]] = {}
    until = time.monotonic() + seconds
    async with Client(stack.http_url, "oek_alice") as client:
        while len(ended) < len(names) and time.monotonic() < until:
            for name in names:
                if name not in ended:
                    order = dict(await client.get(name))
                    if order["status"] in ENDED:
                        ended[name] = order
            await asyncio.sleep(1)
    return ended


async def campaign(count: int, seed: int) -> None:
    try:
        programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))
    dice, began = random.Random(seed), time.time_ns() // 1_000_000
    with (
        own_chain(programs, weather=STORM) as own,
        running("--isolate", environment={**own.settings, **SETTINGS}) as stack,
    ):
        node = Node(own.url, own.wallet)
        before = node.holdings()
        killer = asyncio.create_task(kill_at_random(stack, dice))
        wishes = await place(stack, count, dice)
        await asyncio.sleep(3)
        killer.cancel()
        killed = await killer
        orders = await ends_of(stack, wishes, 240 + count)
        assert len(orders) == count, [name for name in wishes if name not in orders]
        # What is on its way lands, or never does.
        await asyncio.sleep((150 + 50) * STORM.slot_ms / 1000)
        swaps = await swaps_since(Nodes(JsonRpc([own.url])), own.wallet, began)
        explain(node, before, orders, wishes)
    told = Counter(swap.order_id for swap in swaps)
    assert {(s.order_id, s.signature) for s in swaps} == {
        (name, order["txHash"]) for name, order in orders.items() if order["status"] == "confirmed"
    }
    assert max(told.values()) == 1
    assert killed >= count // 20
    print(f"{count} orders, {killed} workers killed: {dict(Counter(order['status'] for order in orders.values()))}")
    assert len(told) >= count * 0.9


def explain(
    node: Node, before: Counter[str], orders: Mapping[str, Any], wishes: Mapping[str, tuple[str, str, str]]
) -> None:
    """Every unit of every token by the swaps of orders, every lamport by fees."""
    after, moved, fees = node.holdings(), Counter[str](), 0
    listed = node.call("getSignaturesForAddress", node.wallet, {"commitment": "confirmed", "limit": 1000})
    for each in listed:
        options = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
        fees += node.call("getTransaction", each["signature"], options)["meta"]["fee"]
    for name, order in orders.items():
        if order["status"] != "confirmed":
            continue
        token_in, token_out, amount = wishes[name]
        tokens, *_ = node.changes(order["txHash"])
        assert tokens[MINTS[token_out]] == units(order["amountOut"], token_out)
        assert tokens[MINTS[token_in]] == -units(amount, token_in)
        moved.update(tokens)
    changed = {mint: after[mint] - before[mint] for mint in MINTS.values()}
    assert changed == {mint: moved[mint] for mint in MINTS.values()}
    assert before["lamports"] - after["lamports"] == fees


@pytest.mark.parametrize(("count", "seed"), [(20, 3), pytest.param(300, 4, marks=pytest.mark.long)])
async def test_killed_workers_and_bad_weather_swap_nothing_twice_and_lose_nothing(count: int, seed: int) -> None:
    await campaign(count, seed)
