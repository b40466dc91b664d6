"""Orders as DynamoDB items.

The events are a list of small JSON texts: a write appends one, and what it costs depends on the item's size, so
names are short and the best known tokens are written as symbols (``tokens``). An event's sequence number is its place
in the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from order_engine.aws import tokens
from order_engine.aws.decisions import decode_decision, encode_decision
from order_engine.aws.indexes import aside_price, index_keys, time_key
from order_engine.domain.errors import TooNew
from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.numerals import read_decimal
from order_engine.domain.order import (
    Detail,
    Event,
    Failure,
    Fill,
    Lease,
    Order,
    OrderRef,
    OrderRequest,
    Retry,
    Routed,
    SignedTransaction,
    Status,
    Submission,
    further_fields,
    further_values,
)
from order_engine.wire import forms

type Item = dict[str, Any]

# The table's time to live, in seconds since the epoch: of ended orders only.
DELETE_AT = "delete_at"
_DAY_S = 86_400


class Corrupt(ValueError):
    """An item that is not an order."""


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- events ------------------------------------------------------------------------------------------------------


def _encode_detail(detail: Detail) -> dict[str, object]:
    match detail:
        case None:
            return {}
        case Retry():
            return {"e": [detail.failure.code, detail.failure.message], "r": detail.retry_at}
        case Routed():
            return {**encode_decision(detail.decision), "m": detail.min_out}
        case Submission():
            return {"h": detail.signature}
        case Fill():
            return {"h": detail.signature, "out": detail.amount_out, "slot": detail.slot}
        case Failure():
            return {"e": [detail.code, detail.message]}


def _decode_detail(status: Status, value: Mapping[str, Any]) -> Detail:
    if status in (Status.PENDING, Status.OPEN):
        return Retry(Failure(*value["e"]), value["r"]) if "e" in value else None
    if status is Status.BUILDING:
        return Routed(decode_decision(value), value["m"])
    if status is Status.SUBMITTED:
        return Submission(value["h"])
    if status is Status.CONFIRMED:
        return Fill(value["h"], value["out"], value["slot"])
    if status is Status.FAILED:
        return Failure(*value["e"])
    return None


def encode_event(event: Event) -> str:
    who = {} if event.key_id is None else {"k": event.key_id}
    return _dump({"s": event.status.value, "t": event.at, "a": event.attempt, **_encode_detail(event.detail), **who})


def decode_event(seq: int, text: str) -> Event:
    value = json.loads(text)
    status = Status(value["s"])
    return Event(seq, status, value["t"], value["a"], _decode_detail(status, value), value.get("k"))


# --- orders ------------------------------------------------------------------------------------------------------


def encode_request(request: OrderRequest) -> str:
    """A request's text. A field that came after 0.1.0 is written by its name, where it is not at its default."""
    value: dict[str, object] = {
        "t": request.type,
        "i": tokens.encode(request.token_in),
        "o": tokens.encode(request.token_out),
        "a": request.amount_in,
        "s": request.slippage_bps,
    }
    if request.limit_price is not None:
        value["l"] = str(request.limit_price)
    if request.expires_at is not None:
        value["x"] = request.expires_at
    if request.wallet_address is not None:
        value["w"] = request.wallet_address
    for name, own in further_values(request).items():
        value[name] = [str(own)] if isinstance(own, Decimal) else own
    return _dump(value)


def decode_request[R: OrderRequest](text: str, kind: type[R]) -> R:
    """Read a request.

    Args:
        kind: what to make of it. A field that it does not have is passed over: where that must not be, the field comes
            with a form of its own (``wire/forms.py``).
    """
    value = json.loads(text)
    further: dict[str, Any] = {
        field.name: read_decimal(value[field.name][0]) if isinstance(value[field.name], list) else value[field.name]
        for field in further_fields(kind)
        if field.name in value
    }
    return kind(
        type=value["t"],
        token_in=tokens.decode(value["i"]),
        token_out=tokens.decode(value["o"]),
        amount_in=value["a"],
        slippage_bps=value["s"],
        limit_price=read_decimal(value["l"]) if "l" in value else None,
        expires_at=value.get("x"),
        wallet_address=value.get("w"),
        **further,
    )


def key_of(ref: OrderRef) -> Item:
    return {"user_id": {"S": ref.user_id}, "order_id": {"S": ref.order_id}}


def ref_of(item: Mapping[str, Any]) -> OrderRef:
    """The key of an item, or of an index's entry."""
    return OrderRef(item["user_id"]["S"], item["order_id"]["S"])


def _state(order: Order) -> dict[str, str | int | None]:
    """The attributes that change with the order, besides its events. None means absent."""
    intent = order.intent
    keys = index_keys(order)
    return {
        "status": order.status.value,
        "seq": order.seq,
        "version": order.version,
        "lease_owner": order.lease.owner if order.lease else None,
        "lease_until": order.lease.until if order.lease else None,
        "retry_at": order.retry_at,
        "intent": _encode_intent(order, intent) if intent else None,
        "resent_at": order.resent_at,
        "resends": order.resends or None,
        "work_pk": keys.get("work_pk"),
        "work_sk": keys.get("work_sk"),
        "by_status": keys.get("by_status"),
        "expiry_pk": keys.get("expiry_pk"),
        "expiry_sk": keys.get("expiry_sk"),
    }


