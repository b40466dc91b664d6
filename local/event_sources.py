"""Event source mappings: pollers that turn queues and streams into invocations.

Behaviour: the Lambda developer guide, "Using Lambda with Amazon SQS" and "Using Lambda with Amazon DynamoDB".
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
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local import patterns
from local.aws import REGION
from local.functions import Functions, InvocationError
from local.template import Json, Template, TemplateError
from local.threads import in_thread

if TYPE_CHECKING:
    import boto3

logger = logging.getLogger("local")

_LONG_POLL_S = 20
_RECEIVE_MOST = 10
# Lambda's pollers go up to 1000; without a maximum of its own a mapping is held to what this machine can bear.
_MOST_CONCURRENT = 10
_PAUSE_AFTER_ERROR_S = 1.0
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class EventSource:
    """An event source mapping of the template, resolved."""

    source_arn: str
    function: str
    batch_size: int
    window_s: float
    reports_failures: bool
    properties: Mapping[str, Json]


def mappings(template: Template) -> list[EventSource]:
    """The enabled mappings.

    Raises:
        TemplateError: a setting is not simulated.
    """
    found = []
    for resource in template.of_type("AWS::Lambda::EventSourceMapping"):
        properties = template.properties(resource)
        if not properties.get("Enabled", True):
            continue
        arn = properties["EventSourceArn"]
        queue = ":sqs:" in arn
        if not queue and ":dynamodb:" not in arn:
            raise TemplateError(f"{resource.logical_id}: event sources such as {arn} are not simulated.")
        if queue and "FilterCriteria" in properties:
            raise TemplateError(f"{resource.logical_id}: filters on queues are not simulated.")
        if not queue and properties.get("StartingPosition") != "TRIM_HORIZON":
            raise TemplateError(f"{resource.logical_id}: only the starting position TRIM_HORIZON is simulated.")
        found.append(
            EventSource(
                source_arn=arn,
                # The function's name, its ARN, or its alias's ARN.
                function=_function_name(template, properties["FunctionName"]),
                batch_size=int(properties.get("BatchSize", 10 if queue else 100)),
                window_s=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
                reports_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", ()),
                properties=properties,
            )
        )
    return found


def _function_name(template: Template, name: str) -> str:
    return template.function_of(name) if name.startswith("arn:") else name.partition(":")[0]


class BadReport(ValueError):
    """A function's batchItemFailures cannot be read: the whole batch counts as failed."""


def reported_failures(answer: Json, known: Sequence[str]) -> set[str]:
    """The identifiers that a function's answer names as failed; none for an empty answer.

    Raises:
        BadReport: an identifier is missing, empty or unknown.
    """
    if answer is None or answer == {} or answer == "":
        return set()
    failures = answer.get("batchItemFailures") if isinstance(answer, Mapping) else _NOT_A_LIST
    if failures is None or failures == []:
        return set()
    if not isinstance(failures, list):
        raise BadReport("batchItemFailures is not a list")
    named = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not identifier or identifier not in known:
            raise BadReport(f"batchItemFailures names {identifier!r}, which was not in the batch")
        named.add(identifier)
    return named


_NOT_A_LIST = object()


# --- queues ------------------------------------------------------------------------------------------------------


class QueuePoller:
    """Receives batches and invokes the function, as many at once as the mapping allows. Failed messages are left
    to reappear when their visibility timeout ends."""

    def __init__(self, mapping: EventSource, functions: Functions, session: boto3.session.Session) -> None:
        self._mapping = mapping
        self._functions = functions
        # What is in flight needs connections besides the poller's own.
        self._client: Any = session.client("sqs", config=_wide())
        self._url = self._client.get_queue_url(QueueName=mapping.source_arn.rpartition(":")[2])["QueueUrl"]
        scaling = mapping.properties.get("ScalingConfig", {})
        reserved = functions[mapping.function].reserved
        most = int(scaling.get("MaximumConcurrency", _MOST_CONCURRENT))
        self._slots = asyncio.Semaphore(max(1, min(most, most if reserved is None else reserved)))
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._slots.acquire()
            messages: list[Json] = []
            try:
                messages = await self._batch()
            except (BotoCoreError, ClientError) as error:
                logger.warning("cannot receive from %s: %s", self._url, error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            finally:
                if not messages:
                    self._slots.release()
            if messages:
                task = asyncio.create_task(self._process(messages))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _batch(self) -> list[Json]:
        """One batch: what there is, or what comes within the batching window after the first message."""
        size, window_s = self._mapping.batch_size, self._mapping.window_s
        messages = await self._receive(size, _LONG_POLL_S)
        if not messages or (not window_s and size <= _RECEIVE_MOST):
            return messages
        closes = time.monotonic() + window_s
        while len(messages) < size:
            remaining = max(0.0, closes - time.monotonic())
            more = await self._receive(size - len(messages), int(remaining))
            messages += more
            if not more and not remaining:
                break
            if not more:
                # A long poll counts whole seconds; this is the last one's fraction.
                await asyncio.sleep(min(0.05, remaining))
        return messages

    async def _receive(self, most: int, wait_s: int) -> list[Json]:
        answer = await in_thread(
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=min(most, _RECEIVE_MOST),
            WaitTimeSeconds=wait_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        received: list[Json] = answer.get("Messages", [])
        return received

    async def _process(self, messages: list[Json]) -> None:
        try:
            records = [queue_record(message, self._mapping.source_arn) for message in messages]
            answer = await self._functions.invoke(self._mapping.function, {"Records": records})
            failed: set[str] = set()
            if self._mapping.reports_failures:
                failed = reported_failures(answer, [message["MessageId"] for message in messages])
            await self._delete([message for message in messages if message["MessageId"] not in failed])
        except InvocationError:
            pass  # logged where it happened; the messages come again
        except BadReport as error:
            logger.error("%s: %s", self._mapping.function, error)
        except (BotoCoreError, ClientError) as error:
            logger.warning("cannot delete from %s: %s", self._url, error)
        finally:
            self._slots.release()

    async def _delete(self, messages: list[Json]) -> None:
        for start in range(0, len(messages), _RECEIVE_MOST):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[start : start + _RECEIVE_MOST])
            ]
            await in_thread(self._client.delete_message_batch, QueueUrl=self._url, Entries=entries)


