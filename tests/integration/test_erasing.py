"""Erasing a user: everything of theirs, nothing of anybody else's, and nothing that is under way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner

from cli import main, operate, terminal
from local.cloud import events
from order_engine.aws import codec, erase
from order_engine.aws.connections import DynamoConnections
from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
from order_engine.aws.rates import DynamoRateLimiter
from order_engine.domain.order import OrderRef, Status
from order_engine.engine.accounts import new_key
from order_engine.engine.ports import Connection
from order_engine.engine.rates import Rate
from order_engine.wire import messages
from tests.support.cloud import Resources, deployed
from tests.support.orders import IN_STATUS, T0

ENDED = (Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED)
OUTPUTS = {
    "OrdersTable": "orders_table",
    "ConnectionsTable": "connections_table",
    "AccountsTable": "accounts_table",
    "KeysTable": "keys_table",
    "DeadLettersQueue": "dead_letters_queue_url",
    "QuarantineQueue": "quarantine_queue_url",
    "StreamFailuresQueue": "stream_failures_queue_url",
}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    with deployed() as made:
        monkeypatch.setattr(operate.Place, "output", lambda place, name: getattr(made, OUTPUTS[name]))
        monkeypatch.setattr(operate.Place, "close_sockets", lambda place, found: len(found))
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield made


def put(stage: Resources, user: str, order_id: str, status: Status) -> dict[str, Any]:
    item = codec.to_item(replace(IN_STATUS[status], ref=OrderRef(user, order_id)))
    boto3.client("dynamodb").put_item(TableName=stage.orders_table, Item=item)
    return item


def lives(stage: Resources, user: str) -> None:
    """Let a user leave traces everywhere."""
    client, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    for number in range(60):
        item = put(stage, user, f"order{number}", ENDED[number % 4])
    keys = DynamoKeys(client, stage.keys_table)
    for name in ("one", "two"):
        _, key = new_key(user, T0, name=name)
        asyncio.run(keys.add_key(key))
        asyncio.run(DynamoKeyUse(client, stage.accounts_table).note(key.key_id, T0))
    asyncio.run(DynamoRateLimiter(client, stage.accounts_table).admit(user, Rate(60, 10), T0))
    tally = {":n": {"N": "7"}}
    for lane in ("00", "07"):
        client.update_item(
            TableName=stage.accounts_table,
            Key={"pk": {"S": f"stats#{user}"}, "sk": {"S": lane}},
            UpdateExpression="ADD confirmed :n",
            ExpressionAttributeValues=tally,
        )
    socket = Connection(user, f"socket-of-{user}", since=T0)
    asyncio.run(DynamoConnections(client, stage.connections_table).add(socket, expires_at=T0 + 1))
    body = messages.encode(OrderRef(user, "order1"))
    for url in (stage.dead_letters_queue_url, stage.quarantine_queue_url):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    record = events.change(1, item)
    sqs.send_message(QueueUrl=stage.stream_failures_queue_url, MessageBody=json.dumps(record))


def traces(stage: Resources, user: str) -> list[str]:
    """Everything in tables and queues that names the user."""
    client, sqs = boto3.client("dynamodb"), boto3.client("sqs")
    found = []
    for table in (stage.orders_table, stage.connections_table, stage.accounts_table, stage.keys_table):
        found += [json.dumps(item, default=str) for item in client.scan(TableName=table)["Items"]]
    for url in (stage.dead_letters_queue_url, stage.quarantine_queue_url, stage.stream_failures_queue_url):
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        found += [message["Body"] for message in answer.get("Messages", [])]
    return [trace for trace in found if user in trace]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main.app, ["users", "erase", *arguments, "--stage", "dev"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_everything_of_the_user_goes_and_nothing_of_anybody_else(stage: Resources) -> None:
    lives(stage, "alice")
    lives(stage, "alison")
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=stage.quarantine_queue_url, MessageBody="whatever alice it was")
    others = len(traces(stage, "alison"))
    code, stdout, _ = run("alice", "--yes", "--json")
    assert code == terminal.OK
    assert json.loads(stdout) == {
        "orders": 60,
        # One, and a mark for each of the two keys.
        "sockets": 3,
        "account": 5,
        "keys": 2,
        "messages": 3,
        "left": 0,
    }
    assert traces(stage, "alice") == ["whatever alice it was"]
    assert len(traces(stage, "alison")) == others > 60
    # Done again, it finds nothing.
    code, stdout, _ = run("alice", "--yes", "--json")
    assert code == terminal.OK
    assert set(json.loads(stdout).values()) == {0}


@pytest.mark.parametrize("status", sorted(set(Status) - set(ENDED)))
def test_nothing_is_touched_while_an_order_is_under_way(stage: Resources, status: Status) -> None:
    lives(stage, "alice")
    put(stage, "alice", "moving", status)
    before = traces(stage, "alice")
    code, _, stderr = run("alice", "--yes")
    assert code == terminal.REFUSED
    assert "moving" in stderr
    assert sorted(traces(stage, "alice")) == sorted(before)


def test_an_order_that_comes_meanwhile_is_not_deleted_and_keeps_its_owners_name(stage: Resources) -> None:
    lives(stage, "alice")
    client = boto3.client("dynamodb")
    tables = erase.Tables(stage.orders_table, stage.connections_table, stage.accounts_table, stage.keys_table)
    keys = asyncio.run(DynamoKeys(client, stage.keys_table).list_keys("alice"))
    put(stage, "alice", "moving", Status.PENDING)
    seen: list[erase.Erased] = []
    hashes, ids = [key.key_hash for key in keys], [key.key_id for key in keys]
    done = asyncio.run(erase.Erase(client, tables, "alice").run(hashes, ids, seen.append))
    assert (done.orders, done.left, done.keys) == (60, 1, 0)
    assert [trace for trace in traces(stage, "alice") if "moving" in trace]
    assert [one.orders for one in seen] == sorted(one.orders for one in seen)


def test_a_run_that_was_stopped_is_gone_on_with(stage: Resources) -> None:
    lives(stage, "alice")

    def stop(erased: erase.Erased) -> None:
        raise KeyboardInterrupt

    client = boto3.client("dynamodb")
    tables = erase.Tables(stage.orders_table, stage.connections_table, stage.accounts_table, stage.keys_table)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(erase.Erase(client, tables, "alice").run([], [], stop))
    assert 0 < len([trace for trace in traces(stage, "alice") if '"order' in trace]) < 70
    code, stdout, _ = run("alice", "--yes", "--json")
    assert code == terminal.OK
    assert 0 < json.loads(stdout)["orders"] < 60
    assert traces(stage, "alice") == []


def test_it_asks_first(stage: Resources) -> None:
    lives(stage, "alice")
    before = len(traces(stage, "alice"))
    code, _, _ = run("alice")
    assert code != terminal.OK
    assert len(traces(stage, "alice")) == before


def test_a_user_of_whom_nothing_is_known_is_erased_without_an_error() -> None:
    with deployed() as made:
        client = boto3.client("dynamodb")
        tables = erase.Tables(made.orders_table, made.connections_table, made.accounts_table, made.keys_table)
        done = asyncio.run(erase.Erase(client, tables, "nobody").run([], [], lambda erased: None))
        assert done == erase.Erased()
