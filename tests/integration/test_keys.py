"""API keys in DynamoDB: what it costs to check them, and what becomes of those that version 0.1 made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
from order_engine.engine.accounts import ApiKey, new_key
from order_engine.engine.rates import Rate
from tests.support.cloud import Resources, deployed, engine

NOW = 1_800_000_000_000


@pytest.fixture
def made() -> Iterator[Resources]:
    with deployed() as resources:
        yield resources


@pytest.fixture
def keys(made: Resources) -> DynamoKeys:
    return DynamoKeys(engine().stores.clients.dynamodb, made.keys_table, former_table=made.accounts_table)


class Counted:
    """A client that counts what it is asked."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return operation(**arguments)

        return call


def former(made: Resources, user: str, **more: Any) -> ApiKey:
    """A key as version 0.1 stored it."""
    _, key = new_key(user, NOW, name="bot", orders_per_minute=7)
    item = {
        "pk": {"S": f"key#{key.key_hash}"},
        "sk": {"S": "key"},
        "user_id": {"S": user},
        "scopes": {"SS": ["read", "trade"]},
        "created_at": {"N": str(NOW)},
        "name": {"S": "bot"},
        "orders_per_minute": {"N": "7"},
        **more,
    }
    boto3.client("dynamodb").put_item(TableName=made.accounts_table, Item=item)
    return key


async def test_a_former_key_is_found_until_it_is_moved_and_then_too(made: Resources, keys: DynamoKeys) -> None:
    alice, bob = former(made, "alice"), former(made, "bob")
    await engine().stores.rate_limiter.admit("alice", Rate(100, 100), NOW)
    assert await keys.find_key(alice.key_hash) == alice
    assert list(await keys.list_keys(None)) == []

    moved = await keys.adopt()

    assert {key.user_id for key in moved} == {"alice", "bob"}
    assert [await keys.find_key(key.key_hash) for key in (alice, bob)] == [alice, bob]
    assert list(await keys.list_keys("bob")) == [bob]
    left = boto3.client("dynamodb").scan(TableName=made.accounts_table)["Items"]
    assert [item["pk"]["S"] for item in left] == ["rate#alice"]
    assert await keys.adopt() == []


async def test_a_former_keys_revocation_is_kept_when_it_moves(made: Resources, keys: DynamoKeys) -> None:
    gone = former(made, "alice", revoked_at={"N": str(NOW + 1)})
    await keys.adopt()
    found = await keys.find_key(gone.key_hash)
    assert found is not None
    assert not found.valid(NOW + 1)


async def test_a_move_that_was_stopped_half_way_revives_nothing(made: Resources, keys: DynamoKeys) -> None:
    """Copied, revoked here, and the copy there not yet gone."""
    key = former(made, "alice")
    await keys.adopt()
    await keys.revoke_key(key.key_id, NOW + 1, "operator")
    boto3.client("dynamodb").put_item(
        TableName=made.accounts_table,
        Item={
            "pk": {"S": f"key#{key.key_hash}"},
            "sk": {"S": "key"},
            "user_id": {"S": "alice"},
            "scopes": {"SS": ["trade"]},
            "created_at": {"N": "1"},
        },
    )
    for _ in range(2):
        found = await keys.find_key(key.key_hash)
        assert found is not None
        assert found.revoked_at == NOW + 1
        await keys.adopt()


async def test_a_key_is_read_consistently(made: Resources) -> None:
    """A new key must be known at once, and a revoked one must not be known as valid a moment longer."""
    counted = Counted(engine().stores.clients.dynamodb)
    keys = DynamoKeys(counted, made.keys_table, former_table=made.accounts_table)  # type: ignore[arg-type]
    _, key = new_key("alice", NOW)
    await keys.find_key(key.key_hash)
    await keys.add_key(key)
    counted.calls.clear()
    await keys.find_key(key.key_hash)
    assert [(name, asked["ConsistentRead"]) for name, asked in counted.calls] == [("get_item", True)]


async def test_a_busy_key_costs_one_write_an_hour_and_process(made: Resources) -> None:
    counted = [Counted(engine().stores.clients.dynamodb) for _ in range(3)]
    processes = [DynamoKeyUse(client, made.accounts_table) for client in counted]  # type: ignore[arg-type]
    for minute in range(60):
        for process in processes:
            await process.note("a", NOW + minute * 60_000)
    assert sum(len(client.calls) for client in counted) == len(processes)
    assert await processes[0].last_used(["a"]) == {"a": NOW}


async def test_what_is_remembered_of_keys_is_bounded(made: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("order_engine.aws.keys._MAX_REMEMBERED", 5)
    use = DynamoKeyUse(engine().stores.clients.dynamodb, made.accounts_table)
    await asyncio.gather(*(use.note(str(n), NOW) for n in range(23)))
    assert len(use._noted) <= 5
    assert len(await use.last_used([str(n) for n in range(150)])) == 23
