"""Rate limits in the accounts table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from order_engine.aws.clients import CONDITION_FAILED, call, error_code, old_item
from order_engine.engine.rates import Allowance, Rate, RateLimited

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

_MINUTE_MS = 60_000
# Thousandths of a millisecond keep the emission interval exact for any rate.
_SCALE = 1000
# Behind the clock, then begun by another, then advanced: the third write has the last word.
_TRIES = 3
_MAX_REMEMBERED = 10_000


def _key(user_id: str, rate: Rate) -> Item:
    return {"pk": {"S": f"rate#{user_id}"}, "sk": {"S": rate.bucket}}


class DynamoRateLimiter:
    """``RateLimiter`` on DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        # The last arrival time seen, by user and bucket: a hint only, the table decides.
        self._arrivals: dict[tuple[str, str], int] = {}

    async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
        """GCRA in one conditional write.

        The item holds the theoretical arrival time (tat) of the next unit; see ATM Forum TM 4.0, the virtual
        scheduling form of the generic cell rate algorithm. It is advanced under one of two conditions, depending
        on whether it lies ahead of the clock. What this process saw last tells which one to try first; a second
        write is needed only where that was wrong, as after a pause or beside another process.
        """
        moment = now * _SCALE
        step = _interval(rate) * units
        # With a burst of b, the arrival time may run at most b intervals ahead when all is counted.
        full = moment + _interval(rate) * rate.burst
        ahead = self._arrivals.get((user_id, rate.bucket), 0) > moment
        for _ in range(_TRIES):
            try:
                arrival = await (
                    self._advance(user_id, rate, step, moment, full - step)
                    if ahead
                    else self._start(user_id, rate, step, moment)
                )
            except ClientError as error:
                if error_code(error) != CONDITION_FAILED:
                    raise
                item = old_item(error)
                arrival = int(item["tat"]["N"]) if item else 0
                self._remember(user_id, rate, arrival)
                if arrival > full - step:
                    raise _refusal(rate, arrival - full + step, arrival - moment) from error
                ahead = arrival > moment
            else:
                self._remember(user_id, rate, arrival)
                return Allowance(max(0, (full - arrival) // _interval(rate)), _ms(arrival - moment))
        raise _refusal(rate, 1000 * _SCALE, 1000 * _SCALE)

    async def give_back(self, user_id: str, rate: Rate, now: int) -> None:
        try:
            answer = await call(
                self._client.update_item,
                TableName=self._table,
                Key=_key(user_id, rate),
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
            self._remember(user_id, rate, int(answer["Attributes"]["tat"]["N"]))

    async def _advance(self, user_id: str, rate: Rate, step: int, moment: int, latest: int) -> int:
        """Move an arrival time that lies ahead by one step, and return it."""
        answer = await call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(user_id, rate),
            UpdateExpression="SET tat = tat + :step",
            ConditionExpression="tat > :now AND tat <= :latest",
            ExpressionAttributeValues={
                ":step": {"N": str(step)},
                ":now": {"N": str(moment)},
                ":latest": {"N": str(latest)},
            },
            ReturnValues="UPDATED_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return int(answer["Attributes"]["tat"]["N"])

    async def _start(self, user_id: str, rate: Rate, step: int, moment: int) -> int:
        """Begin anew where no arrival time lies ahead, and return the new one."""
        await call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(user_id, rate),
            UpdateExpression="SET tat = :next",
            ConditionExpression="attribute_not_exists(tat) OR tat <= :now",
            ExpressionAttributeValues={":next": {"N": str(moment + step)}, ":now": {"N": str(moment)}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return moment + step

    def _remember(self, user_id: str, rate: Rate, arrival: int) -> None:
        if len(self._arrivals) >= _MAX_REMEMBERED:
            self._arrivals.clear()
        self._arrivals[user_id, rate.bucket] = arrival


def _interval(rate: Rate) -> int:
    return _MINUTE_MS * _SCALE // rate.per_minute


def _ms(scaled: int) -> int:
    return -(-scaled // _SCALE)


def _refusal(rate: Rate, wait: int, ahead: int) -> RateLimited:
    return RateLimited(rate, _ms(wait), _ms(ahead))
