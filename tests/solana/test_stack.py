"""The whole local stack on the venues' real programs: HTTP, queue, workers and stream, and what the ledger says of it.

Each batch of orders is under way at once; no two of a batch go through the same pools, so that nobody else trades.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from cli.client import Client
from local.process import Running, running
from local.solana.genesis import ProgramsMissing, begin, find_programs
from local.solana.ledger import Chain
from tests.solana.asked import DECIMALS, MINTS, Node, units

# What trades with what in one pool, and how much of each is a small order and how much a large one, in whole tokens.
LANES = (("SOL", "USDC"), ("USDC", "BONK"), ("JUP", "SOL"), ("USDC", "USDT"), ("TAXED", "USDC"))
SIZES = {
    "SOL": ("0.012345678", "40"),
    "USDC": ("1.234567", "3000"),
    "USDT": ("1.5", "3000"),
    "BONK": ("12345.67891", "90000000"),
    "JUP": ("3.141592", "9000"),
    "TAXED": ("2.5", "2000"),
}
# When the volatility of the chain's DLMM pairs counts less, and when no more (local/solana/pools.py).
FILTER_S, DECAY_S = 30, 600
# A path takes two lanes; the rest are left to others.
PATHS = (
    ("SOL", "BONK", 0, 1),
    ("JUP", "USDC", 0, 2),
    ("USDT", "SOL", 0, 3),
    ("TAXED", "SOL", 0, 4),
    ("BONK", "USDT", 1, 3),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """An order to place."""

    token_in: str
    token_out: str
    amount: str


def batches(count: int, seed: int) -> Iterator[list[Wish]]:
    """As many wishes, in batches whose orders share no pool."""
    dice = random.Random(seed)

    def wish(pair: Sequence[str]) -> Wish:
        token_in, token_out = pair if dice.random() < 0.5 else pair[::-1]
        low, high = (Decimal(size) for size in SIZES[token_in])
        # Small, large, and everything between.
        share = dice.choice((Decimal(0), Decimal(1), Decimal(dice.random()).quantize(Decimal("0.001"))))
        amount = (low + (high - low) * share**3).quantize(Decimal(1).scaleb(-DECIMALS[token_in]))
        return Wish(token_in, token_out, str(amount))

    left = count
    for path in itertools.cycle((None, *PATHS)):
        free = [lane for n, lane in enumerate(LANES) if path is None or n not in path[2:]]
        batch = [wish(pair) for pair in ([] if path is None else [path[:2]]) + free][:left]
        left -= len(batch)
        if not batch:
            return
        yield batch


@dataclass
class Seen:
    """What was traded, for saying that it was enough.

    Attributes:
        touched: when a DLMM pair was swapped in last, by its own account, in seconds.
        decayed: orders for which the fee of such a pair was another in the block than in the quote.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    directions: set[tuple[str, bool]] = field(default_factory=set)
    singles: int = 0
    decayed: int = 0
    touched: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{dict(self.kinds)}, {self.singles} through one pool, {self.decayed} at another fee than quoted"

    def note_pairs(self, node: Node, pairs: Sequence[str]) -> None:
        self.touched = {pair: int.from_bytes(node.data(pair)[56:64], "little") for pair in pairs}

    def may_decay(self, pools: Sequence[str], routed: float, landed: int) -> bool:
        """Whether a period of a DLMM pair's volatility may have ended between quote and block: its fee is another then.

        What was quoted was read a little before it was routed, and the chain counts in whole seconds.
        """
        ages = [
            (routed - 3 - self.touched[pool], landed - self.touched[pool]) for pool in pools if pool in self.touched
        ]
        return any(early < period <= late for early, late in ages for period in (FILTER_S, DECAY_S))


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    try:
        find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))
    own = {"MARKET": "solana", "RPC_URL": "", "QUOTE_DEADLINE_MS": "10000"}
    limits = {"ORDERS_PER_MINUTE": "60000", "ORDERS_BURST": "60000", "READS_PER_MINUTE": "600000"}
    with running(environment={**own, **limits}) as started:
        yield started


def node_of(stack: Running) -> Node:
    (line,) = stack.lines_with("Chain:", 1)
    words = line.replace(",", " ").replace(";", " ").split()
    url = next(word for word in words if word.startswith("http://"))
    return Node(url, words[words.index("wallet") + 1])


async def fill(client: Client, wish: Wish) -> Mapping[str, Any]:
    """Place an order and follow it over its socket to its end."""
    placed = await client.place(wish.token_in, wish.token_out, wish.amount, slippage_bps=50)
    seqs = [event.seq async for event in client.follow(placed.order_id, ws_url=placed.ws_url)]
    assert seqs == list(range(1, len(seqs) + 1))
    return await client.get(placed.order_id)


