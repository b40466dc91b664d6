"""Counts what this process asks of AWS, by hooking into every client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from order_engine.aws import clients


@dataclass(slots=True)
class Calls:
    """Calls by operation, and consumed capacity units by operation and table."""

    count: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def reset(self) -> None:
        self.count.clear()
        self.units.clear()


@contextmanager
def counted() -> Iterator[Calls]:
    """Count until the block ends. The clients must be of this process, and made anew for each test."""
    calls = Calls()

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.count[f"{model.name} {params.get('TableName', '')}".strip()] += 1
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def read(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        used = parsed.get("ConsumedCapacity")
        for item in used if isinstance(used, list) else [used] if used else []:
            calls.units[f"{model.name} {item['TableName']}"] += item["CapacityUnits"]

    for client in (clients.dynamodb(), clients.sqs(), clients.secrets()):
        client.meta.events.register_first("provide-client-params", ask)
        client.meta.events.register("after-call", read)
    yield calls
