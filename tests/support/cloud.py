"""The deployment's tables, queues and secret in moto, for tests of adapters and handlers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import boto3
from moto import mock_aws

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


_engine: DeployedEngine | None = None
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


def _table(name: str, hash_key: str, range_key: str | None = None, **more: Any) -> None:
    schema: list[Any] = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    if range_key is not None:
        schema.append({"AttributeName": range_key, "KeyType": "RANGE"})
    names = {key["AttributeName"] for key in schema}
    for index in more.get("GlobalSecondaryIndexes", ()):
        names |= {key["AttributeName"] for key in index["KeySchema"]}
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in sorted(names)],
        KeySchema=schema,
        **more,
    )


def _index(name: str, hash_key: str, range_key: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


@contextmanager
def deployed(**settings: str) -> Iterator[Resources]:
    """The resources, with the process's environment pointing at them. ``settings`` by environment name."""
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        "POWERTOOLS_DEV": "false",
        "QUOTE_DELAY_MS": "0",
        "LANDING_MIN_MS": "0",
        "LANDING_MAX_MS": "0",
        "LANDING_POLL_MS": "1",
        "FAILURE_RATE": "0",
        **settings,
    }
    before = dict(os.environ)
    os.environ.update(environment)
    global _engine
    try:
        with mock_aws():
            made = _make()
            for name in Resources.__dataclass_fields__:
                os.environ[name.upper()] = getattr(made, name)
            os.environ["WEBSOCKET_URL"] = "wss://socket.example/live"
            os.environ["CONNECTIONS_ENDPOINT"] = "https://socket.example/live"
            _engine = new_engine()
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        _engine = None


def _make() -> Resources:
    _table(
        "orders",
        "user_id",
        "order_id",
        GlobalSecondaryIndexes=[
            _index("by_time", "user_id", "by_time"),
            _index("work", "work_pk", "work_sk"),
            _index("expiry", "expiry_pk", "expiry_sk"),
            _index("by_status", "user_id", "by_status"),
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    _table(
        "connections",
        "user_id",
        "connection_id",
        GlobalSecondaryIndexes=[_index("ends", "ends_pk", "ends_sk")],
    )
    _table("accounts", "pk", "sk")
    _table("keys", "key_hash")
    sqs = boto3.client("sqs")
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("orders", "dead", "quarantine", "stream")}
    secret = boto3.client("secretsmanager").create_secret(Name="tickets", SecretString="a secret of this test")
    return Resources(
        "orders",
        "connections",
        "accounts",
        "keys",
        urls["orders"],
        urls["dead"],
        urls["quarantine"],
        urls["stream"],
        secret["ARN"],
    )


@dataclass(slots=True)
class Calls:
    """Calls by operation and table."""

    count: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted() -> Iterator[Calls]:
    """Count what this process asks of AWS from now on, by hooking into the deployed engine's clients."""
    calls = Calls()

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.count[f"{model.name} {params.get('TableName', '')}".strip()] += 1

    clients = engine().stores.clients
    for client in (clients.dynamodb, clients.sqs, clients.secrets):
        client.meta.events.register_first("provide-client-params", ask)
    yield calls
