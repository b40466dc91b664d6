"""The connections table: one item per open socket, forgotten by its time to live.

An item is small, and stays so: which orders a socket follows is a map of at most as many as it may follow. Beside the
sockets stands a mark for each key that was revoked lately, so that a socket that is just being opened with it is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, items_of, old_item
from order_engine.engine.ports import Connection, ConnectionGone, TooManyOrders

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

# A connection's id has no such character.
_REVOKED = "revoked#"
_ENDS = "ends"
# Text order is number order.
_DIGITS = 15


def _key(user_id: str, connection_id: str) -> Item:
    return {"user_id": {"S": user_id}, "connection_id": {"S": connection_id}}


def _moment(at: int) -> Item:
    return {"S": str(at).zfill(_DIGITS)}


def _read(item: Item) -> Connection:
    orders = {order_id: int(known["N"]) for order_id, known in item.get("followed", {}).get("M", {}).items()}
    # Sockets that version 0.1 opened, for the two hours that they live: nothing is known to have been sent to them.
    orders |= dict.fromkeys(item.get("orders", {}).get("SS", ()), 0)
    return Connection(
        user_id=item["user_id"]["S"],
        connection_id=item["connection_id"]["S"],
        orders=orders,
        follows_all="everything" in item,
        only=item.get("only", {}).get("S"),
        key_id=item.get("key_id", {}).get("S", ""),
        since=int(item.get("since", {}).get("N", 0)),
        ends_at=int(item["ends_sk"]["S"]) if "ends_sk" in item else None,
    )


class DynamoConnections:
    """``ConnectionStore`` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def add(self, connection: Connection, *, expires_at: int) -> None:
        item = _key(connection.user_id, connection.connection_id) | {
            "expires_at": {"N": str(expires_at // 1000)},
            "followed": {"M": {order_id: {"N": str(known)} for order_id, known in connection.orders.items()}},
            "since": {"N": str(connection.since)},
        }
        if connection.follows_all:
            item["everything"] = {"BOOL": True}
        if connection.only is not None:
            item["only"] = {"S": connection.only}
        if connection.key_id:
            item["key_id"] = {"S": connection.key_id}
        # The index has only sockets that end before they would anyway.
        if connection.ends_at is not None and connection.ends_at < expires_at:
            item |= {"ends_pk": {"S": _ENDS}, "ends_sk": _moment(connection.ends_at)}
        await call(self._client.put_item, TableName=self._table, Item=item)

    async def follow(self, user_id: str, connection_id: str, order_id: str, *, known: int, most: int, now: int) -> None:
        try:
            await self._change(
                user_id,
                connection_id,
                now,
                UpdateExpression="SET followed.#order = :known",
                extra="AND (attribute_exists(followed.#order) OR size(followed) < :most)",
                names={"#order": order_id},
                values={":known": {"N": str(known)}, ":most": {"N": str(most)}},
            )
        except _Refused as refused:
            if len(refused.item.get("followed", {}).get("M", ())) >= most and not _read(refused.item).ended(now):
                raise TooManyOrders(connection_id) from refused
            raise ConnectionGone(connection_id) from refused

    async def follow_all(self, user_id: str, connection_id: str, *, now: int) -> None:
        try:
            await self._change(
                user_id,
                connection_id,
                now,
                UpdateExpression="SET everything = :true",
                values={":true": {"BOOL": True}},
            )
        except _Refused as refused:
            raise ConnectionGone(connection_id) from refused

    async def unfollow(self, user_id: str, connection_id: str, order_ids: Collection[str]) -> None:
        names = {f"#o{n}": order_id for n, order_id in enumerate(order_ids)}
        if not names:
            return
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id, connection_id),
                UpdateExpression="REMOVE " + ", ".join(f"followed.{name}" for name in names),
                ConditionExpression="attribute_exists(followed)",
                ExpressionAttributeNames=names,
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise

    async def _change(
        self,
        user_id: str,
        connection_id: str,
        now: int,
        *,
        values: Item,
        extra: str = "",
        names: dict[str, str] | None = None,
        **change: Any,
    ) -> None:
        """Change a known connection's item; one that was removed does not come back by it, nor one that has ended."""
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id, connection_id),
                ConditionExpression=(
                    f"attribute_exists(connection_id) AND (attribute_not_exists(ends_sk) OR ends_sk > :now) {extra}"
                ),
                ExpressionAttributeValues={":now": _moment(now), **values},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **({"ExpressionAttributeNames": names} if names else {}),
                **change,
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                raise _Refused(old_item(error) or _key(user_id, connection_id)) from error
            raise

    async def remove(self, user_id: str, connection_id: str) -> None:
        await call(self._client.delete_item, TableName=self._table, Key=_key(user_id, connection_id))

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        sockets, revoked = await self._all(user_id)
        return [socket for socket in sockets if socket.key_id not in revoked]

    async def _all(self, user_id: str) -> tuple[list[Connection], set[str]]:
        """A user's sockets, and the keys of the user that were revoked lately."""
        sockets: list[Connection] = []
        revoked: set[str] = set()
        own = items_of(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="user_id = :user",
            ExpressionAttributeValues={":user": {"S": user_id}},
            ConsistentRead=True,
        )
        async for item in own:
            name = item["connection_id"]["S"]
            if name.startswith(_REVOKED):
                revoked.add(name.removeprefix(_REVOKED))
            else:
                sockets.append(_read(item))
        return sockets, revoked

    async def revoke(self, user_id: str, key_id: str, now: int, *, expires_at: int) -> Sequence[Connection]:
        mark = _key(user_id, _REVOKED + key_id) | {"expires_at": {"N": str(expires_at // 1000)}}
        await call(self._client.put_item, TableName=self._table, Item=mark)
        sockets, _ = await self._all(user_id)
        own = [socket for socket in sockets if socket.key_id == key_id]
        for socket in own:
            try:
                await call(
                    self._client.update_item,
                    TableName=self._table,
                    Key=_key(user_id, socket.connection_id),
                    UpdateExpression="SET ends_pk = :ends, ends_sk = :now",
                    ConditionExpression="attribute_exists(connection_id)",
                    ExpressionAttributeValues={":ends": {"S": _ENDS}, ":now": _moment(now)},
                )
            except ClientError as error:
                # Closed meanwhile.
                if error_code(error) != CONDITION_FAILED:
                    raise
        return own

    async def ended(self, now: int, *, limit: int) -> Sequence[Connection]:
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName=_ENDS,
            KeyConditionExpression="ends_pk = :ends AND ends_sk <= :now",
            ExpressionAttributeValues={":ends": {"S": _ENDS}, ":now": _moment(now)},
            Limit=limit,
        )
        return [_read(item) for item in answer["Items"]]


class _Refused(Exception):
    """The item does not meet the condition of a change; as far as there is one."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item
