"""The message on the order queue: the order's key, the message's form, and nothing else."""

from __future__ import annotations

import json

from order_engine.domain.order import OrderRef
from order_engine.wire import exact_json, forms


class Unreadable(ValueError):
    """A message that is not one of ours."""


def encode(ref: OrderRef) -> str:
    content = {"userId": ref.user_id, "orderId": ref.order_id, forms.SCHEMA: forms.MESSAGE.writes}
    return json.dumps(content, separators=(",", ":"))


def decode(body: str) -> OrderRef:
    """Read a message's body.

    Raises:
        TooNew: a newer release has written it, in a form that this one does not read.
        Unreadable: it is not a message of the order queue.
    """
    try:
        content = exact_json.read(body)
    except exact_json.NotJson as error:
        raise Unreadable("The message is not JSON.") from error
    if not isinstance(content, dict):
        raise Unreadable("The message is not an object.")
    try:
        forms.MESSAGE.check(content.get(forms.SCHEMA))
    except ValueError as error:
        raise Unreadable("The message's form is no number.") from error
    user_id, order_id = content.get("userId"), content.get("orderId")
    if not (isinstance(user_id, str) and user_id and isinstance(order_id, str) and order_id):
        raise Unreadable("The message names no order.")
    return OrderRef(user_id, order_id)
