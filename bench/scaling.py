"""What binds first as orders grow: ``python -m bench.scaling [--json]``.

Rates from 100 orders a minute to 10 million a day, against default quotas and what one partition takes. An order's
share of each resource is what ``bench.cost`` has counted (bench/results/cost.json); quotas are AWS's defaults in
us-east-1. Peaks are ``PEAK`` times the day's mean.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench import machine
from bench.cost import FULL_CPU_MB

# A trading day is not flat.
PEAK = 4
WAIT_S = 2.9
# A user who places as many orders as the default rate limit allows.
USER_PER_S = 100 / 60


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota.

    Attributes:
        per_order: what one order takes of it, in units per second at one order a second.
        limit: what there is.
        then: what to change when it binds.
    """

    name: str
    per_order: float
    limit: float
    then: str

    @property
    def orders_per_s(self) -> float:
        return self.limit / self.per_order


@dataclass(frozen=True, slots=True)
class Shape:
    """How the engine is deployed: the knobs that the first bottlenecks are turned with.

    ``stream_shards`` follow the table's partitions: a new table on demand has four, and DynamoDB splits them as writes
    grow. One invocation reads a shard at a time, since statistics count in the stream's order.
    """

    concurrency: int = 10
    batch_size: int = 10
    active_shards: int = 4
    notify_memory_mb: int = 256
    stream_shards: int = 4


def limits(shape: Shape, counts: dict[str, float]) -> list[Limit]:
    """Everything that an order takes a share of. ``counts`` are one order's, of the scenario "busy"."""
    batch_s = WAIT_S + shape.batch_size * counts["cpu_ms"] / 1000 * FULL_CPU_MB / 256
    pushes_per_s = shape.stream_shards * 1000 / (counts["notify_ms"] * FULL_CPU_MB / shape.notify_memory_mb)
    return [
        Limit(
            "workers: concurrent invocations",
            batch_s / shape.batch_size,
            shape.concurrency,
            "raise reservedConcurrency (up to 1000 by the event source)",
        ),
        Limit("stream: one invocation per shard", 1, pushes_per_s, "more memory for Notify; shards split with writes"),
        Limit("index work: one partition, 1000 WRU/s", 2 / shape.active_shards, 1000, "more active shards"),
        Limit("account: 1000 concurrent invocations", batch_s / shape.batch_size + 0.35, 1000, "quota increase"),
        Limit("route that places orders: throttle of this stack", 1, 500, "raise apiRateLimit"),
        Limit("WebSocket: new connections", 1, 500, "one socket for all orders of a client; quota increase"),
        Limit("@connections: account's 10,000 requests/s", counts["frames"] + 1, 10_000, "quota increase"),
        Limit(
            "orders table: 40,000 WRU/s on demand",
            counts["write_units"] + counts["index_units"],
            40_000,
            "quota increase; warm throughput for a sudden start",
        ),
        Limit("SQS: nearly unlimited; 120,000 in flight", batch_s, 120_000, "quota increase"),
    ]


# The deployment grows by the knob that binds; each step is the one that carries the next rate.
STEPS: tuple[tuple[str, float, Shape], ...] = (
    ("100 a minute", 100 / 60, Shape()),
    ("1,000 a minute", 1000 / 60, Shape()),
    ("100,000 a day, peak", 100_000 / 86_400 * PEAK, Shape()),
    ("1 million a day, peak", 1_000_000 / 86_400 * PEAK, Shape(concurrency=50)),
    (
        "10 million a day, peak",
        10_000_000 / 86_400 * PEAK,
        Shape(concurrency=400, notify_memory_mb=1769, stream_shards=8),
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One step: the rate, the shape that carries it, and what binds next."""

    name: str
    orders_per_s: float
    shape: Shape
    binds: str
    at_orders_per_s: float
    then: str
    users_needed: int

    @property
    def holds(self) -> bool:
        return self.at_orders_per_s >= self.orders_per_s


def table(counts: dict[str, float]) -> list[Row]:
    """For each step, the limit that is nearest."""
    rows = []
    for name, rate, shape in STEPS:
        nearest = min(limits(shape, counts), key=lambda limit: limit.orders_per_s)
        rows.append(
            Row(name, rate, shape, nearest.name, nearest.orders_per_s, nearest.then, math.ceil(rate / USER_PER_S))
        )
    return rows


def measured() -> dict[str, float]:
    """One order's share, from the recorded cost bench."""
    busy = json.loads((machine.RESULTS / "cost.json").read_text())["scenarios"]["busy"]
    return {
        "cpu_ms": busy["cpu_ms"]["process.handler"],
        "notify_ms": busy["cpu_ms"]["notify.handler"],
        "write_units": busy["write_units"],
        "index_units": busy["index_units"],
        "frames": busy["frames"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/scaling.json")
    given = parser.parse_args(arguments)
    counts = measured()
    rows = table(counts)
    print(f"{'rate':24}{'orders/s':>9} {'users':>6}  {'conc.':>5} {'notify':>6}  binds next, at orders/s")
    for row in rows:
        shape = row.shape
        mark = "" if row.holds else "  << does not hold"
        print(
            f"{row.name:24}{row.orders_per_s:9.1f} {row.users_needed:6}  "
            f"{shape.concurrency:5} {shape.notify_memory_mb:6}  "
            f"{row.binds} at {row.at_orders_per_s:.0f}: {row.then}{mark}"
        )
    print("\nas deployed by default, in the order in which they bind:")
    for limit in sorted(limits(Shape(), counts), key=lambda limit: limit.orders_per_s):
        print(f"  {limit.orders_per_s:10.0f} orders/s  {limit.name}: {limit.then}")
    if given.json:
        machine.record("scaling", {"counts": counts, "rows": [{**asdict(row), "holds": row.holds} for row in rows]})
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
