"""What Lambda hands to a function besides its event, and the stream's records of orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from local.cloud import events
from notify.handler import StreamRecord
from order_engine.aws import codec
from order_engine.domain.order import Order


@dataclass(slots=True)
class Context:
    """Lambda's context object."""

    aws_request_id: str = "request-1"
    function_name: str = "function"
    remaining_ms: int = 15_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def record(number: str, new: Order | None, old: Order | None = None) -> StreamRecord:
    """The stream's record of one write of an order."""
    images = [None if order is None else codec.to_item(order) for order in (new, old)]
    return cast(StreamRecord, events.change(number, *images))