def queue_record(message: Mapping[str, Json], source_arn: str) -> dict[str, Json]:
    """A message of ReceiveMessage as a record of a Lambda event."""
    attributes = {}
    for name, value in message.get("MessageAttributes", {}).items():
        attribute: dict[str, Json] = {
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": value["DataType"],
        }
        if "StringValue" in value:
            attribute["stringValue"] = value["StringValue"]
        if "BinaryValue" in value:
            attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
        attributes[name] = attribute
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {name: str(value) for name, value in message.get("Attributes", {}).items()},
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": source_arn,
        "awsRegion": REGION,
    }


def _wide() -> Config:
    return Config(max_pool_connections=50, read_timeout=_LONG_POLL_S + 10, retries={"total_max_attempts": 1})


# --- streams -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stream's mapping does about failures.

    Attributes:
        retries: after the first try; None for no limit.
        age_s: records older than this are given up; None for no limit.
        bisect: halve a batch whose invocation failed.
    """

    retries: int | None
    age_s: float | None
    bisect: bool


@dataclass(frozen=True, slots=True)
class Discarded:
    """Records that were given up, and why: ``RetryAttemptsExhausted`` or ``RecordAgeExceeded``."""

    records: Sequence[Json]
    condition: str
    invocations: int
    error: InvocationError | None


type Invoke = Callable[[Sequence[Json]], Awaitable[int]]


async def deliver(
    records: Sequence[Json],
    invoke: Invoke,
    policy: Policy,
    discard: Callable[[Discarded], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    now: Callable[[], float] = time.time,
) -> None:
    """Get every record of a batch delivered in order, or given up; then return.

    A part that fails is tried again before anything after it is tried. A batch whose invocation fails is halved
    where the policy says so, which does not count as a try; a failure reported at a record leaves what came before
    it done.

    Args:
        invoke: delivers records and returns how many from the start are done; raises InvocationError.
        discard: is told of records that are given up.
        sleep, now: seconds.
    """
    waiting = deque([(list(records), 0)])
    while waiting:
        part, tries = waiting.popleft()
        if policy.age_s is not None and (old := _too_old(part, now() - policy.age_s)):
            await discard(Discarded(part[:old], "RecordAgeExceeded", tries, None))
            if old < len(part):
                waiting.appendleft((part[old:], tries))
            continue
        error: InvocationError | None = None
        try:
            done = await invoke(part)
        except InvocationError as failure:
            error, done = failure, 0
        rest = part[done:]
        if not rest:
            continue
        if error is not None and policy.bisect and len(rest) > 1:
            middle = len(rest) // 2
            waiting.appendleft((rest[middle:], tries))
            waiting.appendleft((rest[:middle], tries))
        elif policy.retries is not None and tries >= policy.retries:
            await discard(Discarded(rest, "RetryAttemptsExhausted", tries + 1, error))
            continue
        else:
            waiting.appendleft((rest, tries + 1))
        await sleep(min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(tries, 10)))


def _too_old(records: Sequence[Json], limit: float) -> int:
    """How many records from the start were made before a time."""
    for position, record in enumerate(records):
        if record["dynamodb"]["ApproximateCreationDateTime"] >= limit:
            return position
    return len(records)


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
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

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
