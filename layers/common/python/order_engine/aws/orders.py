"""The orders table."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws import codec, indexes
from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.ports import Conflict, Listing, OrderExists, Page, SetAside

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

_BATCH_GET = 100
_BATCH_TRIES = 5
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
                    return Page(tuple(found[:limit]), indexes.time_key(last.created_at, last.ref.order_id))
            if not keys or "LastEvaluatedKey" not in answer:
                return Page(tuple(found), None)
            after = keys[-1]["by_time"]["S"]
        return Page(tuple(found), after)

    async def _read_all(self, refs: Sequence[OrderRef]) -> list[Order]:
        """Orders by key, in the order asked for; those that are gone are left out."""
        found = {order.ref: order for order in map(codec.from_item, await self._items(refs))}
        return [found[ref] for ref in refs if ref in found]

    async def _items(self, refs: Sequence[OrderRef]) -> list[Item]:
        """The items of these keys, in any order."""
        pages = await asyncio.gather(*(self._batch(batch) for batch in batched(refs, _BATCH_GET, strict=False)))
        return [item for page in pages for item in page]

    async def _batch(self, refs: Sequence[OrderRef]) -> list[Item]:
        """One batch, asked for again as long as the service answers for some of what is left."""
        found: list[Item] = []
        pending: Any = {self._table: {"Keys": [codec.key_of(ref) for ref in refs], "ConsistentRead": True}}
        in_vain = 0
        while in_vain < _BATCH_TRIES:
            before = len(pending[self._table]["Keys"])
            answer = await call(self._client.batch_get_item, RequestItems=pending)
            found += answer["Responses"].get(self._table, [])
            pending = answer.get("UnprocessedKeys")
            if not pending:
                return found
            in_vain = in_vain + 1 if len(pending[self._table]["Keys"]) == before else 0
            await asyncio.sleep(0.05 * 2**in_vain)
        raise TimeoutError("The orders table did not answer for all keys.")

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

    async def get_many(self, refs: Sequence[OrderRef]) -> Mapping[OrderRef, Order | Exception]:
        found: dict[OrderRef, Order | Exception] = {}
        for item in await self._items(refs):
            try:
                order = codec.from_item(item)
            except codec.Corrupt as error:
                found[codec.ref_of(item)] = error
            else:
                found[order.ref] = order
        return found

    async def count_living(self, user_id: str, *, limit: int) -> int:
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName="living",
            KeyConditionExpression="user_id = :user",
            ExpressionAttributeValues={":user": {"S": user_id}},
            Select="COUNT",
            Limit=limit,
        )
        return answer["Count"]

    async def active(self, *, created_before: int, after: str | None, limit: int) -> Listing[OrderRef]:
        partitions = [f"active#{number}" for number in range(indexes.ACTIVE_SHARDS)]
        return await self._sharded("work", partitions, indexes.time_key(created_before), after, limit)

    async def expiring(self, *, now: int, after: str | None, limit: int) -> Listing[OrderRef]:
        partitions = [f"expiry#{number}" for number in range(indexes.EXPIRY_SHARDS)]
        # "~" sorts after "#", so that orders at exactly this time are included.
        return await self._sharded("expiry", partitions, indexes.time_key(now) + "~", after, limit)

    async def rests(self, mint_in: str, mint_out: str) -> bool:
        items, _ = await self._query("work", indexes.trigger_partition(mint_in, mint_out), "", "~", 1)
        return bool(items)

    async def crossed(
        self, mint_in: str, mint_out: str, price: Decimal, *, after: str | None, limit: int
    ) -> Listing[OrderRef]:
        partition, upto = indexes.trigger_partition(mint_in, mint_out), indexes.price_key(price) + "~"
        items, last = await self._query("work", partition, after or "", upto, limit)
        return Listing(tuple(map(codec.ref_of, items)), last)

    async def set_aside(self, mint_in: str, mint_out: str, *, after: str | None, limit: int) -> Listing[SetAside]:
        partition = indexes.trigger_partition(mint_in, mint_out)
        first, last = indexes.ASIDE_BOUNDS
        items, place = await self._query("work", partition, after or first, last, limit)
        prices = ((codec.ref_of(item), indexes.aside_price(item["work_sk"]["S"])) for item in items)
        return Listing(tuple(SetAside(ref, price) for ref, price in prices if price is not None), place)

    async def _sharded(
        self, index: str, partitions: Sequence[str], upto: str, after: str | None, limit: int
    ) -> Listing[OrderRef]:
        """A page of each partition that has not been read to its end yet."""
        places = indexes.split_places(after, len(partitions))

        async def one(partition: str, place: str | None) -> tuple[list[Item], str | None]:
            return ([], None) if place is None else await self._query(index, partition, place, upto, limit)

        pages = await asyncio.gather(*map(one, partitions, places))
        refs = tuple(codec.ref_of(item) for items, _ in pages for item in items)
        return Listing(refs, indexes.join_places([place for _, place in pages]))

    async def _query(
        self, index: str, partition: str, after: str, upto: str, limit: int
    ) -> tuple[list[Item], str | None]:
        """Entries of a partition behind a key, and the last one's key if there may be more."""
        behind = indexes.after_key(after)
        if behind > upto:
            # The bound has come back since that key was seen. The service takes no range that ends before it begins.
            return [], None
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression=f"{index}_pk = :pk AND {index}_sk BETWEEN :after AND :upto",
            ExpressionAttributeValues={
                ":pk": {"S": partition},
                ":after": {"S": behind},
                ":upto": {"S": upto},
            },
            Limit=limit,
        )
        items = answer["Items"]
        return items, items[-1][f"{index}_sk"]["S"] if items and "LastEvaluatedKey" in answer else None
