"""API keys and rate limits in the accounts table, and the secret that signs stream tickets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import Allowance, ApiKey, Rate, RateLimited

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

type Item = dict[str, Any]

_MINUTE_MS = 60_000
_SECRET_TTL_S = 300
# Thousandths of a millisecond keep the emission interval exact for any rate.
_SCALE = 1000
# Behind the clock, then begun by another, then advanced: the third write has the last word.
_TRIES = 3
_MAX_REMEMBERED = 10_000


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _read_key(item: Item) -> ApiKey:
    def number(name: str) -> int | None:
        return int(item[name]["N"]) if name in item else None

    return ApiKey(
        key_hash=item["pk"]["S"].removeprefix("key#"),
        user_id=item["user_id"]["S"],
        scopes=frozenset(item["scopes"]["SS"]),
        created_at=int(item["created_at"]["N"]),
        name=item.get("name", {}).get("S", ""),
        expires_at=number("expires_at"),
        revoked_at=number("revoked_at"),
        orders_per_minute=number("orders_per_minute"),
    )


class DynamoAccounts:
    """``KeyStore`` and ``RateLimiter`` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        # The last arrival time seen, by user: a hint only, the table decides.
        self._arrivals: dict[str, int] = {}

    async def find_key(self, key_hash: str) -> ApiKey | None:
        answer = await call(self._client.get_item, TableName=self._table, Key=_key(f"key#{key_hash}", "key"))
        item = answer.get("Item")
        return _read_key(item) if item else None

    async def add_key(self, key: ApiKey) -> None:
        item = _key(f"key#{key.key_hash}", "key") | {
            "user_id": {"S": key.user_id},
            "scopes": {"SS": sorted(key.scopes)},
            "created_at": {"N": str(key.created_at)},
        }
        if key.name:
            item["name"] = {"S": key.name}
        if key.expires_at is not None:
            item["expires_at"] = {"N": str(key.expires_at)}
        if key.orders_per_minute is not None:
            item["orders_per_minute"] = {"N": str(key.orders_per_minute)}
        try:
            await call(
                self._client.put_item,
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                raise InvalidInput("This key exists already.", field="key") from error
            raise

    async def list_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        # A scan: keys are few, and only an operator lists them.
        found: list[ApiKey] = []
        start: Item = {}
        while True:
            answer = await call(
                self._client.scan,
                TableName=self._table,
                FilterExpression="begins_with(pk, :prefix)",
                ExpressionAttributeValues={":prefix": {"S": "key#"}},
                **start,
            )
            found += [key for key in map(_read_key, answer["Items"]) if user_id in (None, key.user_id)]
            if "LastEvaluatedKey" not in answer:
                return sorted(found, key=lambda key: (key.user_id, key.created_at))
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def revoke_key(self, key_id: str, now: int) -> ApiKey | None:
        for key in await self.list_keys(None):
            if key.key_id != key_id:
                continue
            answer = await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(f"key#{key.key_hash}", "key"),
                UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :now)",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":now": {"N": str(now)}},
                ReturnValues="ALL_NEW",
            )
            return _read_key(answer["Attributes"])
        return None

    async def admit(self, user_id: str, rate: Rate, now: int) -> Allowance:
        """GCRA in one conditional write.

        The item holds the theoretical arrival time (tat) of the next order; see ATM Forum TM 4.0, the virtual
        scheduling form of the generic cell rate algorithm. It is advanced under one of two conditions, depending
        on whether it lies ahead of the clock. What this process saw last tells which one to try first; a second
        write is needed only where that was wrong, as after a pause or beside another process.
        """
        interval = _interval(rate)
        moment = now * _SCALE
        # With a burst of b, the arrival time may run at most b - 1 intervals ahead.
        latest = moment + interval * (rate.burst - 1)
        ahead = self._arrivals.get(user_id, 0) > moment
        for _ in range(_TRIES):
            try:
                arrival = await (
                    self._advance(user_id, interval, moment, latest)
                    if ahead
                    else self._start(user_id, interval, moment)
                )
            except ClientError as error:
                if error_code(error) != CONDITION_FAILED:
                    raise
                item = old_item(error)
                arrival = int(item["tat"]["N"]) if item else 0
                self._remember(user_id, arrival)
                if arrival > latest:
                    wait = -(-(arrival - latest) // _SCALE)
                    raise RateLimited("Too many orders in a short time.", wait) from error
                ahead = arrival > moment
            else:
                self._remember(user_id, arrival)
                remaining = max(0, (latest - arrival) // interval + 1)
                return Allowance(remaining, -(-(arrival - moment) // _SCALE))
        raise RateLimited("Too many orders at the same moment.", 1000)

    async def give_back(self, user_id: str, rate: Rate, now: int) -> None:
        try:
            answer = await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(f"rate#{user_id}", "orders"),
                UpdateExpression="SET tat = tat - :interval",
                # What lies behind the clock limits nobody any more.
                ConditionExpression="tat > :now",
                ExpressionAttributeValues={
                    ":interval": {"N": str(_interval(rate))},
                    ":now": {"N": str(now * _SCALE)},
                },
                ReturnValues="UPDATED_NEW",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
        else:
            self._remember(user_id, int(answer["Attributes"]["tat"]["N"]))

    async def _advance(self, user_id: str, interval: int, moment: int, latest: int) -> int:
        """Move an arrival time that lies ahead by one interval, and return it."""
        answer = await call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(f"rate#{user_id}", "orders"),
            UpdateExpression="SET tat = tat + :interval",
            ConditionExpression="tat > :now AND tat <= :latest",
            ExpressionAttributeValues={
                ":interval": {"N": str(interval)},
                ":now": {"N": str(moment)},
                ":latest": {"N": str(latest)},
            },
            ReturnValues="UPDATED_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return int(answer["Attributes"]["tat"]["N"])

    async def _start(self, user_id: str, interval: int, moment: int) -> int:
        """Begin anew where no arrival time lies ahead, and return the new one."""
        await call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(f"rate#{user_id}", "orders"),
            UpdateExpression="SET tat = :next",
            ConditionExpression="attribute_not_exists(tat) OR tat <= :now",
            ExpressionAttributeValues={":next": {"N": str(moment + interval)}, ":now": {"N": str(moment)}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return moment + interval

    def _remember(self, user_id: str, arrival: int) -> None:
        if len(self._arrivals) >= _MAX_REMEMBERED:
            self._arrivals.clear()
        self._arrivals[user_id] = arrival


def _interval(rate: Rate) -> int:
    return _MINUTE_MS * _SCALE // rate.per_minute


class TicketSecrets:
    """The secrets that stream tickets may be signed with: the current one first, then the former.

    Kept for five minutes, so that a rotation is seen soon and a request rarely waits for it.
    """

    def __init__(self, client: SecretsManagerClient, secret_arn: str) -> None:
        self._client = client
        self._arn = secret_arn
        self._kept: tuple[float, list[str]] | None = None

    async def accepted(self) -> list[str]:
        if self._kept is None or time.monotonic() - self._kept[0] > _SECRET_TTL_S:
            current = await self._read("AWSCURRENT")
            if current is None:
                raise LookupError("The ticket secret has no current version.")
            former = await self._read("AWSPREVIOUS")
            self._kept = (time.monotonic(), [current] if former is None else [current, former])
        return self._kept[1]

    async def _read(self, stage: str) -> str | None:
        try:
            answer = await call(self._client.get_secret_value, SecretId=self._arn, VersionStage=stage)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return answer["SecretString"]
