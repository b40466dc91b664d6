"""The orders table's sparse indexes: which partition and place an order has in them, as text that sorts.

``work`` holds what has to be looked at: active orders by age, and resting ones by the price at which they fire.
``expiry`` holds orders with a time limit of their own; ``by_status`` each user's limit orders that have not ended, and
what failed, was cancelled or expired. A market order that is confirmed is never in it, and costs nothing there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal

from order_engine.aws import tokens
from order_engine.domain import lifecycle
from order_engine.domain.numerals import EXACT
from order_engine.domain.order import Order, Status

# Active orders are spread by user over this many index partitions: one user's are found in one of them, and each takes
# 1000 writes a second.
ACTIVE_SHARDS = 16
EXPIRY_SHARDS = 4
_PRICE_WHOLE, _PRICE_FRACTION = 20, 20
# Digits sort before it, "~" behind all that a key may contain.
_ASIDE = "a"
ASIDE_BOUNDS = (_ASIDE, f"{_ASIDE}~")
# In a listing's place: between its partitions, and for a partition that has been read to its end.
_BETWEEN, _ENDED = "|", "-"


def shard(name: str, shards: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:2]) % shards


def active_partition(user_id: str) -> str:
    return f"active#{shard(user_id, ACTIVE_SHARDS)}"


def status_key(status: Status, ms: int | None = None, order_id: str = "") -> str:
    """A place in ``by_status``: of an order that has not ended (``open``), or of one that ended in ``status``.

    Args:
        ms: when it was created; None for the beginning of all places of this status.
    """
    prefix = f"{status.value}#"
    return prefix if ms is None else prefix + time_key(ms, order_id)


def time_key(ms: int, order_id: str = "") -> str:
    """Text that sorts by time, then by order."""
    return f"{ms:013d}#{order_id}"


def price_key(price: Decimal) -> str:
    """Text that sorts as the price does: 20 digits before the point and 20 after, rounded down."""
    scaled = int(price.scaleb(_PRICE_FRACTION, EXACT))
    return f"{scaled:0{_PRICE_WHOLE + _PRICE_FRACTION}d}"


def after_key(key: str) -> str:
    """The least text that sorts behind a key and before every other key of its index."""
    return f"{key} "


def join_places(places: Sequence[str | None]) -> str | None:
    """Where a listing of several partitions ended, as one text; None if it ended in all of them.

    Args:
        places: the last key seen in each partition; None where there are no more.
    """
    if all(place is None for place in places):
        return None
    return _BETWEEN.join(_ENDED if place is None else place for place in places)


def split_places(after: str | None, partitions: int) -> list[str | None]:
    """The reverse: where to begin in each partition ("" at its beginning), None where there is nothing more."""
    if after is None:
        return [""] * partitions
    return [None if place == _ENDED else place for place in after.split(_BETWEEN)]


def trigger_partition(mint_in: str, mint_out: str) -> str:
    return f"trigger#{tokens.index_name(mint_in)}/{tokens.index_name(mint_out)}"


def aside_key(price: Decimal) -> str:
    """Sorts as the price does, behind every limit price."""
    return f"{_ASIDE}{price_key(price)}"


def aside_price(key: str) -> Decimal | None:
    """The price to which an order was set aside, by its place in the index; None for any other place."""
    if not key.startswith(_ASIDE):
        return None
    return Decimal(int(key.removeprefix(_ASIDE).partition("#")[0])).scaleb(-_PRICE_FRACTION, EXACT)


def index_keys(order: Order) -> dict[str, str]:
    """The sparse indexes' keys that the order has now; a confirmed order has none."""
    order_id, request = order.ref.order_id, order.request
    if order.status is Status.CONFIRMED:
        return {}
    if order.status in lifecycle.TERMINAL:
        return {"by_status": status_key(order.status, order.created_at, order_id)}
    keys: dict[str, str] = {}
    trigger = request.trigger
    if order.status is Status.OPEN and trigger.price is not None:
        keys["work_pk"] = trigger_partition(request.mint_in, request.mint_out)
        place = price_key(trigger.price) if order.aside is None else aside_key(order.aside)
        keys["work_sk"] = f"{place}#{order_id}"
    else:
        keys["work_pk"] = active_partition(order.ref.user_id)
        keys["work_sk"] = time_key(order.created_at, order_id)
    if trigger.rests:
        keys["by_status"] = status_key(Status.OPEN, order.created_at, order_id)
    if request.expires_at is not None:
        keys["expiry_pk"] = f"expiry#{shard(order_id, EXPIRY_SHARDS)}"
        keys["expiry_sk"] = time_key(request.expires_at, order_id)
    return keys
