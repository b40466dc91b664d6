"""How orders and events look to a client: camelCase JSON, amounts and prices as decimal strings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from order_engine.domain.amounts import BY_MINT, format_amount, format_price, price
from order_engine.domain.order import Event, Failure, Fill, Order, OrderRequest, Retry, Routed, Submission
from order_engine.domain.quote import Candidate, Decision, Leg
from order_engine.wire import forms
from order_engine.wire.times import to_text

type Json = dict[str, Any]

_SNAPSHOT_BYTES = 100_000


def leg_view(leg: Leg) -> Json:
    token_in, token_out = BY_MINT[leg.mint_in], BY_MINT[leg.mint_out]
    return {
        "venue": leg.venue,
        "pool": leg.pool_id,
        "tokenIn": token_in.symbol,
        "tokenOut": token_out.symbol,
        "amountIn": format_amount(leg.amount_in, token_in),
        "amountOut": format_amount(leg.amount_out, token_out),
    }


def candidate_view(request: OrderRequest, candidate: Candidate) -> Json:
    token_in, token_out = request.token_in, request.token_out
    net = format_amount(abs(candidate.net_out), token_out)
    return {
        "venue": candidate.venue,
        "kind": candidate.kind,
        "amountOut": format_amount(candidate.amount_out, token_out),
        "netOut": net if candidate.net_out >= 0 else f"-{net}",
        "price": format_price(price(request.amount_in, candidate.amount_out, token_in, token_out)),
        "priceImpactBps": format_price(candidate.price_impact_bps),
        "legs": [leg_view(leg) for leg in candidate.legs],
    }


def decision_view(request: OrderRequest, decision: Decision) -> Json:
    other, gap = decision.improvement_over_other_bps, decision.optimality_gap_bps
    return {
        "venue": decision.chosen.venue,
        "reason": decision.reason,
        "route": candidate_view(request, decision.chosen),
        "quotes": [candidate_view(request, quote) for quote in decision.quotes],
        "leftOut": [{"venue": left.venue, "reason": left.reason} for left in decision.left_out],
        "improvementBps": format_price(decision.improvement_bps),
        "improvementOverOtherBps": None if other is None else format_price(other),
        "networkFeeLamports": decision.network_fee_lamports,
        "optimalityGapBps": None if gap is None else format_price(gap),
    }


def _failure_view(failure: Failure) -> Json:
    return {"code": failure.code, "message": failure.message}


def detail_view(request: OrderRequest, event: Event) -> Json:
    """The fields that a step adds to its frame."""
    detail = event.detail
    match detail:
        case None:
            return {}
        case Retry():
            return {"error": _failure_view(detail.failure), "retryAt": to_text(detail.retry_at)}
        case Routed():
            view = decision_view(request, detail.decision)
            view["minOut"] = format_amount(detail.min_out, request.token_out)
            return view
        case Submission():
            return {"txHash": detail.signature}
        case Fill():
            return {
                "txHash": detail.signature,
                "amountOut": format_amount(detail.amount_out, request.token_out),
                "executedPrice": format_price(
                    price(request.amount_in, detail.amount_out, request.token_in, request.token_out)
                ),
                "slot": detail.slot,
            }
        case Failure():
            return {"failureReason": detail.message, "error": _failure_view(detail)}


def event_view(request: OrderRequest, event: Event) -> Json:
    return {
        "seq": event.seq,
        "status": event.status.value,
        "at": to_text(event.at),
        "attempt": event.attempt,
        **({} if event.key_id is None else {"keyId": event.key_id}),
        **detail_view(request, event),
    }


def order_view(order: Order, *, events: bool = True) -> Json:
    """An order as it reads back. Fields that do not apply yet are null."""
    request = order.request
    view: Json = {
        "orderId": order.ref.order_id,
        "status": order.status.value,
        "type": request.type,
        "tokenIn": request.token_in.symbol,
        "tokenOut": request.token_out.symbol,
        "amountIn": format_amount(request.amount_in, request.token_in),
        "slippageBps": request.slippage_bps,
        "limitPrice": None if request.limit_price is None else format_price(request.limit_price),
        "expiresAt": None if request.expires_at is None else to_text(request.expires_at),
        "walletAddress": request.wallet_address,
        "createdAt": to_text(order.created_at),
        "updatedAt": to_text(order.updated_at),
        "seq": order.seq,
        "attempts": order.attempts,
        "placedBy": order.placed_by,
        "cancelledBy": order.cancelled_by,
        "venue": None,
        "reason": None,
        "route": None,
        "quotes": None,
        "minOut": None,
        "improvementBps": None,
        "txHash": order.signature,
        "amountOut": None,
        "executedPrice": None,
        "failureReason": None,
        "error": None,
    }
    if order.routed is not None:
        decided = decision_view(request, order.routed.decision)
        view |= {name: decided[name] for name in ("venue", "reason", "route", "quotes", "improvementBps")}
        view["minOut"] = format_amount(order.routed.min_out, request.token_out)
    last = detail_view(request, order.events[-1])
    names = ("amountOut", "executedPrice", "failureReason", "error")
    view |= {name: last[name] for name in names if name in last}
    if events:
        view["events"] = [event_view(request, event) for event in order.events]
    return view


def _frame(content: Mapping[str, Any]) -> bytes:
    return json.dumps({**content, forms.SCHEMA: forms.FRAME.writes}, separators=(",", ":")).encode()


def event_frame(order: Order, event: Event) -> bytes:
    """A live event, as pushed to a socket."""
    return _frame({"type": "event", "orderId": order.ref.order_id, **event_view(order.request, event)})


def snapshot_frames(order: Order, after: int) -> list[bytes]:
    """The order's events after ``after``, and where it stands.

    One frame as a rule. A long history goes in several, each with the next events, since a WebSocket message of
    API Gateway holds 128 KB.
    """
    parts: list[list[Json]] = [[]]
    size = 0
    for event in order.events:
        if event.seq <= after:
            continue
        view = event_view(order.request, event)
        length = len(_frame(view))
        if parts[-1] and size + length > _SNAPSHOT_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(view)
        size += length
    head = {"type": "snapshot", "orderId": order.ref.order_id, "seq": order.seq, "status": order.status.value}
    return [_frame(head | {"events": part}) for part in parts]


def error_frame(code: str, message: str) -> bytes:
    return _frame({"type": "error", "code": code, "message": message})


def pong_frame(at: int) -> bytes:
    return _frame({"type": "pong", "at": to_text(at)})


def subscribed_frame(order_ids: Sequence[str] | None) -> bytes:
    """Confirms what a socket follows now; None for all orders."""
    return _frame({"type": "subscribed", "orders": "all" if order_ids is None else list(order_ids)})
