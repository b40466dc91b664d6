"""A queue's event source mapping: receives batches and invokes the function.

Behaviour: the Lambda developer guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.cloud.account import REGION
from local.cloud.template import Json
from local.event_sources import PAUSE_S, BadReport, EventSource, reported_failures
from local.functions import Functions, InvocationError
from local.threads import in_thread

if TYPE_CHECKING:
    import boto3

logger = logging.getLogger("local")

_LONG_POLL_S = 20
_RECEIVE_MOST = 10
# Lambda's pollers go up to 1000; without a maximum of its own a mapping is held to what this machine can bear.
_MOST_CONCURRENT = 10


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
                await asyncio.sleep(PAUSE_S)
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
