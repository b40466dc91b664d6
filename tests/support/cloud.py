"""The deployment's tables, queues and secret in simulated services, for tests of adapters and handlers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any
from unittest.mock import patch

import boto3

from infra.synth import template
from infra.tree import ROOT
from local.cloud import deployment as cloud
from local.cloud.services import Services
from order_engine.aws.stores import AwsStores
from order_engine.clock import SystemClock
from order_engine.compose import Engine, compose
from order_engine.engine.ports import Clock
from order_engine.settings import Settings
from order_engine.venues.markets import Paper


@dataclass(frozen=True, slots=True)
class Resources:
    """Names and addresses of what was made."""

    orders_table: str
    connections_table: str
    accounts_table: str
    keys_table: str
    orders_queue_url: str
    dead_letters_queue_url: str
    quarantine_queue_url: str
    stream_failures_queue_url: str
    ticket_secret_arn: str


# Nobody waits, and sockets have an address that says so.
_QUICK = {
    "POWERTOOLS_DEV": "false",
    "QUOTE_DELAY_MS": "0",
    "LANDING_MIN_MS": "0",
    "LANDING_MAX_MS": "0",
    "LANDING_POLL_MS": "1",
    "FAILURE_RATE": "0",
    "WEBSOCKET_URL": "wss://socket.example/live",
    "CONNECTIONS_ENDPOINT": "https://socket.example/live",
}
_engine: DeployedEngine | None = None
_services: Services | None = None
_clock: Clock = SystemClock()


@dataclass(eq=False, kw_only=True)
class DeployedEngine(Engine):
    """An engine whose stores are known to be AWS's."""

    stores: AwsStores


class _TestsClock:
    """The clock that is set, at every moment."""

    def now_ms(self) -> int:
        return _clock.now_ms()

    async def sleep(self, ms: int) -> None:
        await _clock.sleep(ms)


def engine() -> DeployedEngine:
    """The engine over what ``deployed`` has made."""
    assert _engine is not None, "nothing is deployed"
    return _engine


def new_engine() -> DeployedEngine:
    """Another one, as a new execution environment has."""
    settings, clock = Settings.load(), _TestsClock()
    made = compose(settings, clock=clock, market=Paper(settings, clock), stores=AwsStores(settings))
    return DeployedEngine(**{item.name: getattr(made, item.name) for item in fields(made)})


def set_clock(clock: Clock) -> Clock:
    """Set the time of all these engines; returns the clock that was."""
    global _clock
    former, _clock = _clock, clock
    return former


@cache
def _template() -> dict[str, Any]:
    return template(ROOT / "build")


@contextmanager
def deployed(**settings: str) -> Iterator[Resources]:
    """The stage's resources, empty, and this process's environment that of its functions, with ``settings``.

    What a test adds to the environment meanwhile goes with them.
    """
    global _engine, _services
    with patch.dict(os.environ), cloud.deployed(_template(), **{**_QUICK, **settings}) as made:
        _engine, _services = new_engine(), made.services
        try:
            yield resources()
        finally:
            _engine = _services = None


def services() -> Services:
    """What answers for AWS."""
    assert _services is not None, "nothing is deployed"
    return _services


def resources() -> Resources:
    """The names of what is deployed."""
    return Resources(**{field.name: os.environ[field.name.upper()] for field in fields(Resources)})


def stored(table: str = "orders") -> list[dict[str, Any]]:
    """All items of a table: of ``orders``, ``connections``, ``accounts`` or ``keys``."""
    return boto3.client("dynamodb").scan(TableName=getattr(resources(), f"{table}_table"))["Items"]


def ticket_secret() -> str:
    """What stream tickets are signed with."""
    arn = resources().ticket_secret_arn
    return boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]


@dataclass(slots=True)
class Calls:
    """Calls by operation and table."""

    count: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted() -> Iterator[Calls]:
    """Count what this process asks of AWS from now on, by hooking into the deployed engine's clients."""
    calls = Calls()
    tables = {name: field.removesuffix("_table") for field, name in asdict(resources()).items()}

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.count[f"{model.name} {tables.get(params.get('TableName', ''), '')}".strip()] += 1

    clients = engine().stores.clients
    for client in (clients.dynamodb, clients.sqs, clients.secrets):
        client.meta.events.register_first("provide-client-params", ask)
    yield calls
