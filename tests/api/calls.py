"""Counts what this process asks of AWS, by hooking into every client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.integration.aws import engine


@dataclass(slots=True)
class Calls:
    """Calls by operation and table."""

    count: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted() -> Iterator[Calls]:
    """Count until the block ends. The clients must be of this process, and made anew for each test."""
    calls = Calls()

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.count[f"{model.name} {params.get('TableName', '')}".strip()] += 1

    clients = engine().stores.clients
    for client in (clients.dynamodb, clients.sqs, clients.secrets):
        client.meta.events.register_first("provide-client-params", ask)
    yield calls
