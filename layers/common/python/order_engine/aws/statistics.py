"""Statistics of orders, one item per user in the accounts table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.domain.lifecycle import EXECUTED, TERMINAL
from order_engine.engine.ports import Statistics, Tally
from order_engine.engine.stats import bucket, moves

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]


def _key(user_id: str) -> Item:
    return {"pk": {"S": f"stats#{user_id}"}, "sk": {"S": "total"}}


class DynamoStatistics:
    """``StatisticsStore`` on DynamoDB.

    The item remembers the sequence number of the last record that it counted. All records of a user are in one
    shard, in order, so that a batch that comes twice is counted once.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    async def count(self, user_id: str, tallies: Sequence[Tally]) -> None:
        ordered = sorted(tallies, key=lambda tally: tally.sequence)
        while ordered:
            last = await self._add(user_id, ordered)
            if last is None:
                return
            ordered = [tally for tally in ordered if tally.sequence > last]

    async def _add(self, user_id: str, tallies: Sequence[Tally]) -> str | None:
        """Add all, or answer the last sequence that was counted if some of them were."""
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
        names = {f"#n{n}": name for n, name in enumerate(sums)}
        values: Item = {f":n{n}": {"N": str(number)} for n, number in enumerate(sums.values())}
        added = ", ".join(f"#n{n} :n{n}" for n in range(len(sums)))
        try:
            await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id),
                UpdateExpression=f"SET counted = :last ADD {added}",
                ConditionExpression="attribute_not_exists(counted) OR counted < :first",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={
                    **values,
                    ":first": {"S": tallies[0].sequence},
                    ":last": {"S": tallies[-1].sequence},
                },
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            item = old_item(error)
            if error_code(error) != CONDITION_FAILED or item is None:
                raise
            counted: str = item["counted"]["S"]
            return counted
        return None

    async def of_user(self, user_id: str) -> Statistics:
        answer = await call(self._client.get_item, TableName=self._table, Key=_key(user_id))
        numbers = {name: int(value["N"]) for name, value in answer.get("Item", {}).items() if "N" in value}

        def part(prefix: str) -> dict[str, int]:
            return {name[2:]: number for name, number in numbers.items() if name.startswith(prefix)}

        latency = {int(name): number for name, number in part("l_").items()}
        return Statistics(by_status=part("s_"), by_venue=part("v_"), latency_counts=latency, by_stage=part("g_"))
