"""The client that lags lags, or every test that stands on it would prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.contract.lagging import PAGE, LaggingClient
from tests.support.cloud import deployed, resources


def item(number: int, value: str) -> dict[str, Any]:
    return {"user_id": {"S": "user"}, "connection_id": {"S": str(number)}, "value": {"S": value}}


def key(number: int) -> dict[str, Any]:
    return {name: value for name, value in item(number, "").items() if name != "value"}


@pytest.fixture
def client() -> Iterator[LaggingClient]:
    with deployed():
        yield LaggingClient(boto3.client("dynamodb"))


def test_a_consistent_read_sees_the_last_write_and_another_does_not(client: LaggingClient) -> None:
    client.put_item(TableName=resources().connections_table, Item=item(1, "old"))
    assert client.get_item(TableName=resources().connections_table, Key=key(1)) == {}
    assert client.get_item(TableName=resources().connections_table, Key=key(1), ConsistentRead=True)["Item"] == item(
        1, "old"
    )
    client.put_item(TableName=resources().connections_table, Item=item(1, "new"))
    assert client.get_item(TableName=resources().connections_table, Key=key(1))["Item"] == item(1, "old")
    client.delete_item(TableName=resources().connections_table, Key=key(1))
    assert client.get_item(TableName=resources().connections_table, Key=key(1))["Item"] == item(1, "new")
    client.catch_up()
    assert client.get_item(TableName=resources().connections_table, Key=key(1)) == {}


def test_lists_and_batches_lag_too_and_end_early(client: LaggingClient) -> None:
    for number in range(PAGE + 2):
        client.put_item(TableName=resources().connections_table, Item=item(number, "old"))
    client.catch_up()
    client.put_item(TableName=resources().connections_table, Item=item(0, "new"))
    query: dict[str, Any] = {
        "TableName": resources().connections_table,
        "KeyConditionExpression": "user_id = :user",
        "ExpressionAttributeValues": {":user": {"S": "user"}},
    }
    lagging, consistent = client.query(**query), client.query(**query, ConsistentRead=True)
    assert [found["value"]["S"] for found in lagging["Items"]] == ["old"] * PAGE
    assert [found["value"]["S"] for found in consistent["Items"]] == ["new", "old", "old"]
    assert "LastEvaluatedKey" in consistent
    keys = [key(0), key(1), key(2)]
    batch = client.batch_get_item(RequestItems={resources().connections_table: {"Keys": keys}})
    assert {found["value"]["S"] for found in batch["Responses"][resources().connections_table]} == {"old"}
    assert batch["UnprocessedKeys"] == {resources().connections_table: {"Keys": [key(2)]}}
    batch = client.batch_get_item(RequestItems={resources().connections_table: {"Keys": keys, "ConsistentRead": True}})
    assert {found["value"]["S"] for found in batch["Responses"][resources().connections_table]} == {"old", "new"}
