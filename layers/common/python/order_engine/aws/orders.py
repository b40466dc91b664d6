"""The orders table."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws import codec
from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.ports import Conflict, OrderExists, Page

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_GET = 100
_MAX_PAGES = 20


def _same(stored: Order, new: Order) -> bool:
    """Whether a write that failed its condition had in fact been made by an earlier try of the same call."""
    return (
        stored.seq == new.seq
        and stored.version == new.version
        and stored.lease == new.lease
        and stored.events[-1] == new.events[-1]
    )


class DynamoOrders:
    """``OrderStore`` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def create(self, order: Order) -> None:
        try:
            await call(
                self._client.put_item,
                TableName=self._table,
                Item=codec.to_item(order),
                ConditionExpression="attribute_not_exists(order_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            item = old_item(error)
            if item is None:
                raise
            current = codec.from_item(item)
            if current == order:
                # An earlier try of this call had stored it.
                return
            raise OrderExists(current) from error

    async def get(self, ref: OrderRef) -> Order | None:
        answer = await call(self._client.get_item, TableName=self._table, Key=codec.key_of(ref), ConsistentRead=True)
        item = answer.get("Item")
        return codec.from_item(item) if item else None

    async def replace(self, old: Order, new: Order) -> None:
        await self._update(old, new, own_write=lambda stored: _same(stored, new))

    async def mark_resent(self, order: Order, now: int) -> None:
        new = dataclasses.replace(order, resent_at=now, resends=order.resends + 1)
        await self._update(order, new, own_write=lambda stored: stored.resent_at == now and stored.seq == order.seq)

    async def _update(self, old: Order, new: Order, *, own_write: Callable[[Order], bool]) -> None:
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **codec.update_of(old, new),
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            item = old_item(error)
            stored = codec.from_item(item) if item else None
            if stored is not None and own_write(stored):
                return
            raise Conflict(stored) from error

    async def page(self, user_id: str, *, limit: int, after: str | None, status: Status | None) -> Page:
        found: list[Order] = []
        for _ in range(_MAX_PAGES):
            query: dict[str, Any] = {
                "TableName": self._table,
                "IndexName": "by_time",
                "KeyConditionExpression": "user_id = :user",
                "ExpressionAttributeValues": {":user": {"S": user_id}},
                "ScanIndexForward": False,
                "Limit": limit + 1 if status is None else _BATCH_GET,
            }
            if after is not None:
                query["KeyConditionExpression"] += " AND by_time < :after"
                query["ExpressionAttributeValues"][":after"] = {"S": after}
            answer = await call(self._client.query, **query)
            keys = answer["Items"]
            orders = await self._read_all([OrderRef(user_id, item["order_id"]["S"]) for item in keys])
            for order in orders:
                if status is None or order.status is status:
                    found.append(order)
                if len(found) > limit:
                    last = found[limit - 1]
                    return Page(tuple(found[:limit]), codec.time_key(last.created_at, last.ref.order_id))
            if not keys or "LastEvaluatedKey" not in answer:
                return Page(tuple(found), None)
            after = keys[-1]["by_time"]["S"]
        return Page(tuple(found), after)

    async def _read_all(self, refs: Sequence[OrderRef]) -> list[Order]:
        """Orders by key, in the order asked for; those that are gone are left out."""
        found: dict[OrderRef, Order] = {}
        for start in range(0, len(refs), _BATCH_GET):
            pending: Any = {
                self._table: {
                    "Keys": [codec.key_of(ref) for ref in refs[start : start + _BATCH_GET]],
                    "ConsistentRead": True,
                }
            }
            for attempt in range(5):
                answer = await call(self._client.batch_get_item, RequestItems=pending)
                for item in answer["Responses"].get(self._table, []):
                    order = codec.from_item(item)
                    found[order.ref] = order
                pending = answer.get("UnprocessedKeys")
                if not pending:
                    break
                await asyncio.sleep(0.05 * 2**attempt)
            else:
                raise TimeoutError("The orders table did not answer for all keys.")
        return [found[ref] for ref in refs if ref in found]

    async def any_waiting(self) -> bool:
        # The index is sparse: whatever is in it is active or rests. A page may be empty without being the last.
        start: Any = {}
        for _ in range(_MAX_PAGES):
            answer = await call(self._client.scan, TableName=self._table, IndexName="work", Limit=1, **start)
            if answer["Items"]:
                return True
            if "LastEvaluatedKey" not in answer:
                return False
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return True

    async def active(self, *, created_before: int, limit: int) -> Sequence[OrderRef]:
        shards = await asyncio.gather(
            *(
                self._refs("work", f"active#{number}", codec.time_key(created_before), limit)
                for number in range(codec.ACTIVE_SHARDS)
            )
        )
        return [ref for refs in shards for ref in refs]

    async def crossed(self, mint_in: str, mint_out: str, price: Decimal, *, limit: int) -> Sequence[OrderRef]:
        # "~" sorts after "#", so that orders at exactly this price are included.
        return await self._refs("work", codec.trigger_partition(mint_in, mint_out), codec.price_key(price) + "~", limit)

    async def expiring(self, *, now: int, limit: int) -> Sequence[OrderRef]:
        shards = await asyncio.gather(
            *(
                self._refs("expiry", f"expiry#{number}", codec.time_key(now) + "~", limit)
                for number in range(codec.EXPIRY_SHARDS)
            )
        )
        return [ref for refs in shards for ref in refs]

    async def _refs(self, index: str, partition: str, upto: str, limit: int) -> list[OrderRef]:
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression=f"{index}_pk = :pk AND {index}_sk <= :upto",
            ExpressionAttributeValues={":pk": {"S": partition}, ":upto": {"S": upto}},
            Limit=limit,
        )
        return [OrderRef(item["user_id"]["S"], item["order_id"]["S"]) for item in answer["Items"]]
