"""The answers of the HTTP API, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from order_engine.domain.order import Status

# ruff: noqa: N815 - the fields are named as they are on the wire


class View(BaseModel):
    model_config = ConfigDict(extra="allow")


class ProblemItem(View):
    field: str | None
    message: str


class FailureView(View):
    code: str
    message: str


class LegView(View):
    venue: str
    pool: str
    tokenIn: str
    tokenOut: str
    amountIn: str
    amountOut: str


class CandidateView(View):
    venue: str
    kind: Literal["single", "path", "split"]
    amountOut: str
    netOut: str = Field(description="After the network fee, in the output token.")
    price: str
    priceImpactBps: str
    legs: list[LegView]


class LeftOutView(View):
    venue: str
    reason: str


class EventView(View):
    """One step; further fields depend on the status."""

    seq: int
    status: Status
    at: str
    attempt: int
    keyId: str | None = Field(None, description="The API key that asked for this step; absent for the engine's own.")


class OrderSummaryView(View):
    orderId: str
    status: Status
    type: Literal["market", "limit"]
    tokenIn: str
    tokenOut: str
    amountIn: str
    slippageBps: int
    limitPrice: str | None
    expiresAt: str | None
    walletAddress: str | None
    createdAt: str
    updatedAt: str
    seq: int
    attempts: int
    placedBy: str | None = Field(description="The id of the API key that placed it, `token` for a token.")
    cancelledBy: str | None = Field(description="The id of the API key that cancelled it, once cancelled.")
    venue: str | None
    reason: str | None
    route: CandidateView | None
    quotes: list[CandidateView] | None
    minOut: str | None
    improvementBps: str | None
    txHash: str | None
    amountOut: str | None
    executedPrice: str | None
    failureReason: str | None
    error: FailureView | None


class OrderView(OrderSummaryView):
    events: list[EventView]


class AcceptedView(View):
    orderId: str
    status: Status
    createdAt: str
    wsUrl: str = Field(description='Connect within a minute; then send {"action":"subscribe","orderId":…}.')


class StreamTicketView(View):
    wsUrl: str = Field(description='Connect before `expiresAt`; then send {"action":"subscribe"} to follow all orders.')
    expiresAt: str


class OrderListView(View):
    orders: list[OrderSummaryView]
    nextCursor: str | None = Field(None, description="Absent on the last page.")


class QuoteView(View):
    at: str
    venue: str
    reason: str
    route: CandidateView
    quotes: list[CandidateView]
    leftOut: list[LeftOutView]
    improvementBps: str
    improvementOverOtherBps: str | None
    networkFeeLamports: int
    optimalityGapBps: str = Field(
        description="No route gives more net output than this one by more than so many basis points. Proved, not "
        "estimated: see docs/routing.md for the routes that are meant."
    )


class ProblemView(View):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable and machine-readable.")
    detail: str = Field(description="A sentence a person understands.")
    field: str | None = Field(None, description="The field at fault.")
    errors: list[ProblemItem] | None = None
    quote: QuoteView | None = Field(None, description="Of a refused quote: the route that an order would fail with.")


class QueueView(View):
    waiting: int
    inFlight: int
    dead: int


class LatencyView(View):
    p50: int | None
    p90: int | None
    p99: int | None


class StatsView(View):
    queue: QueueView
    open: int = Field(description="Resting limit orders.")
    active: int = Field(
        description="Orders that are queued or being executed. Where some thousand wait, there may be more."
    )
    finished: int
    byStatus: dict[str, int]
    byVenue: dict[str, int]
    latencyMs: LatencyView


class HealthView(View):
    status: Literal["ok"]
    stage: str


DESCRIPTIONS = {
    401: "The key or ticket is missing or not valid.",
    403: "The key lacks the scope.",
    404: "There is no such order.",
    409: "What the orders are now stands against it: it is too late to cancel, or too many are open.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is invalid; the answer names the field.",
    429: "Too many requests in a short time; Retry-After says when the next is admitted.",
    503: "Nothing was accepted; try again.",
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Which error statuses an operation may answer; ``submit.description`` says what they look like."""
    return {status: {"description": DESCRIPTIONS[status], "model": ProblemView} for status in statuses}


COMMON_ERRORS = problem_answers(401, 403, 422, 503)