def _value(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _form_of(request: OrderRequest, events: Sequence[Event]) -> int:
    """The form that these parts of an order are written in: the second where a token is written out."""
    decisions = [event.detail.decision.tokens for event in events if isinstance(event.detail, Routed)]
    met = (request.token_in, request.token_out, *(token for called in decisions for token in called))
    return max(forms.ORDER.writes, forms.WRITTEN_OUT if any(map(tokens.is_written_out, met)) else 1)


def to_item(order: Order) -> Item:
    """The whole item of a new order."""
    item = key_of(order.ref)
    item["by_time"] = {"S": time_key(order.created_at, order.ref.order_id)}
    item["request"] = {"S": encode_request(order.request)}
    item["fingerprint"] = {"S": order.fingerprint}
    item["events"] = {"L": [{"S": encode_event(event)} for event in order.events]}
    item[forms.SCHEMA] = _value(max(order.form, _form_of(order.request, order.events)))
    item |= {name: _value(value) for name, value in _state(order).items() if value is not None}
    return item


def from_item(item: Mapping[str, Any]) -> Order:
    """Read an item, or an image of the stream.

    Raises:
        TooNew: a newer release has written it, in a form that this one does not read.
        Corrupt: it is not an order.
    """
    try:
        form = forms.ORDER.check(_number(item, forms.SCHEMA))
        events = tuple(decode_event(seq, text["S"]) for seq, text in enumerate(item["events"]["L"], start=1))
        return Order(
            ref=ref_of(item),
            request=decode_request(item["request"]["S"], OrderRequest),
            created_at=int(item["by_time"]["S"].partition("#")[0]),
            fingerprint=item["fingerprint"]["S"],
            events=events,
            version=int(item["version"]["N"]),
            lease=Lease(item["lease_owner"]["S"], int(item["lease_until"]["N"])) if "lease_owner" in item else None,
            retry_at=_number(item, "retry_at"),
            intent=_decode_intent(item["intent"]["S"], events) if "intent" in item else None,
            resent_at=_number(item, "resent_at"),
            resends=_number(item, "resends") or 0,
            aside=aside_price(item["work_sk"]["S"]) if "work_sk" in item else None,
            form=form,
        )
    except TooNew:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
        raise Corrupt(f"not an order: {type(error).__name__} {error}") from error
    except Exception as error:
        # A token or number that the domain refuses.
        raise Corrupt(f"not an order: {error}") from error


def _encode_intent(order: Order, intent: SignedTransaction) -> str:
    """The transaction; its signature only where no event has told of it."""
    told = order.signature == intent.signature
    return _dump([intent.raw, intent.last_valid_block_height, *(() if told else (intent.signature,))])


def _decode_intent(text: str, events: Sequence[Event]) -> SignedTransaction:
    raw, last_valid, *signature = json.loads(text)
    told = [event.detail.signature for event in events if isinstance(event.detail, Submission | Fill)]
    return SignedTransaction(signature[0] if signature else told[-1], raw, last_valid)


def _number(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def update_of(old: Order, new: Order, *, keep_days: int = 0) -> dict[str, Any]:
    """The parts of an UpdateItem call that turns ``old`` into ``new`` and nothing else into anything.

    The condition is all that ``old`` was: its sequence number, its fencing number and its lease.

    Args:
        keep_days: DynamoDB may delete an order so many days after its end; 0 for never.
    """
    names: dict[str, str] = {"#seq": "seq", "#version": "version", "#owner": "lease_owner"}
    values: Item = {":old_seq": _value(old.seq), ":old_version": _value(old.version)}
    conditions = ["#seq = :old_seq", "#version = :old_version"]
    if old.lease is None:
        conditions.append("attribute_not_exists(#owner)")
    else:
        values[":old_owner"] = {"S": old.lease.owner}
        conditions.append("#owner = :old_owner")
    before, after = _state(old), _state(new)
    # A claim starts the count of resends anew, also where the sweeper has marked the order since it was read.
    always = {"resent_at", "resends"} if new.version != old.version else set()
    sets: list[str] = []
    removes: list[str] = []
    for number, (name, value) in enumerate(after.items()):
        if value == before[name] and name not in always:
            continue
        names[f"#n{number}"] = name
        if value is None:
            removes.append(f"#n{number}")
        else:
            values[f":n{number}"] = _value(value)
            sets.append(f"#n{number} = :n{number}")
    added = new.events[len(old.events) :]
    if added:
        names["#events"] = "events"
        values[":added"] = {"L": [{"S": encode_event(event)} for event in added]}
        sets.append("#events = list_append(#events, :added)")
    form = max(old.form, _form_of(new.request, added))
    if form != old.form:
        # Now a part of it has the newer form. One that is newer already is never called older.
        names["#schema"] = forms.SCHEMA
        values[":schema"] = _value(form)
        sets.append("#schema = :schema")
    if keep_days and new.status in TERMINAL and old.status not in TERMINAL:
        names["#delete"] = DELETE_AT
        values[":delete"] = _value(new.updated_at // 1000 + keep_days * _DAY_S)
        sets.append("#delete = :delete")
    clauses = []
    if sets:
        clauses.append(f"SET {', '.join(sets)}")
    if removes:
        clauses.append(f"REMOVE {', '.join(removes)}")
    return {
        "Key": key_of(old.ref),
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
