"""Give messages that were set aside to the order queue again.

SQS has a task for this (StartMessageMoveTask), which returns messages to the queue that they were dead-lettered from.
It does not fit: the quarantine's messages were sent there, not dead-lettered, and it would return those too that
nobody can read. A message only says which order to look at, so one that is delivered twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from order_engine.aws.clients import call
from order_engine.aws.receive import batches
from order_engine.domain.errors import TooNew
from order_engine.wire import messages

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_HIDDEN_S = 60
_POLL_S = 2


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the messages: ``moved``, or left where they were because they are ``unreadable``."""

    moved: int = 0
    unreadable: int = 0


async def redrive(
    client: SQSClient,
    source_url: str,
    orders_url: str,
    *,
    limit: int,
    progress: Callable[[Redriven], None] = lambda redriven: None,
) -> Redriven:
    """Move messages from a queue to the order queue, until it is empty or ``limit`` were looked at.

    A message is deleted only after it was sent. What cannot be read stays and is visible again after a minute.

    Args:
        source_url: the dead-letter or the quarantine queue.
        orders_url: the order queue.
        progress: is called after each batch.
    """
    done = Redriven()
    async for received in batches(client, source_url, hidden_s=_HIDDEN_S, poll_s=_POLL_S, limit=limit):
        readable = [message for message in received if _readable(message)]
        moved = await _move(client, source_url, orders_url, readable) if readable else 0
        done = Redriven(done.moved + moved, done.unreadable + len(received) - len(readable))
        progress(done)
        if moved < len(readable):
            break
    return done


def _readable(message: MessageTypeDef) -> bool:
    try:
        messages.decode(message["Body"])
    except (messages.Unreadable, TooNew):
        return False
    return True


async def _move(client: SQSClient, source_url: str, orders_url: str, batch: list[MessageTypeDef]) -> int:
    sent = await call(
        client.send_message_batch,
        QueueUrl=orders_url,
        Entries=[{"Id": str(n), "MessageBody": message["Body"]} for n, message in enumerate(batch)],
    )
    accepted = [entry["Id"] for entry in sent.get("Successful", [])]
    if accepted:
        await call(
            client.delete_message_batch,
            QueueUrl=source_url,
            Entries=[{"Id": name, "ReceiptHandle": batch[int(name)]["ReceiptHandle"]} for name in accepted],
        )
    return len(accepted)
