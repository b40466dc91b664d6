"""The orders table."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws import codec, indexes
from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.domain import lifecycle
from order_engine.domain.errors import TooNew
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.listing import examined
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Places:
    """Where orders are in an index, newest first, as time keys; ``after`` if there may be more behind them."""

    keys: list[str]
    after: str | None


class DynamoOrders:
    """``OrderStore`` on DynamoDB.

    Args:
        keep_days: ended orders are deleted so many days after their end; 0 keeps them.

    Attributes:
        places_read: how many places of active orders are looked at for one user's.
    """

    places_read = 1000

    def __init__(self, client: DynamoDBClient, table: str, keep_days: int = 0) -> None:
        self._client = client
        self._table = table
        self._keep_days = keep_days

    async def create(self, order: Order) -> None:
        # What this call alone knows: the same request twice within a millisecond makes equal orders, and who comes
        # second must be told so.
        mark = {"S": secrets.token_hex(4)}
        try:
            await call(
                self._client.put_item,
                TableName=self._table,
                Item=codec.to_item(order) | {"creation": mark},
                ConditionExpression="attribute_not_exists(order_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            item = old_item(error)
            if item is None:
                raise
            if item.get("creation") == mark:
                # An earlier try of this call had stored it.
                return
            raise OrderExists(codec.from_item(item)) from error

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
                **codec.update_of(old, new, keep_days=self._keep_days),
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
        most = examined(status, limit)
        if status is None or status is Status.CONFIRMED:
            places = await self._places("by_time", user_id, after, most)
        elif status in lifecycle.UNDER_WAY:
            places = await self._active_places(user_id, after, most)
        else:
            places = await self._places("by_status", user_id, after, most, indexes.status_key(status))
        orders = await self._read_all([OrderRef(user_id, place.partition("#")[2]) for place in places.keys])
        found = [order for order in orders if status in (None, order.status)]
        if len(found) > limit:
            last = found[limit - 1]
            return Page(tuple(found[:limit]), indexes.time_key(last.created_at, last.ref.order_id))
        return Page(tuple(found), places.after)

    async def _places(self, index: str, user_id: str, after: str | None, most: int, prefix: str = "") -> _Places:
        """A user's places in an index, newest first: time keys, each with ``prefix`` before it in the index."""
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression=f"user_id = :user AND {index} BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":user": {"S": user_id},
                # Digits lie between "/" and ":". The range includes its bounds.
                ":first": {"S": f"{prefix}/"},
                ":last": {"S": f"{prefix}{after or ':'}"},
            },
            ScanIndexForward=False,
            Limit=most + 2,
        )
        keys = [item[index]["S"].removeprefix(prefix) for item in answer["Items"]]
        keys = [key for key in keys if key != after]
        more = len(keys) > most or "LastEvaluatedKey" in answer
        return _Places(keys[:most], keys[:most][-1] if more and keys else None)

    async def _active_places(self, user_id: str, after: str | None, most: int) -> _Places:
        """The same of a user's orders that are under way, which share an index partition with other users'."""
        answer = await self._of_active(user_id, after)
        keys = [item["work_sk"]["S"] for item in answer["Items"]]
        if len(keys) > most:
            return _Places(keys[:most], keys[most - 1])
        if "LastEvaluatedKey" not in answer:
            return _Places(keys, None)
        # The place where it stopped may be of another user, whose order this one must not learn of. It begins again
        # with the whole millisecond, and leaves that one's orders to the next page.
        moment = int(answer["LastEvaluatedKey"]["work_sk"]["S"].partition("#")[0])
        upto = indexes.time_key(moment + 1)
        if after is not None and upto >= after:
            upto = indexes.time_key(moment)
        return _Places([key for key in keys if key >= upto], upto)

    async def _of_active(self, user_id: str, after: str | None, **more: Any) -> Any:
        return await call(
            self._client.query,
            TableName=self._table,
            IndexName="work",
            KeyConditionExpression="work_pk = :pk AND work_sk < :after",
            FilterExpression="user_id = :user",
            ExpressionAttributeValues={
                ":pk": {"S": indexes.active_partition(user_id)},
                ":after": {"S": after or ":"},
                ":user": {"S": user_id},
            },
            ScanIndexForward=False,
            Limit=self.places_read,
            **more,
        )

    async def count_active(self, user_id: str) -> int:
        answer = await self._of_active(user_id, None, Select="COUNT")
        return int(answer["Count"])

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
            except (codec.Corrupt, TooNew) as error:
                found[codec.ref_of(item)] = error
            else:
                found[order.ref] = order
        return found

    async def count_living(self, user_id: str, *, limit: int) -> int:
        answer = await call(
            self._client.query,
            TableName=self._table,
            IndexName="by_status",
            KeyConditionExpression="user_id = :user AND begins_with(by_status, :open)",
            ExpressionAttributeValues={":user": {"S": user_id}, ":open": {"S": indexes.status_key(Status.OPEN)}},
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
