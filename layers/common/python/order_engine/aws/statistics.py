"""Statistics of orders, a few items per user in the accounts table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, items_of, old_item
from order_engine.domain.lifecycle import EXECUTED, TERMINAL
from order_engine.engine.stats import REMEMBERED_MINUTES, Statistics, Tally, bucket, mark, minute, moves

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

_MARKS = "m"
# An expression may have 300 operators; a mark takes three.
_AT_ONCE = 90
# A lane is used again every twenty minutes: what may be left there from the last hours is dropped without a look.
_DROPPED_UNSEEN = 10
# Older leftovers are dropped by a write of their own, once there are so many of them.
_MOST_LEFT = 16


def _key(user_id: str, lane: int) -> Item:
    return {"pk": {"S": f"stats#{user_id}"}, "sk": {"S": f"{lane:02d}"}}


def _marks(at_minute: int) -> str:
    """The attribute with the marks of a minute."""
    return f"{_MARKS}{at_minute}"


class DynamoStatistics:
    """``StatisticsStore`` on DynamoDB.

    Records of the stream come at least once, and one user's may come from several shards side by side, so no sequence
    number says what was counted. What was, is remembered beside the counts themselves, in the same write: a mark for
    each event, under the minute of that event. So that this stays small, a user has an item ("lane") for each of the
    last twenty minutes; a batch's events nearly always lie in one minute, and cost one write of one unit. The lanes'
    counts add up to the user's.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def count(self, user_id: str, tallies: Sequence[Tally]) -> None:
        by_minute: dict[int, dict[bytes, Tally]] = {}
        for tally in tallies:
            by_minute.setdefault(minute(tally.at), {})[mark(tally.order_id, tally.seq)] = tally
        for at_minute, marked in by_minute.items():
            for part in batched(marked.items(), _AT_ONCE, strict=False):
                await self._count(user_id, at_minute, dict(part))

    async def _count(self, user_id: str, at_minute: int, marked: dict[bytes, Tally]) -> None:
        while marked:
            counted = await self._add(user_id, at_minute, marked)
            if counted is None:
                return
            marked = {own: tally for own, tally in marked.items() if own not in counted}

    async def _add(self, user_id: str, at_minute: int, marked: Mapping[bytes, Tally]) -> set[bytes] | None:
        """Add all, or answer the minute's marks if some of them were counted before."""
        sums = _sums(marked.values())
        past = [_marks(at_minute - REMEMBERED_MINUTES * ago) for ago in range(1, _DROPPED_UNSEEN + 1)]
        names = {f"#n{n}": name for n, name in enumerate(sums)} | {f"#p{n}": name for n, name in enumerate(past)}
        values: Item = {f":n{n}": {"N": str(number)} for n, number in enumerate(sums.values())}
        values |= {f":m{n}": {"B": own} for n, own in enumerate(marked)}
        added = "".join(f", #n{n} :n{n}" for n in range(len(sums)))
        try:
            answer = await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id, at_minute % REMEMBERED_MINUTES),
                UpdateExpression=f"ADD #marks :marks{added} REMOVE {', '.join(f'#p{n}' for n in range(len(past)))}",
                ConditionExpression=" AND ".join(f"NOT contains(#marks, :m{n})" for n in range(len(marked))),
                ExpressionAttributeNames=names | {"#marks": _marks(at_minute)},
                ExpressionAttributeValues=values | {":marks": {"BS": list(marked)}},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            item = old_item(error)
            if error_code(error) != CONDITION_FAILED or item is None:
                raise
            return set(item.get(_marks(at_minute), {}).get("BS", ()))
        await self._drop_old(user_id, at_minute, answer["Attributes"])
        return None

    async def _drop_old(self, user_id: str, at_minute: int, item: Item) -> None:
        """Where a user pauses for hours, marks are left that nobody names again."""
        left = [name for name in item if _is_old(name, at_minute)]
        if len(left) <= _MOST_LEFT:
            return
        await call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(user_id, at_minute % REMEMBERED_MINUTES),
            UpdateExpression=f"REMOVE {', '.join(f'#p{n}' for n in range(len(left)))}",
            ExpressionAttributeNames={f"#p{n}": name for n, name in enumerate(left)},
        )

    async def of_user(self, user_id: str) -> Statistics:
        numbers = Counter[str]()
        for item in await self._lanes(user_id):
            numbers.update({name: int(value["N"]) for name, value in item.items() if "N" in value})

        def part(prefix: str) -> dict[str, int]:
            return {name[2:]: number for name, number in numbers.items() if name.startswith(prefix)}

        latency = {int(name): number for name, number in part("l_").items()}
        return Statistics(by_status=part("s_"), by_venue=part("v_"), latency_counts=latency, by_stage=part("g_"))

    async def _lanes(self, user_id: str) -> list[Item]:
        lanes = items_of(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": _key(user_id, 0)["pk"]},
        )
        return [item async for item in lanes]


def _sums(tallies: Iterable[Tally]) -> Counter[str]:
    sums = Counter[str]()
    for tally in tallies:
        for name, number in moves(tally.before, tally.status).items():
            sums[f"g_{name}"] += number
        if tally.status not in TERMINAL:
            continue
        sums[f"s_{tally.status.value}"] += 1
        if tally.status in EXECUTED:
            sums[f"l_{bucket(tally.latency_ms)}"] += 1
        if tally.venue:
            sums[f"v_{tally.venue}"] += 1
    return sums


def _is_old(name: str, at_minute: int) -> bool:
    own = name.removeprefix(_MARKS)
    return name.startswith(_MARKS) and own.isdigit() and int(own) <= at_minute - REMEMBERED_MINUTES
