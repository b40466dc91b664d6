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
)
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg
from order_engine.domain.tokens import Token
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


def _encode_decision(decision: Decision) -> dict[str, object]:
    """A decision without repetitions: the item's size is what each later write of the order costs.

    Pools are written once ("p") and named by their place. Most candidates send the whole order ("w": tokens and
    amount) through one pool, which leaves four numbers of them. Tokens that have to be written out are so once ("n"),
    and named by their place likewise.
    """
    candidates = (*decision.quotes, decision.chosen)
    pools = list(dict.fromkeys((leg.venue, leg.pool_id) for candidate in candidates for leg in candidate.legs))
    place = {pool: number for number, pool in enumerate(pools)}
    called = {token.mint: token for token in decision.tokens}
    out = [
        called[mint]
        for mint in dict.fromkeys(
            mint for candidate in candidates for leg in candidate.legs for mint in (leg.mint_in, leg.mint_out)
        )
        if _is_written_out(mint, called)
    ]
    token_at = {token.mint: number for number, token in enumerate(out)}
    singles = [candidate.legs[0] for candidate in candidates if len(candidate.legs) == 1]
    whole = (singles[0].mint_in, singles[0].mint_out, singles[0].amount_in) if singles else None

    def encode(candidate: Candidate) -> list[object]:
        amount_out, net_out, impact = candidate.amount_out, candidate.net_out, str(candidate.price_impact_bps)
        first = candidate.legs[0]
        if candidate == _whole(whole, first.venue, first.pool_id, amount_out, net_out, impact):
            return [place[first.venue, first.pool_id], amount_out, net_out, impact]
        legs = [encode_leg(leg) for leg in candidate.legs]
        return [candidate.venue, candidate.kind, amount_out, net_out, impact, legs]

    def encode_leg(leg: Leg) -> list[object]:
        pool = place[leg.venue, leg.pool_id]
        return [pool, encode_mint(leg.mint_in), encode_mint(leg.mint_out), leg.amount_in, leg.amount_out]

    def encode_mint(mint: str) -> object:
        return token_at[mint] if mint in token_at else tokens.encode(tokens.BY_MINT[mint])

    # The chosen candidate is nearly always among the quotes: its place is enough.
    quotes = list(decision.quotes)
    other = decision.improvement_over_other_bps
    return {
        "p": pools,
        **({"n": [tokens.encode(token) for token in out]} if out else {}),
        "w": None if whole is None else [encode_mint(whole[0]), encode_mint(whole[1]), whole[2]],
        "q": [encode(quote) for quote in quotes],
        "c": quotes.index(decision.chosen) if decision.chosen in quotes else encode(decision.chosen),
        **({"x": [[left.venue, left.reason] for left in decision.left_out]} if decision.left_out else {}),
        "y": decision.reason,
        "i": str(decision.improvement_bps),
        "o": None if other is None else str(other),
        "f": decision.network_fee_lamports,
        **({} if decision.optimality_gap_bps is None else {"g": str(decision.optimality_gap_bps)}),
    }


def _is_written_out(mint: str, called: Mapping[str, Token]) -> bool:
    known = tokens.BY_MINT.get(mint)
    return known is None or called.get(mint, known) != known


def _whole(
    whole: tuple[str, str, int] | None, venue: str, pool_id: str, amount_out: int, net_out: int, impact: str
) -> Candidate | None:
    """The candidate that sends everything through one pool; ``whole`` is mint in, mint out and amount."""
    if whole is None:
        return None
    leg = Leg(venue, pool_id, *whole, amount_out)
    return Candidate(venue, "single", (leg,), amount_out, net_out, read_decimal(impact))


def _decode_decision(value: Mapping[str, Any]) -> Decision:
    pools = value["p"]
    out = [tokens.decode(written) for written in value.get("n", ())]
    met: dict[str, Token] = {}

    def mint_of(written: str | int) -> str:
        token = out[written] if isinstance(written, int) else tokens.decode(written)
        met[token.mint] = token
        return token.mint

    whole = None if value["w"] is None else (mint_of(value["w"][0]), mint_of(value["w"][1]), value["w"][2])

    def decode(candidate: list[Any]) -> Candidate:
        if isinstance(candidate[0], int):
            number, *numbers = candidate
            venue, pool_id = pools[number]
            single = _whole(whole, venue, pool_id, *numbers)
            if single is None:
                raise ValueError("a quote for the whole order, which is not there")
            return single
        venue, kind, amount_out, net_out, impact, legs = candidate
        return Candidate(
            venue=venue,
            kind=kind,
            legs=tuple(decode_leg(*leg) for leg in legs),
            amount_out=amount_out,
            net_out=net_out,
            price_impact_bps=read_decimal(impact),
        )

    def decode_leg(number: int, token_in: str | int, token_out: str | int, amount_in: int, amount_out: int) -> Leg:
        venue, pool_id = pools[number]
        return Leg(venue, pool_id, mint_of(token_in), mint_of(token_out), amount_in, amount_out)

    quotes = tuple(map(decode, value["q"]))
    chosen = quotes[value["c"]] if isinstance(value["c"], int) else decode(value["c"])
    return Decision(
        chosen=chosen,
        quotes=quotes,
        left_out=tuple(LeftOut(*left) for left in value.get("x", ())),
        reason=value["y"],
        improvement_bps=read_decimal(value["i"]),
        improvement_over_other_bps=None if value["o"] is None else read_decimal(value["o"]),
        network_fee_lamports=value["f"],
        # Decisions that were stored before the gap was known have none.
        optimality_gap_bps=Decimal(value["g"]) if "g" in value else None,
        tokens=tuple(met.values()),
    )


def _encode_detail(detail: Detail) -> dict[str, object]:
    match detail:
        case None:
            return {}
        case Retry():
            return {"e": [detail.failure.code, detail.failure.message], "r": detail.retry_at}
        case Routed():
            return {**_encode_decision(detail.decision), "m": detail.min_out}
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
        return Routed(_decode_decision(value), value["m"])
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


def _encode_request(request: OrderRequest) -> str:
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
    return _dump(value)


def _decode_request(text: str) -> OrderRequest:
    value = json.loads(text)
    return OrderRequest(
        type=value["t"],
        token_in=tokens.decode(value["i"]),
        token_out=tokens.decode(value["o"]),
        amount_in=value["a"],
        slippage_bps=value["s"],
        limit_price=read_decimal(value["l"]) if "l" in value else None,
        expires_at=value.get("x"),
        wallet_address=value.get("w"),
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
    item["request"] = {"S": _encode_request(order.request)}
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
            request=_decode_request(item["request"]["S"]),
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
