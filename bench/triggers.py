"""What a beat of the price watcher reads, against how many orders rest and how many the price reaches.

The orders table is the deployment's, simulated in this process; the resting orders are written past its API, which
would take minutes.
Read units are computed from what the table returned, by DynamoDB's rules: a query is charged the sum of its items'
sizes in steps of 4 KB, half where it is eventually consistent; a consistent read of one item its size in whole steps.

And what becomes of a neighbour's order beside thousands that the price has reached and that nobody could fill.

python -m bench.triggers [--resting 1000 10000 100000] [--triggers 0 10 100] [--unfillable 10000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import boto3

from bench.machine import record
from infra.synth import template
from infra.tree import ROOT
from local.cloud import moto_state
from local.cloud.deployment import deployed
from order_engine.aws import codec
from order_engine.aws.orders import DynamoOrders
from order_engine.clock import SystemClock
from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, OrderRequest
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import VENUES
from order_engine.engine.observer import Note
from order_engine.engine.routing.router import Router
from order_engine.engine.triggers import Triggers
from order_engine.settings import Settings
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.paper.venue import PaperVenue

# A beat's bounds of entries and orders are measured here, not its time: moto is slower than what it stands for.
_UNHURRIED_MS = 600_000


@dataclass(frozen=True, slots=True)
class Beat:
    """One line of the report."""

    resting: int
    triggers: int
    fired: int
    queries: int
    index_entries_read: int
    orders_read: int
    writes: int
    messages: int
    read_units: float
    find_pairs_queries: int
    find_pairs_read_units: float


@dataclass(slots=True)
class _Meter:
    """Counts the table's answers."""

    calls: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    orders: int = 0
    read_units: float = 0

    def read(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls[model.name] += 1
        if model.name == "Query":
            self.entries += parsed["Count"]
            self.read_units += _steps(sum(map(_size, parsed["Items"]))) / 2
        elif model.name == "BatchGetItem":
            items = [item for found in parsed["Responses"].values() for item in found]
            self.orders += len(items)
            self.read_units += sum(_steps(_size(item)) for item in items)


def _steps(size: int) -> int:
    return max(1, -(-size // 4096))


def _size(item: dict[str, Any]) -> int:
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


@dataclass(slots=True)
class _Queue:
    """Counts what is sent."""

    sent: int = 0

    async def send(self, refs: Sequence[OrderRef], *, delay_ms: int = 0) -> None:
        self.sent += len(refs)

    async def held(self) -> tuple[int, int]:
        return 0, 0

    async def depth(self) -> dict[str, int]:
        return {}


class _Silent:
    """An observer that keeps nothing, but lets no failure pass."""

    def changed(self, order: Order) -> None:
        return None

    def noted(self, order_id: str, what: Note, detail: str) -> None:
        raise RuntimeError(f"{what}: {detail}")


def _resting(number: int, price: int, now: int) -> Iterator[Order]:
    """Limit orders of 1 SOL: at ``price`` USDC and up, a cent apart."""
    for position in range(number):
        limit = Decimal(price) + Decimal(position) / 100
        request = OrderRequest("limit", SOL, USDC, SOL.unit, 50, limit, now + 86_400_000)
        ref = OrderRef(f"user-{position % 997}", f"{price}-{position:07d}")
        yield lifecycle.place(ref, request, "f", now)


def _unfillable(number: int, now: int) -> Iterator[Order]:
    """Limit orders of another user that no pool could fill, at next to no price."""
    for position in range(number):
        limit = Decimal("0.000000001") + Decimal(position) / 10**15
        amount = 9_000_000_000 * SOL.unit + position
        request = OrderRequest("limit", SOL, USDC, amount, 50, limit, now + 86_400_000)
        yield lifecycle.place(OrderRef("attacker", f"junk-{position:07d}"), request, "f", now)


@dataclass(slots=True)
class _Bench:
    """The deployment's orders table, and the triggers over it."""

    table: str
    meter: _Meter
    queue: _Queue
    watch: Triggers

    def fill(self, orders: Iterable[Order]) -> None:
        moto_state.fill(self.table, map(codec.to_item, orders))


@contextmanager
def _bench() -> Iterator[_Bench]:
    with deployed(template(ROOT / "build")):
        client: Any = boto3.client("dynamodb")
        clock, meter, queue, market = SystemClock(), _Meter(), _Queue(), PaperMarket(1)
        client.meta.events.register("after-call.dynamodb", meter.read)
        venues = [PaperVenue(name, market, clock, 0) for name in VENUES]
        table = Settings.load().resources.orders_table
        watch = Triggers(DynamoOrders(client, table), queue, Router(venues, clock), clock, _Silent(), lambda: TOKENS)
        yield _Bench(table, meter, queue, watch)


async def _measure(resting: int, reached: int) -> Beat:
    with _bench() as bench:
        now, meter = bench.watch.clock.now_ms(), bench.meter
        # The paper market trades SOL far below 100,000 USDC and far above 1.
        bench.fill(_resting(resting, 100_000, now))
        bench.fill(_resting(reached, 1, now))
        # Less often than a beat: which pairs have resting orders at all.
        await bench.watch.find_pairs()
        finding = meter.calls["Query"], meter.read_units
        meter.calls.clear()
        meter.entries, meter.read_units = 0, 0
        fired = await bench.watch.beat(now + _UNHURRIED_MS)
    return Beat(
        resting=resting,
        triggers=reached,
        fired=fired,
        queries=meter.calls["Query"],
        index_entries_read=meter.entries,
        orders_read=meter.orders,
        writes=meter.calls["UpdateItem"],
        messages=bench.queue.sent,
        read_units=meter.read_units,
        find_pairs_queries=finding[0],
        find_pairs_read_units=finding[1],
    )


@dataclass(frozen=True, slots=True)
class Attacked:
    """A neighbour beside one user's unfillable orders; read and write units of the orders table and its indexes.

    Attributes:
        neighbour_fired_in_beat: counted from 1.
        beats_until_all_are_aside: and what these beats cost together; each order's place is written once.
        quiet: a beat after that.
    """

    unfillable: int
    neighbour_fired_in_beat: int
    beats_until_all_are_aside: int
    read_units: float
    write_units: int
    quiet_read_units: float
    quiet_writes: int


async def _measure_attacked(unfillable: int) -> Attacked:
    with _bench() as bench:
        now, meter = bench.watch.clock.now_ms(), bench.meter
        bench.fill(_unfillable(unfillable, now))
        bench.fill(_resting(1, 1, now))
        await bench.watch.find_pairs()
        meter.read_units, beats, fired_in = 0, 0, 0
        meter.calls.clear()
        while meter.calls["UpdateItem"] <= unfillable:
            beats += 1
            if await bench.watch.beat(bench.watch.clock.now_ms() + _UNHURRIED_MS):
                fired_in = beats
        reads, writes = meter.read_units, meter.calls["UpdateItem"]
        await bench.watch.beat(bench.watch.clock.now_ms() + _UNHURRIED_MS)
    return Attacked(
        unfillable=unfillable,
        neighbour_fired_in_beat=fired_in,
        beats_until_all_are_aside=beats,
        read_units=reads,
        # One for the order, and two for its entry that moves within the index.
        write_units=3 * writes,
        quiet_read_units=meter.read_units - reads,
        quiet_writes=meter.calls["UpdateItem"] - writes,
    )


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--resting", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--triggers", type=int, nargs="+", default=[0, 10, 100])
    parser.add_argument("--unfillable", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/triggers.json")
    given = parser.parse_args()
    beats: list[Beat] = []
    titles = ("resting", "reached", "fired", "queries", "entries", "orders read", "read units")
    print(" ".join(f"{title:>11}" for title in titles))
    for resting in given.resting:
        for reached in given.triggers:
            started = time.monotonic()
            beat = asyncio.run(_measure(resting, reached))
            beats.append(beat)
            numbers = (resting, reached, beat.fired, beat.queries, beat.index_entries_read, beat.orders_read)
            line = " ".join(f"{number:>11}" for number in (*numbers, beat.read_units))
            print(f"{line}   ({time.monotonic() - started:.0f} s)", flush=True)
    attacked = asyncio.run(_measure_attacked(given.unfillable))
    for name, value in asdict(attacked).items():
        print(f"{name.replace('_', ' '):<28}{value:>12,}")
    if given.json:
        print(record("triggers", {"beats": [asdict(beat) for beat in beats], "attacked": asdict(attacked)}))
    return 0 if all(beat.fired == beat.triggers for beat in beats) else 1


if __name__ == "__main__":
    sys.exit(main())
