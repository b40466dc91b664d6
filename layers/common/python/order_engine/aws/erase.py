"""Erase what is kept of a user: for an operator's command, which may be stopped and run again at any moment.

Nothing that is under way is erased: each order is deleted on the condition that it has ended. What the service itself
keeps for a time, the stream's records and the backups, goes with that time (docs/security.md).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, items_of
from order_engine.aws.receive import batches
from order_engine.domain import lifecycle
from order_engine.domain.errors import TooNew
from order_engine.domain.order import OrderRef
from order_engine.wire import messages

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

type Item = dict[str, Any]

_AT_ONCE = 25
_HIDDEN_S = 60
_POLL_S = 1


@dataclass(frozen=True, slots=True)
class Tables:
    """By name."""

    orders: str
    connections: str
    accounts: str
    keys: str


@dataclass(frozen=True, slots=True)
class Erased:
    """How much of each was erased: ``account`` are the items of rates, statistics and of when keys were used.

    Attributes:
        left: orders that are under way, which were not.
    """

    orders: int = 0
    sockets: int = 0
    account: int = 0
    keys: int = 0
    messages: int = 0
    left: int = 0


class Erase:
    """Everything of one user in the tables."""

    def __init__(self, client: DynamoDBClient, tables: Tables, user_id: str) -> None:
        self._client = client
        self._tables = tables
        self._user_id = user_id

    async def under_way(self) -> Sequence[OrderRef]:
        """The user's orders that have not ended, read consistently."""
        return [_ref(item) async for item in self._orders() if not _has_ended(item)]

    async def sockets(self) -> Sequence[str]:
        """The ids of the user's sockets."""
        found = self._of(self._tables.connections, "user_id", self._user_id)
        return [name async for item in found if "#" not in (name := item["connection_id"]["S"])]

    async def run(
        self, key_hashes: Sequence[str], key_ids: Sequence[str], progress: Callable[[Erased], None]
    ) -> Erased:
        """Erase it all: orders that have ended, sockets, what is known of the account, and last the keys.

        Args:
            key_hashes, key_ids: of the user's keys, which must be revoked already.
            progress: is told how much is gone so far.
        """
        done = Erased()
        async for deleted, kept in self._delete_orders():
            done = replace(done, orders=done.orders + deleted, left=done.left + kept)
            progress(done)
        sockets = [item async for item in self._of(self._tables.connections, "user_id", self._user_id)]
        await self._delete(self._tables.connections, sockets, ("user_id", "connection_id"))
        done = replace(done, sockets=len(sockets))
        account: list[Item] = []
        for pk in (f"rate#{self._user_id}", f"stats#{self._user_id}", *(f"used#{key_id}" for key_id in key_ids)):
            account += [item async for item in self._of(self._tables.accounts, "pk", pk)]
        await self._delete(self._tables.accounts, account, ("pk", "sk"))
        done = replace(done, account=len(account))
        progress(done)
        if done.left:
            # Whoever still has an order has a name here.
            return done
        keys = [{"key_hash": {"S": key_hash}} for key_hash in key_hashes]
        await self._delete(self._tables.keys, keys, ("key_hash",))
        return replace(done, keys=len(keys))

    async def _delete_orders(self) -> AsyncIterator[tuple[int, int]]:
        waiting: list[Item] = []
        async for item in self._orders():
            waiting.append(item)
            if len(waiting) == _AT_ONCE:
                yield await self._delete_ended(waiting)
                waiting = []
        yield await self._delete_ended(waiting)

    async def _delete_ended(self, items: Sequence[Item]) -> tuple[int, int]:
        gone = await asyncio.gather(*(self._delete_if_ended(item) for item in items))
        return sum(gone), len(items) - sum(gone)

    async def _delete_if_ended(self, item: Item) -> bool:
        ends = {f":s{number}": {"S": status.value} for number, status in enumerate(sorted(lifecycle.TERMINAL))}
        try:
            await call(
                self._client.delete_item,
                TableName=self._tables.orders,
                Key={"user_id": item["user_id"], "order_id": item["order_id"]},
                ConditionExpression=f"attribute_not_exists(order_id) OR #status IN ({', '.join(ends)})",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=ends,
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            return False
        return True

    def _orders(self) -> AsyncIterator[Item]:
        return self._of(
            self._tables.orders,
            "user_id",
            self._user_id,
            ProjectionExpression="#pk, order_id, #status",
            ExpressionAttributeNames={"#pk": "user_id", "#status": "status"},
        )

    def _of(self, table: str, key: str, value: str, **more: Any) -> AsyncIterator[Item]:
        """All items of a partition, read consistently."""
        return items_of(
            self._client.query,
            TableName=table,
            KeyConditionExpression="#pk = :pk",
            ExpressionAttributeNames={"#pk": key, **more.pop("ExpressionAttributeNames", {})},
            ExpressionAttributeValues={":pk": {"S": value}},
            ConsistentRead=True,
            **more,
        )

    async def _delete(self, table: str, items: Sequence[Item], key: Sequence[str]) -> None:
        for batch in batched(items, _AT_ONCE, strict=False):
            names = ({name: item[name] for name in key} for item in batch)
            await asyncio.gather(*(call(self._client.delete_item, TableName=table, Key=name) for name in names))


def _ref(item: Item) -> OrderRef:
    return OrderRef(item["user_id"]["S"], item["order_id"]["S"])


def _has_ended(item: Item) -> bool:
    return item.get("status", {}).get("S") in lifecycle.TERMINAL


async def erase_messages(client: SQSClient, url: str, user_id: str) -> int:
    """Delete a user's messages from a queue of what was set aside; the others are back at once. How many were deleted.

    Each look counts as a receive. What somebody else has just received is not seen: run it again.
    """
    deleted, others = 0, []
    async for received in batches(client, url, hidden_s=_HIDDEN_S, poll_s=_POLL_S):
        for message in received:
            if user_id in _users(message["Body"]):
                await call(client.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                deleted += 1
            else:
                others.append(message["ReceiptHandle"])
    for handle in others:
        await call(client.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    return deleted


def _users(body: str) -> set[str]:
    """Whom a message names: one of the order queue, or a record of the stream."""
    try:
        return {messages.decode(body).user_id}
    except (messages.Unreadable, TooNew):
        pass
    try:
        view = json.loads(body)["dynamodb"]
        images = [view[name] for name in ("Keys", "NewImage", "OldImage") if name in view]
        return {image["user_id"]["S"] for image in images if "user_id" in image}
    except (ValueError, KeyError, TypeError, RecursionError):
        return set()
