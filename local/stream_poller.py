"""A stream's event source mapping: reads a table's changes and invokes the function.

Behaviour: the Lambda developer guide, "Using Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local import patterns
from local.cloud.account import REGION
from local.cloud.template import Json, TemplateError
from local.event_sources import PAUSE_S, BadReport, EventSource, reported_failures
from local.functions import Functions
from local.stream_delivery import Discarded, Policy, deliver
from local.threads import in_thread

if TYPE_CHECKING:
    import boto3

logger = logging.getLogger("local")


class Changes(Protocol):
    """Waits until a stream may have grown."""

    async def wait(self, after: int) -> int: ...


class Checkpoints(Protocol):
    """Where in a stream a mapping is."""

    async def load(self, key: str) -> str | None: ...

    async def save(self, key: str, sequence: str) -> None: ...


class StreamPoller:
    """Reads a table's stream from its beginning, or from its checkpoint, and invokes the function batch by batch.

    With a parallelization factor above one, a read is split by partition key and the parts are delivered at once;
    the next read waits for all of them.

    Args:
        observe: sees every record once, before it is delivered.
    """

    def __init__(
        self,
        mapping: EventSource,
        functions: Functions,
        session: boto3.session.Session,
        changes: Changes,
        checkpoints: Checkpoints,
        observe: Callable[[Json], None] | None = None,
    ) -> None:
        self._mapping = mapping
        self._functions = functions
        self._client: Any = session.client("dynamodbstreams")
        self._queues: Any = session.client("sqs")
        self._changes = changes
        self._checkpoints = checkpoints
        self._observe = observe
        properties = mapping.properties
        retries, age = properties.get("MaximumRetryAttempts", -1), properties.get("MaximumRecordAgeInSeconds", -1)
        self._policy = Policy(
            retries=None if retries == -1 else int(retries),
            age_s=None if age == -1 else float(age),
            bisect=bool(properties.get("BisectBatchOnFunctionError", False)),
        )
        self._lanes = int(properties.get("ParallelizationFactor", 1))
        self._patterns = [
            json.loads(entry["Pattern"]) for entry in properties.get("FilterCriteria", {}).get("Filters", ())
        ]
        for pattern in self._patterns:
            patterns.check(pattern)
        self._destination = properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if self._destination and ":sqs:" not in self._destination:
            raise TemplateError(f"The failure destination {self._destination} is not simulated.")
        shards = self._client.describe_stream(StreamArn=mapping.source_arn)["StreamDescription"]["Shards"]
        # The simulated streams have one shard that never splits.
        self._shard = shards[0]["ShardId"]
        self._key = f"{mapping.source_arn}#{mapping.function}"

    async def run(self) -> None:
        """Poll until cancelled."""
        position = await self._checkpoints.load(self._key)
        version = -1
        while True:
            try:
                version = await self._changes.wait(version)
                while records := await self._read(position):
                    await self._deliver_all(records)
                    position = records[-1]["dynamodb"]["SequenceNumber"]
                    await self._checkpoints.save(self._key, position)
            except (BotoCoreError, ClientError, OSError) as error:
                logger.warning("cannot read %s: %s", self._mapping.source_arn, error)
                version = -1
                await asyncio.sleep(PAUSE_S)

    async def _read(self, position: str | None) -> list[dict[str, Json]]:
        records = await in_thread(self._records, position)
        if records and self._mapping.window_s and len(records) < self._mapping.batch_size:
            await asyncio.sleep(self._mapping.window_s)
            records = await in_thread(self._records, position)
        if self._observe is not None:
            for record in records:
                self._observe(record)
        return records

    def _records(self, position: str | None) -> list[dict[str, Json]]:
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if position is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position}
        # A fresh iterator each time: moto's outlive the shard that they point into when a transaction is undone.
        iterator = self._client.get_shard_iterator(StreamArn=self._mapping.source_arn, ShardId=self._shard, **where)
        most = min(1000, self._mapping.batch_size * self._lanes)
        answer = self._client.get_records(ShardIterator=iterator["ShardIterator"], Limit=most)
        return [stream_record(record, self._mapping.source_arn) for record in answer["Records"]]

    async def _deliver_all(self, records: Sequence[Mapping[str, Json]]) -> None:
        wanted = [
            record
            for record in records
            if not self._patterns or any(patterns.matches(pattern, record) for pattern in self._patterns)
        ]
        lanes: list[list[Json]] = [[] for _ in range(self._lanes)]
        for record in wanted:
            lanes[_lane(record, self._lanes)].append(record)
        size = self._mapping.batch_size
        await asyncio.gather(*(self._deliver_lane(lane, size) for lane in lanes if lane))

    async def _deliver_lane(self, records: list[Json], size: int) -> None:
        for start in range(0, len(records), size):
            await deliver(records[start : start + size], self._invoke, self._policy, self._discard)

    async def _invoke(self, records: Sequence[Json]) -> int:
        answer = await self._functions.invoke(self._mapping.function, {"Records": list(records)})
        if not self._mapping.reports_failures:
            return len(records)
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        try:
            failed = reported_failures(answer, numbers)
        except BadReport as error:
            logger.error("%s: %s", self._mapping.function, error)
            return 0
        return min((numbers.index(number) for number in failed), default=len(records))

    async def _discard(self, given_up: Discarded) -> None:
        logger.error("%s gave up %d records: %s", self._mapping.function, len(given_up.records), given_up.condition)
        if not self._destination:
            return
        function = self._functions[self._mapping.function]
        message = failure_message(given_up, function.arn, self._mapping.source_arn, self._shard)
        name = self._destination.rpartition(":")[2]
        url = (await in_thread(self._queues.get_queue_url, QueueName=name))["QueueUrl"]
        await in_thread(self._queues.send_message, QueueUrl=url, MessageBody=json.dumps(message))


def _lane(record: Mapping[str, Json], lanes: int) -> int:
    # The partition key is not marked among the keys; all of them together keep each item's order as well.
    keys = json.dumps(record["dynamodb"]["Keys"], sort_keys=True)
    return int.from_bytes(hashlib.sha256(keys.encode()).digest()[:4]) % lanes


def stream_record(record: Mapping[str, Json], source_arn: str) -> dict[str, Json]:
    """A record of GetRecords as a record of a Lambda event."""
    change = record["dynamodb"]
    made = change["ApproximateCreationDateTime"]
    converted: dict[str, Json] = {
        "ApproximateCreationDateTime": float(int(made.timestamp())),
        "Keys": _plain(change["Keys"]),
        "SequenceNumber": change["SequenceNumber"],
        "SizeBytes": change["SizeBytes"],
        "StreamViewType": change["StreamViewType"],
    }
    for image in ("NewImage", "OldImage"):
        if image in change:
            converted[image] = _plain(change[image])
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": converted,
        "eventSourceARN": source_arn,
    }


def _plain(value: Json) -> Json:
    """DynamoDB JSON with binary values as text."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def failure_message(given_up: Discarded, function_arn: str, stream_arn: str, shard: str) -> dict[str, Json]:
    """What an on-failure destination gets about records of a stream: where they are, not what they say."""
    first, last = (given_up.records[position]["dynamodb"] for position in (0, -1))
    message: dict[str, Json] = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": function_arn,
            "condition": given_up.condition,
            "approximateInvokeCount": given_up.invocations,
        },
        "version": "1.0",
        "timestamp": _iso(time.time()),
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": first["SequenceNumber"],
            "endSequenceNumber": last["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _iso(first["ApproximateCreationDateTime"]),
            "approximateArrivalOfLastRecord": _iso(last["ApproximateCreationDateTime"]),
            "batchSize": len(given_up.records),
            "streamArn": stream_arn,
        },
    }
    if given_up.invocations:
        response: dict[str, Json] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if given_up.error is not None:
            response["functionError"] = "Unhandled"
        message["responseContext"] = response
    return message


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
