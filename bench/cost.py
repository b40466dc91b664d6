"""What a market order costs: ``python -m bench.cost [--json]``.

Calls, units, frames and CPU time are counted on real runs of the handlers at the paper market's default delays, with
AWS answered from memory (``bench.account``). Dollars are those counts times the table of prices below.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.account import Invoked, running
from bench.orders import Run, market_orders
from infra.synth import template
from infra.tree import ROOT
from order_engine.domain.order import Status

# Dollars, us-east-1, November 2026, from the services' public price pages. Lambda is arm64; DynamoDB is on demand.
PRICES: Mapping[str, float] = {
    "http_request": 1.00e-6,
    "websocket_message": 1.00e-6,  # each 32 KB
    "websocket_minute": 0.25e-6,
    "write_unit": 0.625e-6,
    "read_unit": 0.125e-6,
    "sqs_request": 0.40e-6,
    "lambda_request": 0.20e-6,
    "lambda_gb_s": 13.3334e-6,
    "log_gb": 0.50,
}
# Lambda gives one whole processor at this memory and less in proportion.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
FULL_CPU_MB = 1769
# What one call takes on AWS that is answered from memory here. An assumption, the same for every design.
CALL_MS = 6.0
FUNCTIONS = ("submit.handler", "submit.authorizer", "process.handler", "notify.handler", "notify.socket")


@dataclass(frozen=True, slots=True)
class Counts:
    """One order's share of what was counted.

    Attributes:
        calls: AWS calls by function and operation.
        cpu_ms: by function; ours and boto3's, without AWS's side.
        gb_s: by function; waits at default delays, calls at ``CALL_MS`` each, CPU time at the memory's share.
    """

    orders: int
    calls: dict[str, dict[str, float]]
    write_units: float
    index_units: float
    read_units: float
    stream_records: float
    frames: float
    client_messages: float
    invocations: dict[str, float]
    cpu_ms: dict[str, float]
    gb_s: dict[str, float]
    log_bytes: float
    largest_item: int

    @property
    def all_write_units(self) -> float:
        return self.write_units + self.index_units


def count(run: Run, memory: Mapping[str, int]) -> Counts:
    """Divide a run by its orders."""
    number = len(run.orders)
    calls = [call for invocation in run.invocations for call in invocation.calls]
    by_function = {name: run.of(name) for name in FUNCTIONS}
    operations = {
        name: Counter(call.operation for invocation in found for call in invocation.calls)
        for name, found in by_function.items()
    }
    return Counts(
        orders=number,
        calls={name: {op: times / number for op, times in found.items()} for name, found in operations.items()},
        write_units=sum(call.write_units for call in calls) / number,
        index_units=sum(call.index_units for call in calls) / number,
        read_units=sum(call.read_units for call in calls) / number,
        stream_records=run.records / number,
        frames=run.frames / number,
        client_messages=run.client_messages / number,
        invocations={name: len(found) / number for name, found in by_function.items()},
        cpu_ms={name: sum(one.cpu_ms for one in found) / number for name, found in by_function.items()},
        gb_s={
            name: sum(_seconds(one, run, memory[name]) for one in found) * memory[name] / 1024 / number
            for name, found in by_function.items()
        },
        log_bytes=run.log_bytes / number,
        largest_item=max(call.item_bytes for call in calls),
    )


def _seconds(invocation: Invoked, run: Run, memory_mb: int) -> float:
    """How long an invocation would last on Lambda."""
    cpu_ms = invocation.cpu_ms * FULL_CPU_MB / memory_mb
    if invocation.function != "process.handler":
        return (cpu_ms + CALL_MS * len(invocation.calls)) / 1000
    # It lasts as long as its slowest order waits. The wall clock here holds our CPU time once already.
    return (invocation.wall_ms - invocation.cpu_ms + cpu_ms) / 1000


def dollars(counts: Counts) -> dict[str, float]:
    """Dollars per million orders, by what is charged."""
    minutes = 0.1 if counts.client_messages else 0.0
    lines = {
        "HTTP API": PRICES["http_request"],
        "WebSocket API": (counts.frames + counts.client_messages) * PRICES["websocket_message"]
        + minutes * PRICES["websocket_minute"],
        "DynamoDB writes": counts.all_write_units * PRICES["write_unit"],
        "DynamoDB reads": counts.read_units * PRICES["read_unit"],
        # One send; the batch is received and deleted together.
        "SQS": (1 + 2 * counts.invocations["process.handler"]) * PRICES["sqs_request"],
        "Lambda requests": sum(counts.invocations.values()) * PRICES["lambda_request"],
        "Lambda: worker": counts.gb_s["process.handler"] * PRICES["lambda_gb_s"],
        "Lambda: others": (sum(counts.gb_s.values()) - counts.gb_s["process.handler"]) * PRICES["lambda_gb_s"],
        "Logs": counts.log_bytes / 1e9 * PRICES["log_gb"],
    }
    return {name: 1e6 * value for name, value in lines.items()}


def synchronous(alone: Counts) -> dict[str, float]:
    """The plain design in the same terms: one function answers POST, waits for the swap, and pushes by itself.

    It has the same item, writes, frames and log, no queue, and no second function; it waits with 256 MB, alone.
    """
    lines = dollars(alone)
    spared = ("process.handler", "notify.handler")
    lines["SQS"] = 0.0
    lines["Lambda requests"] -= 1e6 * sum(alone.invocations[name] for name in spared) * PRICES["lambda_request"]
    lines["Lambda: others"] -= 1e6 * alone.gb_s["notify.handler"] * PRICES["lambda_gb_s"]
    return lines


SCENARIOS: Mapping[str, dict[str, Any]] = {
    "alone": {"batch_size": 1, "own_sockets": True},
    "busy": {"batch_size": 10, "own_sockets": True},
    "program": {"batch_size": 10, "own_sockets": False},
}
TITLES = {
    "synchronous": "plain synchronous design, own socket",
    "alone": "one order per invocation, own socket",
    "busy": "ten orders per invocation, own sockets",
    "program": "ten orders per invocation, one socket for all",
}


def measure(scenario: str, orders: int, **settings: str) -> Counts:
    """Run a scenario in a fresh account."""
    with running(template(ROOT / "build"), FAILURE_RATE="0", **settings) as account:
        memory = {name: account.function(name).memory_mb for name in FUNCTIONS}
        arguments = SCENARIOS[scenario]
        # The first run opens connections and imports what is imported late.
        market_orders(account, 1, batch_size=1)
        run = market_orders(account, orders, **arguments)
        assert all(order.status is Status.CONFIRMED for order in run.orders)
        return count(run, memory)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=20, help="orders of the two batched scenarios (default 20)")
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/cost.json")
    given = parser.parse_args(arguments)
    measured = {name: measure(name, 5 if name == "alone" else given.orders) for name in SCENARIOS}
    costs = {"synchronous": synchronous(measured["alone"])} | {name: dollars(found) for name, found in measured.items()}
    _print(measured, costs)
    if given.json:
        scenarios = {name: asdict(found) for name, found in measured.items()}
        path = machine.record("cost", {"scenarios": scenarios, "dollars_per_million": costs, "prices": PRICES})
        print(f"recorded in {path.relative_to(Path.cwd())}")
    return 0


def _print(measured: Mapping[str, Counts], costs: Mapping[str, Mapping[str, float]]) -> None:
    for name, counts in measured.items():
        print(f"\n{TITLES[name]} ({counts.orders} orders), for each order:")
        for function, operations in counts.calls.items():
            calls = ", ".join(f"{operation} {times:g}" for operation, times in sorted(operations.items()))
            cpu, often = counts.cpu_ms[function], counts.invocations[function]
            print(f"  {function:18} invoked {often:<5.2g} CPU {cpu:5.1f} ms   {calls or 'no calls'}")
        print(
            f"  write units {counts.write_units:g} + indexes {counts.index_units:g}, read units {counts.read_units:g}, "
            f"stream records {counts.stream_records:g}, frames {counts.frames:g}, log {counts.log_bytes:.0f} B, "
            f"largest item {counts.largest_item} B"
        )
    print("\ndollars per million orders")
    lines = list(next(iter(costs.values())))
    print(f"  {'':18}" + "".join(f"{name:>13}" for name in costs))
    for line in lines:
        print(f"  {line:18}" + "".join(f"{cost[line]:13.2f}" for cost in costs.values()))
    print(f"  {'total':18}" + "".join(f"{sum(cost.values()):13.2f}" for cost in costs.values()))


if __name__ == "__main__":
    sys.exit(main())
