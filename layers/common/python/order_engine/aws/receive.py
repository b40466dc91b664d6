"""Going through what waits in a queue, for an operator's commands; workers are given their messages by Lambda."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from order_engine.aws.clients import call

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_BATCH = 10


async def batches(
    client: SQSClient, url: str, *, hidden_s: int, poll_s: int, limit: int | None = None
) -> AsyncIterator[list[MessageTypeDef]]:
    """Messages, until the queue has none to give or ``limit`` were received.

    Args:
        hidden_s: seconds for which what was received is hidden.
        poll_s: seconds that a look waits. A long poll asks all of the queue's servers, so that an empty answer means an
            empty queue.
    """
    seen = 0
    while limit is None or seen < limit:
        answer = await call(
            client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=_BATCH if limit is None else min(_BATCH, limit - seen),
            VisibilityTimeout=hidden_s,
            WaitTimeSeconds=poll_s,
        )
        received = answer.get("Messages", [])
        if not received:
            return
        seen += len(received)
        yield received
