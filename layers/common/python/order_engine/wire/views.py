"""How orders and events look to a client: camelCase JSON, amounts and prices as decimal strings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from order_engine.domain.amounts import format_amount, format_price, price
from order_engine.domain.order import Event, Failure, Fill, Order, OrderRequest, Retry, Routed, Submission
from order_engine.domain.quote import Candidate, Decision, Leg
from order_engine.domain.tokens import Token
from order_engine.wire import forms
from order_engine.wire.times import to_text

if TYPE_CHECKING:
    from order_engine.wire.schema import (
        CandidateView,
        DecisionView,
        DetailView,
        ErrorFrame,
        EventFrame,
        EventView,
        FailureView,
        LegView,
        OrderSummaryView,
        OrderView,
        PongFrame,
        SnapshotFrame,
        SubscribedFrame,
        TokensView,
    )

# Of events in a frame; what stands around them has room in the rest of 32 KB.
_SNAPSHOT_BYTES = 30_000


def tokens_view(tokens: Iterable[Token]) -> TokensView:
    return {"tokens": [{"symbol": one.symbol, "mint": one.mint, "decimals": one.decimals} for one in tokens]}


def leg_view(leg: Leg, called: Mapping[str, Token]) -> LegView:
    token_in, token_out = called[leg.mint_in], called[leg.mint_out]
    return {
        "venue": leg.venue,
        "pool": leg.pool_id,
        "tokenIn": token_in.name,
        "tokenOut": token_out.name,
        "amountIn": format_amount(leg.amount_in, token_in),
        "amountOut": format_amount(leg.amount_out, token_out),
    }


def candidate_view(request: OrderRequest, candidate: Candidate, called: Mapping[str, Token]) -> CandidateView:
    token_in, token_out = request.token_in, request.token_out
    net = format_amount(abs(candidate.net_out), token_out)
    return {
        "venue": candidate.venue,
        "kind": candidate.kind,
        "amountOut": format_amount(candidate.amount_out, token_out),
        "netOut": net if candidate.net_out >= 0 else f"-{net}",
        "price": format_price(price(request.amount_in, candidate.amount_out, token_in, token_out)),
        "priceImpactBps": format_price(candidate.price_impact_bps),
        "legs": [leg_view(leg, called) for leg in candidate.legs],
    }


def decision_view(request: OrderRequest, decision: Decision) -> DecisionView:
    other, gap, second = decision.improvement_over_other_bps, decision.optimality_gap_bps, decision.runner_up
    called = {token.mint: token for token in (*decision.tokens, request.token_in, request.token_out)}
    return {
        "venue": decision.chosen.venue,
        "reason": decision.reason,
        "route": candidate_view(request, decision.chosen, called),
        "quotes": [candidate_view(request, quote, called) for quote in decision.quotes],
        "leftOut": [{"venue": left.venue, "reason": left.reason} for left in decision.left_out],
        "improvementBps": format_price(decision.improvement_bps),
        "improvementOverOtherBps": None if other is None else format_price(other),
        "runnerUp": None if second is None else second.venue,
        "networkFeeLamports": decision.network_fee_lamports,
        "optimalityGapBps": None if gap is None else format_price(gap),
    }


def _failure_view(failure: Failure) -> FailureView:
    return {"code": failure.code, "message": failure.message}


def detail_view(request: OrderRequest, event: Event) -> DetailView:
    """The fields that a step adds to its frame."""
    detail = event.detail
    match detail:
        case None:
            return {}
        case Retry():
            return {"error": _failure_view(detail.failure), "retryAt": to_text(detail.retry_at)}
        case Routed():
            view = cast("DetailView", decision_view(request, detail.decision))
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


def event_view(request: OrderRequest, event: Event) -> EventView:
    view: EventView = {
        "seq": event.seq,
        "status": event.status,
        "at": to_text(event.at),
        "attempt": event.attempt,
    }
    if event.key_id is not None:
        view["keyId"] = event.key_id
    return {**view, **detail_view(request, event)}


def summary_view(order: Order) -> OrderSummaryView:
    """An order without its history. Fields that do not apply yet are null."""
    request = order.request
    view: OrderSummaryView = {
        "orderId": order.ref.order_id,
        "status": order.status,
        "type": request.type,
        "tokenIn": request.token_in.name,
        "tokenOut": request.token_out.name,
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
        view["venue"] = decided["venue"]
        view["reason"] = decided["reason"]
        view["route"] = decided["route"]
        view["quotes"] = decided["quotes"]
        view["improvementBps"] = decided["improvementBps"]
        view["minOut"] = format_amount(order.routed.min_out, request.token_out)
    last = detail_view(request, order.events[-1])
    view["amountOut"] = last.get("amountOut")
    view["executedPrice"] = last.get("executedPrice")
    view["failureReason"] = last.get("failureReason")
    view["error"] = last.get("error")
    return view


def order_view(order: Order) -> OrderView:
    """An order as it reads back."""
    return {**summary_view(order), "events": [event_view(order.request, event) for event in order.events]}


type _Frame = EventFrame | SnapshotFrame | SubscribedFrame | PongFrame | ErrorFrame


def _frame(content: _Frame) -> bytes:
    return json.dumps({**content, forms.SCHEMA: forms.FRAME.writes}, separators=(",", ":")).encode()


def event_frame(order: Order, event: Event) -> bytes:
    """A live event, as pushed to a socket."""
    frame: EventFrame = {"type": "event", "orderId": order.ref.order_id, **event_view(order.request, event)}
    return _frame(frame)


def snapshot_frames(order: Order, after: int) -> list[bytes]:
    """The order's events after ``after``, and where it stands.

    One as a rule. A long history goes in several, each with the next events, since a WebSocket frame of API Gateway
    holds 32 KB, and it charges messages by these.
    """
    parts: list[list[EventView]] = [[]]
    size = 0
    for event in order.events:
        if event.seq <= after:
            continue
        view = event_view(order.request, event)
        length = len(json.dumps(view, separators=(",", ":")))
        if parts[-1] and size + length > _SNAPSHOT_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(view)
        size += length
    return [
        _frame(
            {
                "type": "snapshot",
                "orderId": order.ref.order_id,
                "seq": order.seq,
                "status": order.status,
                "events": part,
            }
        )
        for part in parts
    ]


def error_frame(code: str, message: str) -> bytes:
    return _frame({"type": "error", "code": code, "message": message})


def pong_frame(at: int) -> bytes:
    return _frame({"type": "pong", "at": to_text(at)})


def subscribed_frame(order_ids: Sequence[str] | None) -> bytes:
    """Confirms what a socket follows now; None for all orders."""
    return _frame({"type": "subscribed", "orders": "all" if order_ids is None else list(order_ids)})
