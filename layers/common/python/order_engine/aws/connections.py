"""The connections table: one item per open socket, forgotten by its time to live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code
from order_engine.engine.ports import Connection, ConnectionGone

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]


def _key(user_id: str, connection_id: str) -> Item:
    return {"user_id": {"S": user_id}, "connection_id": {"S": connection_id}}


def _read(item: Item) -> Connection:
    return Connection(
        user_id=item["user_id"]["S"],
        connection_id=item["connection_id"]["S"],
        order_ids=frozenset(item.get("orders", {}).get("SS", ())),
        follows_all="everything" in item,
        single="single" in item,
        awaiting="awaiting" in item,
    )


class DynamoConnections:
    """``ConnectionStore`` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def add(self, connection: Connection, *, expires_at: int) -> None:
        item = _key(connection.user_id, connection.connection_id)
        item["expires_at"] = {"N": str(expires_at // 1000)}
        if connection.order_ids:
            item["orders"] = {"SS": sorted(connection.order_ids)}
        if connection.follows_all:
            item["everything"] = {"BOOL": True}
        if connection.single:
            item["single"] = {"BOOL": True}
        await call(self._client.put_item, TableName=self._table, Item=item)

    async def follow(self, user_id: str, connection_id: str, order_id: str | None) -> None:
        values: Item = {":true": {"BOOL": True}}
        if order_id is None:
            update = "SET awaiting = :true, everything = :true"
        else:
            update = "SET awaiting = :true ADD orders :order"
            values[":order"] = {"SS": [order_id]}
        await self._change(user_id, connection_id, UpdateExpression=update, ExpressionAttributeValues=values)

    async def answered(self, user_id: str, connection_id: str) -> None:
        await self._change(user_id, connection_id, UpdateExpression="REMOVE awaiting")

    async def _change(self, user_id: str, connection_id: str, **change: Any) -> None:
        """Change a known connection's item; one that was removed does not come back by it."""
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id, connection_id),
                ConditionExpression="attribute_exists(connection_id)",
                **change,
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                raise ConnectionGone(connection_id) from error
            raise

    async def remove(self, user_id: str, connection_id: str) -> None:
        await call(self._client.delete_item, TableName=self._table, Key=_key(user_id, connection_id))

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        found: list[Connection] = []
        start: Item = {}
        while True:
            answer = await call(
                self._client.query,
                TableName=self._table,
                KeyConditionExpression="user_id = :user",
                ExpressionAttributeValues={":user": {"S": user_id}},
                ConsistentRead=True,
                **start,
            )
            found += map(_read, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
