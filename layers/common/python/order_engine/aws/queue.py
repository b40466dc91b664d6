"""The order queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from order_engine.aws.clients import call
from order_engine.domain.order import OrderRef
from order_engine.wire import messages

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

_BATCH = 10
# Twelve hours from the receive, less what a Lambda may have spent since: the service refuses a total beyond.
_MAX_VISIBILITY_S = 43_200 - 900
_DEPTHS: dict[str, QueueAttributeNameType] = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


class NotSent(Exception):
    """The queue refused some of the messages."""


class SqsOrderQueue:
    """``OrderQueue`` on SQS, and what a consumer needs beside it."""

    def __init__(self, client: SQSClient, url: str, dead_letters_url: str = "") -> None:
        self._client = client
        self._url = url
        self._dead_letters_url = dead_letters_url

    async def send(self, refs: Sequence[OrderRef]) -> None:
        if len(refs) == 1:
            await call(self._client.send_message, QueueUrl=self._url, MessageBody=messages.encode(refs[0]))
            return
        for start in range(0, len(refs), _BATCH):
            batch = refs[start : start + _BATCH]
            answer = await call(
                self._client.send_message_batch,
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "MessageBody": messages.encode(ref)} for n, ref in enumerate(batch)],
            )
            if answer.get("Failed"):
                raise NotSent(f"{len(answer['Failed'])} of {len(batch)} messages were refused")

    async def held(self) -> tuple[int, int]:
        found = await self._attributes(self._url)
        return found["visible"] + found["delayed"], sum(found.values())

    async def depth(self) -> Mapping[str, int]:
        order_queue, dead = await asyncio.gather(
            self._attributes(self._url), self._attributes(self._dead_letters_url) if self._dead_letters_url else _none()
        )
        return {**order_queue, "dead": sum(dead.values())}

    async def _attributes(self, url: str) -> dict[str, int]:
        answer = await call(self._client.get_queue_attributes, QueueUrl=url, AttributeNames=list(_DEPTHS.values()))
        return {name: int(answer["Attributes"].get(attribute, 0)) for name, attribute in _DEPTHS.items()}

    async def hide(self, receipt_handle: str, delay_ms: int) -> None:
        """Let a received message come again after ``delay_ms``, in whole seconds, rounded down, or in 11 h 45 min.

        Rounded down, because a worker waits out the rest itself and the queue cannot.
        """
        await call(
            self._client.change_message_visibility,
            QueueUrl=self._url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(_MAX_VISIBILITY_S, delay_ms // 1000),
        )


class SqsMailbox:
    """A queue that keeps what cannot be read, as it came."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    async def keep(self, body: str, reason: str) -> None:
        """Store a message's body unchanged, with the reason beside it."""
        await call(
            self._client.send_message,
            QueueUrl=self._url,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason[:200] or "unknown"}},
        )


async def _none() -> dict[str, int]:
    return {}
