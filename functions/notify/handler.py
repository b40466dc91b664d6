"""The orders stream's consumer."""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

from order_engine.aws.codec import Corrupt, from_item
from order_engine.compose import Engine, deployed
from order_engine.domain.errors import TooNew
from order_engine.engine.push import Change
from order_engine.observability import count, logger
from order_engine.runtime import Context, entry

# A record that a newer release has written is left to its Notify for so long, and then set aside to be redriven.
# Lambda tries again five times and at once: each try gives the update its time.
_TOO_NEW_MS, _PAUSE_MS = 75_000, 15_000
_RESERVE_MS = 5_000


class StreamView(TypedDict):
    SequenceNumber: str
    ApproximateCreationDateTime: NotRequired[float]
    NewImage: NotRequired[dict[str, Any]]
    OldImage: NotRequired[dict[str, Any]]


class StreamRecord(TypedDict):
    eventID: str
    eventName: str
    dynamodb: StreamView


class StreamEvent(TypedDict):
    Records: list[StreamRecord]


class Failed(TypedDict):
    itemIdentifier: str


class BatchResponse(TypedDict):
    batchItemFailures: list[Failed]


def read(record: StreamRecord) -> Change | None:
    """What a record says; None for a deletion.

    Raises:
        TooNew: a newer release has written it, in a form that this one does not read.
        Corrupt: it holds no order.
    """
    view = record["dynamodb"]
    if "NewImage" not in view:
        return None
    number = view["SequenceNumber"]
    known = len(view.get("OldImage", {}).get("events", {}).get("L", ()))
    return Change(number, from_item(view["NewImage"]), known)


async def handle(engine: Engine, event: StreamEvent, context: Context) -> BatchResponse:
    """Push each new event to the sockets that follow its order, and count finished orders."""
    changes: list[Change] = []
    left: list[str] = []
    for record in event["Records"]:
        try:
            change = read(record)
        except TooNew as error:
            count("TooNew")
            if _age_ms(engine, record) < _TOO_NEW_MS:
                logger.warning("stream record left to a newer release: %s", error)
                left.append(record["dynamodb"]["SequenceNumber"])
            else:
                await _set_aside(engine, record, error)
            continue
        except Corrupt as error:
            # It will never become readable: it is set aside at once, so that nobody waits behind it.
            await _set_aside(engine, record, error)
            continue
        if change is not None:
            changes.append(change)
    failed = [*left, *await engine.push_events(changes)]
    if left:
        await engine.clock.sleep(max(0, min(_PAUSE_MS, context.get_remaining_time_in_millis() - _RESERVE_MS)))
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def _age_ms(engine: Engine, record: StreamRecord) -> float:
    """How long ago it was written, to the second; long ago where it does not say."""
    return engine.clock.now_ms() - 1000 * record["dynamodb"].get("ApproximateCreationDateTime", 0)


async def _set_aside(engine: Engine, record: StreamRecord, error: Exception) -> None:
    logger.error("stream record set aside: %s", error, extra={"event_id": record.get("eventID")})
    count("StreamRecordsSetAside")
    await engine.stores.stream_failures.keep(json.dumps(record, default=str), str(error))


lambda_handler = entry(handle, deployed(ready=("push_events", "stores.stream_failures")))
