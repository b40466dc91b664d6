"""API keys: a table of their own, which nobody but operators may write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, items_of, old_item
from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import ApiKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

_HOUR_MS = 3_600_000
_MAX_REMEMBERED = 10_000
# BatchGetItem takes so many keys at once.
_BATCH = 100
# Where keys were until version 0.2: beside rates and statistics, under this prefix.
_FORMER = "key#"


def _to_item(key: ApiKey) -> Item:
    item: Item = {
        "key_hash": {"S": key.key_hash},
        "user_id": {"S": key.user_id},
        "scopes": {"SS": sorted(key.scopes)},
        "created_at": {"N": str(key.created_at)},
    }
    for name, number in (
        ("expires_at", key.expires_at),
        ("revoked_at", key.revoked_at),
        ("orders_per_minute", key.orders_per_minute),
        ("max_sockets", key.max_sockets),
        ("max_open_orders", key.max_open_orders),
    ):
        if number is not None:
            item[name] = {"N": str(number)}
    for name, text in (("name", key.name), ("created_by", key.created_by), ("revoked_by", key.revoked_by)):
        if text:
            item[name] = {"S": text}
    return item


def _from_item(item: Item, key_hash: str) -> ApiKey:
    def number(name: str) -> int | None:
        return int(item[name]["N"]) if name in item else None

    def text(name: str) -> str:
        value: str = item.get(name, {}).get("S", "")
        return value

    return ApiKey(
        key_hash=key_hash,
        user_id=item["user_id"]["S"],
        scopes=frozenset(item["scopes"]["SS"]),
        created_at=int(item["created_at"]["N"]),
        name=text("name"),
        expires_at=number("expires_at"),
        revoked_at=number("revoked_at"),
        orders_per_minute=number("orders_per_minute"),
        max_sockets=number("max_sockets"),
        max_open_orders=number("max_open_orders"),
        created_by=text("created_by"),
        revoked_by=text("revoked_by"),
    )


class DynamoKeys:
    """``KeyStore`` on DynamoDB.

    Args:
        former_table: the accounts table, where version 0.1 kept its keys. A key that ``adopt`` has not moved yet is
            still found there, so that an upgrade locks nobody out.
    """

    def __init__(self, client: DynamoDBClient, table: str, former_table: str | None = None) -> None:
        self._client = client
        self._table = table
        self._former_table = former_table

    async def find_key(self, key_hash: str) -> ApiKey | None:
        # Consistently: a key that was made, or revoked, a moment ago is so already.
        answer = await call(
            self._client.get_item, TableName=self._table, Key={"key_hash": {"S": key_hash}}, ConsistentRead=True
        )
        if "Item" in answer:
            return _from_item(answer["Item"], key_hash)
        return await self._find_former(key_hash) if self._former_table else None

    async def _find_former(self, key_hash: str) -> ApiKey | None:
        assert self._former_table
        answer = await call(
            self._client.get_item,
            TableName=self._former_table,
            Key={"pk": {"S": _FORMER + key_hash}, "sk": {"S": "key"}},
            ConsistentRead=True,
        )
        return _from_item(answer["Item"], key_hash) if "Item" in answer else None

    async def add_key(self, key: ApiKey) -> None:
        if not await self._put(key):
            raise InvalidInput("This key exists already.", field="key")

    async def _put(self, key: ApiKey) -> bool:
        """Whether it is new."""
        try:
            await call(
                self._client.put_item,
                TableName=self._table,
                Item=_to_item(key),
                ConditionExpression="attribute_not_exists(key_hash)",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            return False
        return True

    async def list_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        # A scan: keys are few, and only an operator lists them.
        found = [_from_item(item, item["key_hash"]["S"]) async for item in self._scan(TableName=self._table)]
        chosen = [key for key in found if user_id in (None, key.user_id)]
        return sorted(chosen, key=lambda key: (key.user_id, key.created_at))

    def _scan(self, **asked: Any) -> AsyncIterator[Item]:
        return items_of(self._client.scan, ConsistentRead=True, **asked)

    async def revoke_key(self, key_id: str, now: int, by: str) -> ApiKey | None:
        for key in await self.list_keys(None):
            if key.key_id == key_id:
                return await self._revoke(key, now, by)
        return None

    async def _revoke(self, key: ApiKey, now: int, by: str) -> ApiKey:
        try:
            answer = await call(
                self._client.update_item,
                TableName=self._table,
                Key={"key_hash": {"S": key.key_hash}},
                UpdateExpression="SET revoked_at = :now, revoked_by = :by",
                ConditionExpression="attribute_exists(key_hash) AND attribute_not_exists(revoked_at)",
                ExpressionAttributeValues={":now": {"N": str(now)}, ":by": {"S": by}},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            known = old_item(error)
            if error_code(error) != CONDITION_FAILED or known is None:
                raise
            return _from_item(known, key.key_hash)
        return _from_item(answer["Attributes"], key.key_hash)

    async def adopt(self) -> Sequence[ApiKey]:
        """Move the keys of version 0.1 here; which they were.

        Each is here before it is gone there, and one that is here already stays as it is: at every moment a key is
        found, and one that was revoked is not found valid. Done twice, or stopped half-way, it does no harm.
        """
        moved: list[ApiKey] = []
        if self._former_table is None:
            return moved
        former = self._scan(
            TableName=self._former_table,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": _FORMER}},
        )
        async for item in former:
            key = _from_item(item, item["pk"]["S"].removeprefix(_FORMER))
            await self._put(key)
            await call(self._client.delete_item, TableName=self._former_table, Key={"pk": item["pk"], "sk": item["sk"]})
            moved.append(key)
        return moved


class DynamoKeyUse:
    """``KeyUse`` in the accounts table, apart from the keys: who notes a use must not be able to write a key."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        # What is known to be stored, by key id: a hint only, the table decides.
        self._noted: dict[str, int] = {}

    async def note(self, key_id: str, now: int) -> None:
        if now - self._noted.get(key_id, 0) < _HOUR_MS:
            return
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                Key=_use(key_id),
                UpdateExpression="SET used_at = :now",
                # Another process may have noted it within the hour.
                ConditionExpression="attribute_not_exists(used_at) OR used_at <= :before",
                ExpressionAttributeValues={":now": {"N": str(now)}, ":before": {"N": str(now - _HOUR_MS)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            known = old_item(error)
            if error_code(error) != CONDITION_FAILED or known is None:
                raise
            self._remember(key_id, int(known["used_at"]["N"]))
        else:
            self._remember(key_id, now)

    def _remember(self, key_id: str, at: int) -> None:
        if len(self._noted) >= _MAX_REMEMBERED:
            self._noted.clear()
        self._noted[key_id] = at

    async def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        wanted = [_use(key_id) for key_id in dict.fromkeys(key_ids)]
        while wanted:
            batch, wanted = wanted[:_BATCH], wanted[_BATCH:]
            answer = await call(self._client.batch_get_item, RequestItems={self._table: {"Keys": batch}})
            for item in answer["Responses"][self._table]:
                found[item["pk"]["S"].removeprefix("used#")] = int(item["used_at"]["N"])
            left = answer.get("UnprocessedKeys", {})
            wanted += [dict(key) for key in left[self._table]["Keys"]] if self._table in left else []
        return found


def _use(key_id: str) -> Item:
    return {"pk": {"S": f"used#{key_id}"}, "sk": {"S": "key"}}
