"""The message on the order queue: the order's key and nothing else."""

from __future__ import annotations

import json

from order_engine.domain.order import OrderRef
from order_engine.wire import exact_json


class Unreadable(ValueError):
    """A message that is not one of ours."""


def encode(ref: OrderRef) -> str:
    return json.dumps({"userId": ref.user_id, "orderId": ref.order_id}, separators=(",", ":"))


def decode(body: str) -> OrderRef:
    """Read a message's body.

    Raises:
        Unreadable: it is not a message of the order queue.
    """
    try:
        content = exact_json.read(body)
    except exact_json.NotJson as error:
        raise Unreadable("The message is not JSON.") from error
    if not isinstance(content, dict):
        raise Unreadable("The message is not an object.")
    user_id, order_id = content.get("userId"), content.get("orderId")
    if not (isinstance(user_id, str) and user_id and isinstance(order_id, str) and order_id):
        raise Unreadable("The message names no order.")
    return OrderRef(user_id, order_id)