def judge(order: Mapping[str, Any], wish: Wish, node: Node, seen: Seen, kinds: Mapping[str, tuple[str, str]]) -> None:
    """Hold an order against the ledger."""
    assert order["status"] == "confirmed", order
    # Quotes that do not hold would be tried again and hidden so; a machine that is busy may be late.
    retried = {event["error"]["code"] for event in order["events"] if "error" in event}
    assert retried <= {"venues_unavailable", "node_unavailable"}, order
    tokens, _, notes, landed = node.changes(order["txHash"])
    received = units(order["amountOut"], wish.token_out)
    assert received == tokens[MINTS[wish.token_out]], order
    assert tokens[MINTS[wish.token_in]] == -units(wish.amount, wish.token_in)
    assert f"order {order['orderId']} attempt {order['attempts']}" in notes
    assert received >= units(order["minOut"], wish.token_out)
    route = order["route"]
    seen.kinds[route["kind"]] += 1
    for leg in route["legs"]:
        kind, first = kinds[leg["pool"]]
        seen.directions.add((kind, MINTS[leg["tokenIn"]] == first))
    if route["kind"] != "path" and len({leg["tokenOut"] for leg in route["legs"]}) == 1:
        # Nobody else trades: what was quoted is what came, to the last unit.
        quoted = units(route["amountOut"], wish.token_out)
        if received != quoted:
            at = [event["at"] for event in order["events"] if event["status"] == "routing"][-1]
            routed = datetime.fromisoformat(at).timestamp()
            assert seen.may_decay([leg["pool"] for leg in route["legs"]], routed, landed), order
            assert abs(received - quoted) * 1000 < quoted
            seen.decayed += 1
        seen.singles += len(route["legs"]) == 1
    middle = set(tokens) - {MINTS[wish.token_in], MINTS[wish.token_out]}
    # What a path leaves in its middle token is never taken from what was there.
    assert all(tokens[mint] >= 0 for mint in middle), order


async def trade(stack: Running, count: int, seed: int) -> Seen:
    node, seen = node_of(stack), Seen()
    kinds = {each.address: (each.kind, each.coins[0].mint) for each in begin(Chain(lambda: 0), {})}
    before, fees, moved, signatures = node.holdings(), 0, Counter[str](), []
    async with Client(stack.http_url, "oek_alice") as client:
        for batch in batches(count, seed):
            seen.note_pairs(node, [address for address, (kind, _) in kinds.items() if kind == "dlmm"])
            orders = await asyncio.gather(*(fill(client, wish) for wish in batch))
            for order, wish in zip(orders, batch, strict=True):
                judge(order, wish, node, seen, kinds)
                tokens, lamports, *_ = node.changes(order["txHash"])
                moved.update(tokens)
                fees += lamports
                signatures.append(order["txHash"])
    assert len(set(signatures)) == count
    # Everything that the wallet has more or less now is explained by its orders.
    after = node.holdings()
    changed = {mint: after[mint] - before[mint] for mint in MINTS.values()}
    assert changed == {mint: moved[mint] for mint in MINTS.values()}
    assert after["lamports"] - before["lamports"] == fees
    landed = node.call("getSignaturesForAddress", node.wallet, {"commitment": "confirmed", "limit": 1000})
    assert {each["signature"] for each in landed} >= set(signatures)
    return seen


EVERY = {(kind, way) for kind in ("cpmm", "clmm", "amm_v4", "dlmm", "damm2") for way in (True, False)}


async def test_forty_orders_give_what_the_ledger_says(stack: Running) -> None:
    began = time.monotonic()
    seen = await trade(stack, 40, seed=7)
    print(f"40 orders in {time.monotonic() - began:.1f} s: {seen}")
    assert seen.decayed <= 3
    assert {kind for kind, _ in seen.directions} == {kind for kind, _ in EVERY}
    assert set(seen.kinds) == {"single", "split", "path"}
    assert seen.singles >= 10


@pytest.mark.long
async def test_five_hundred_orders_give_what_the_ledger_says(stack: Running) -> None:
    began = time.monotonic()
    seen = await trade(stack, 500, seed=11)
    print(f"500 orders in {time.monotonic() - began:.1f} s: {seen}")
    assert seen.decayed <= 10
    assert seen.directions == EVERY
    assert set(seen.kinds) == {"single", "split", "path"}
