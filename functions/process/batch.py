"""One SQS batch: its messages side by side, and only those that must come again reported as failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NotRequired, Protocol, TypedDict

from order_engine.domain.errors import OrderNotFound, TooNew
from order_engine.domain.order import OrderRef
from order_engine.engine.execute import Done, Later, Verdict
from order_engine.observability import count, logger
from order_engine.runtime import MARGIN_MS, Context, gather
from order_engine.wire.messages import Unreadable, decode

# How long what a newer release has written is left to its functions. The queues' limits of receives bound the wait.
_TOO_NEW_MS = 60_000


class Record(TypedDict):
    messageId: str
    receiptHandle: str
    body: str
    attributes: NotRequired[dict[str, str]]


class SqsEvent(TypedDict):
    Records: list[Record]


class Failed(TypedDict):
    itemIdentifier: str


class BatchResponse(TypedDict):
    batchItemFailures: list[Failed]


class UseCase(Protocol):
    def __call__(self, ref: OrderRef, *, worker: str, deadline: int) -> Awaitable[Verdict]: ...


class Hide(Protocol):
    def __call__(self, receipt_handle: str, delay_ms: int) -> Awaitable[None]: ...


class Keep(Protocol):
    def __call__(self, body: str, reason: str) -> Awaitable[None]: ...


async def process_batch(
    event: SqsEvent,
    context: Context,
    now_ms: int,
    use_case: UseCase,
    *,
    name: Callable[[], str],
    hide: Hide,
    keep: Keep,
) -> BatchResponse:
    """Run a use case over a batch.

    Args:
        now_ms: the time at which the invocation began, milliseconds since the epoch.
        name: names each execution anew: two of one batch may be for the same order.
        hide: makes a message come again after a delay.
        keep: stores a message that cannot be read or names no order.
    """
    deadline = now_ms + context.get_remaining_time_in_millis() - MARGIN_MS

    async def one(record: Record) -> bool:
        """Whether the message is spent."""
        receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        if receives > 1:
            count("DuplicateDeliveries")
        try:
            ref = decode(record["body"])
            verdict = await use_case(ref, worker=name(), deadline=deadline)
        except (Unreadable, OrderNotFound) as error:
            reason = str(error)
            logger.error("message quarantined: %s", reason, extra={"message_id": record["messageId"]})
            count("Quarantined")
            await keep(record["body"], reason)
            return True
        except TooNew as error:
            logger.warning("message left to a newer release: %s", error, extra={"message_id": record["messageId"]})
            count("TooNew")
            await hide(record["receiptHandle"], _TOO_NEW_MS)
            return False
        if isinstance(verdict, Done):
            return True
        await _postpone(record, verdict, ref)
        return False

    async def _postpone(record: Record, verdict: Later, ref: OrderRef) -> None:
        logger.info("order waits: %s", verdict.reason, extra={"order_id": ref.order_id, "wait_ms": verdict.delay_ms})
        await hide(record["receiptHandle"], verdict.delay_ms)

    results = await gather([one(record) for record in event["Records"]])
    failures: list[Failed] = []
    for record, spent in zip(event["Records"], results, strict=True):
        if isinstance(spent, BaseException):
            logger.error("message failed: %s", spent, exc_info=spent, extra={"message_id": record["messageId"]})
        if spent is not True:
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
