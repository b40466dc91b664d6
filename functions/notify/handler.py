"""The orders stream's consumer."""

from __future__ import annotations

import json
from typing import Any, NotRequired, TypedDict

from order_engine import bootstrap
from order_engine.aws.codec import Corrupt, from_item
from order_engine.engine.push import Change
from order_engine.observability import count, logger
from order_engine.runtime import Context, entry


class StreamView(TypedDict):
    SequenceNumber: str
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
        Corrupt: it holds no order.
    """
    view = record["dynamodb"]
    if "NewImage" not in view:
        return None
    number = view["SequenceNumber"]
    known = len(view.get("OldImage", {}).get("events", {}).get("L", ()))
    return Change(number, from_item(view["NewImage"]), known)


async def handle(event: StreamEvent, context: Context) -> BatchResponse:
    """Push each new event to the sockets that follow its order, and count finished orders."""
    changes: list[Change] = []
    failed: list[str] = []
    for record in event["Records"]:
        try:
            change = read(record)
        except Corrupt as error:
            # It will never become readable: it is set aside at once, so that nobody waits behind it.
            logger.error("stream record set aside: %s", error, extra={"event_id": record.get("eventID")})
            count("StreamRecordsSetAside")
            await bootstrap.stream_failures().keep(json.dumps(record, default=str), str(error))
            continue
        if change is not None:
            changes.append(change)
    failed += await bootstrap.push_events()(changes)
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


lambda_handler = entry(handle)
