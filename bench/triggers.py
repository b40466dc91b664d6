"""What a beat of the price watcher reads, against how many orders rest and how many the price reaches.

The orders table is moto's, in this process; the resting orders are written past its API, which would take minutes.
Read units are computed from what the table returned, by DynamoDB's rules: a query is charged the sum of its items'
sizes in steps of 4 KB, half where it is eventually consistent; a consistent read of one item its size in whole steps.

python -m bench.triggers [--resting 1000 10000 100000] [--triggers 0 10 100] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import boto3
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends

from bench.machine import record
from order_engine.aws import codec
from order_engine.aws.orders import DynamoOrders
from order_engine.clock import SystemClock
from order_engine.domain import lifecycle
from order_engine.domain.amounts import SOL, USDC
from order_engine.domain.order import Order, OrderRef, OrderRequest
from order_engine.domain.quote import VENUES
from order_engine.engine.sweep import Sweep
from order_engine.venues.market import PaperMarket
from order_engine.venues.paper import PaperVenue

_REGION = "us-east-1"
_ACCOUNT = "123456789012"
_TABLE = "orders"
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": _REGION}


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
    read_units: float = 0

    def read(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls[model.name] += 1
        if model.name == "Query":
            self.entries += parsed["Count"]
            self.read_units += _steps(sum(map(_size, parsed["Items"]))) / 2
        elif model.name == "GetItem":
            self.read_units += _steps(_size(parsed.get("Item", {})))


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

    async def depth(self) -> dict[str, int]:
        return {}


class _Silent:
    """An observer that keeps nothing, but lets no failure pass."""

    def changed(self, order: Order) -> None:
        return None

    def noted(self, order_id: str, what: str, detail: str) -> None:
        raise RuntimeError(f"{what}: {detail}")


def _create(client: Any) -> None:
    names = ("user_id", "order_id", "work_pk", "work_sk")
    client.create_table(
        TableName=_TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        KeySchema=_keys("user_id", "order_id"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": "work",
                "KeySchema": _keys("work_pk", "work_sk"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    return [{"AttributeName": hash_key, "KeyType": "HASH"}, {"AttributeName": range_key, "KeyType": "RANGE"}]


def _fill(table: Any, number: int, price: int, now: int) -> None:
    """Limit orders of 1 SOL: at ``price`` USDC and up, a cent apart."""
    for position in range(number):
        limit = Decimal(price) + Decimal(position) / 100
        request = OrderRequest("limit", SOL.mint, USDC.mint, SOL.unit, 50, limit, now + 86_400_000)
        ref = OrderRef(f"user-{position % 997}", f"{price}-{position:07d}")
        table.put_item(codec.to_item(lifecycle.place(ref, request, "f", now)), overwrite=True)


async def _measure(resting: int, triggers: int) -> Beat:
    with mock_aws():
        client: Any = boto3.client("dynamodb")
        _create(client)
        table = dynamodb_backends[_ACCOUNT][_REGION].tables[_TABLE]
        clock = SystemClock()
        # The paper market trades SOL far below 100,000 USDC and far above 1.
        _fill(table, resting, 100_000, clock.now_ms())
        _fill(table, triggers, 1, clock.now_ms())
        meter = _Meter()
        client.meta.events.register("after-call.dynamodb", meter.read)
        queue, market = _Queue(), PaperMarket(1)
        venues = [PaperVenue(name, market, clock, 0) for name in VENUES]
        sweep = Sweep(DynamoOrders(client, _TABLE), queue, venues, clock, _Silent())
        # No beat of the sweeper is due but its first: it finds the pairs that have resting orders, then one watch.
        await sweep._find_resting_pairs()  # noqa: SLF001 - measured apart from the watch, which has no use for it
        finding = meter.calls["Query"], meter.read_units
        meter.calls.clear()
        meter.entries, meter.read_units = 0, 0
        fired = await sweep.watch()
    return Beat(
        resting=resting,
        triggers=triggers,
        fired=fired,
        queries=meter.calls["Query"],
        index_entries_read=meter.entries,
        orders_read=meter.calls["GetItem"],
        writes=meter.calls["UpdateItem"],
        messages=queue.sent,
        read_units=meter.read_units,
        find_pairs_queries=finding[0],
        find_pairs_read_units=finding[1],
    )


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--resting", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--triggers", type=int, nargs="+", default=[0, 10, 100])
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/triggers.json")
    given = parser.parse_args()
    os.environ.update(_ENVIRONMENT)
    beats: list[Beat] = []
    titles = ("resting", "reached", "fired", "queries", "entries", "orders read", "read units")
    print(" ".join(f"{title:>11}" for title in titles))
    for resting in given.resting:
        for triggers in given.triggers:
            started = time.monotonic()
            beat = asyncio.run(_measure(resting, triggers))
            beats.append(beat)
            numbers = (resting, triggers, beat.fired, beat.queries, beat.index_entries_read, beat.orders_read)
            line = " ".join(f"{number:>11}" for number in (*numbers, beat.read_units))
            print(f"{line}   ({time.monotonic() - started:.0f} s)", flush=True)
    if given.json:
        print(record("triggers", {"beats": [asdict(beat) for beat in beats]}))
    return 0 if all(beat.fired == beat.triggers for beat in beats) else 1


if __name__ == "__main__":
    sys.exit(main())
