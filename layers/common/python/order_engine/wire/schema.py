"""What crosses the edges, written once: the API describes its answers by these types, the views fill them in, the
Python client reads them.

Amounts are decimal strings of whole tokens, times RFC 3339 texts, prices decimal strings of output per input token. A
field that does not apply yet is null where its type says so; one that is ``NotRequired`` is absent. Fields may be
added: a reader ignores what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from order_engine.domain.order import Status


@dataclass(frozen=True, slots=True)
class Says:
    """A field's description and form, for the documents that are made of these types: keywords of JSON Schema."""

    text: str | None = None
    pattern: str | None = None
    minimum: int | None = None
    min_items: int | None = None

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Pydantic asks annotations for this; the engine itself never loads it for that."""
        said = {
            "description": self.text,
            "pattern": self.pattern,
            "minimum": self.minimum,
            "minItems": self.min_items,
        }
        return {**handler(core_schema), **{name: own for name, own in said.items() if own is not None}}


# A decimal number, exactly.
Number = Annotated[str, Says(pattern=r"^-?\d+(\.\d+)?$")]
# RFC 3339, UTC, with milliseconds.
Time = Annotated[str, Says(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Count = Annotated[int, Says(minimum=0)]
Seq = Annotated[int, Says("1, 2, 3… without a gap.", minimum=1)]
OVER_OTHER = "How much more than the runner-up it gives, after all fees; null where no other venue can fill the order."
RUNNER_UP = "The venue that `improvementOverOtherBps` is measured against; null where that is."


class FailureView(TypedDict):
    code: str
    message: str


class LegView(TypedDict):
    """One swap in one pool."""

    venue: str
    pool: str
    tokenIn: str
    tokenOut: str
    amountIn: Number
    amountOut: Number


class CandidateView(TypedDict):
    """One way to fill an order."""

    venue: str
    kind: Literal["single", "path", "split"]
    amountOut: Number
    netOut: Annotated[Number, Says("After the network fee, in the output token.")]
    price: Number
    priceImpactBps: Number
    legs: Annotated[list[LegView], Says(min_items=1)]


class LeftOutView(TypedDict):
    venue: str
    reason: str


class RoutedView(TypedDict):
    """The route, and what was considered."""

    venue: str
    reason: str
    route: CandidateView
    quotes: list[CandidateView]
    leftOut: list[LeftOutView]
    improvementBps: Number
    improvementOverOtherBps: Annotated[Number | None, Says(OVER_OTHER)]
    runnerUp: Annotated[str | None, Says(RUNNER_UP)]
    networkFeeLamports: Count


class DecisionView(RoutedView):
    """The route of an order; the gap is null where it was routed before gaps were known."""

    optimalityGapBps: Number | None


class QuoteView(RoutedView):
    """All candidates, and the route that an order would take now."""

    at: Time
    optimalityGapBps: Annotated[
        Number,
        Says(
            "No route gives more net output than this one by more than so many basis points. Proved, not estimated: "
            "see docs/routing.md for the routes that are meant."
        ),
    ]


class DetailView(TypedDict, total=False):
    """What a step adds; which of it depends on the status."""

    error: FailureView
    retryAt: Time
    venue: Annotated[str, Says('Where the order is executed; several venues are joined by "+".')]
    reason: Annotated[str, Says("Why this route was chosen.")]
    route: CandidateView
    quotes: Annotated[list[CandidateView], Says("Best net output first, the best of each venue among them.")]
    leftOut: Annotated[list[LeftOutView], Says("Venues that gave no quote.")]
    improvementBps: Number
    improvementOverOtherBps: Annotated[Number | None, Says(OVER_OTHER)]
    runnerUp: Annotated[str | None, Says(RUNNER_UP)]
    networkFeeLamports: Count
    optimalityGapBps: Number | None
    minOut: Number
    txHash: Annotated[str, Says("The signature under which the swap lands.")]
    amountOut: Number
    executedPrice: Number
    slot: Count
    failureReason: str


class EventView(DetailView):
    """One step; further fields depend on the status."""

    seq: Seq
    status: Status
    at: Time
    attempt: Annotated[Count, Says("Which attempt to execute the order it belongs to; 0 before the first.")]
    keyId: NotRequired[Annotated[str, Says("The API key that asked for this step; absent for the engine's own.")]]


class OrderSummaryView(TypedDict):
    """An order without its history."""

    orderId: str
    status: Status
    type: Literal["market", "limit"]
    tokenIn: str
    tokenOut: str
    amountIn: Number
    slippageBps: Count
    limitPrice: Number | None
    expiresAt: Time | None
    walletAddress: str | None
    createdAt: Time
    updatedAt: Time
    seq: Seq
    attempts: Count
    placedBy: Annotated[str | None, Says("The id of the API key that placed it, `token` for a token.")]
    cancelledBy: Annotated[str | None, Says("The id of the API key that cancelled it, once cancelled.")]
    venue: str | None
    reason: str | None
    route: CandidateView | None
    quotes: list[CandidateView] | None
    minOut: Number | None
    improvementBps: Number | None
    txHash: str | None
    amountOut: Number | None
    executedPrice: Number | None
    failureReason: str | None
    error: FailureView | None


class OrderView(OrderSummaryView):
    """An order as it reads back."""

    events: list[EventView]


class AcceptedView(TypedDict):
    orderId: str
    status: Status
    createdAt: Time
    wsUrl: Annotated[str, Says('Connect within a minute; then send {"action":"subscribe","orderId":…}.')]


class StreamTicketView(TypedDict):
    wsUrl: Annotated[str, Says('Connect before `expiresAt`; then send {"action":"subscribe"} to follow all orders.')]
    expiresAt: Time


class OrderListView(TypedDict):
    """Orders, newest first."""

    orders: list[OrderSummaryView]
    nextCursor: NotRequired[Annotated[str, Says("Absent on the last page.")]]


class ProblemItem(TypedDict):
    field: str | None
    message: str


class ProblemView(TypedDict):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: Annotated[str, Says("Stable and machine-readable; docs/api.md has all, with what helps.")]
    detail: Annotated[str, Says("A sentence a person understands.")]
    field: NotRequired[Annotated[str, Says("The field at fault.")]]
    errors: NotRequired[list[ProblemItem]]
    quote: NotRequired[Annotated[QuoteView, Says("Of a refused quote: the route that an order would fail with.")]]


class TokenView(TypedDict):
    """A token that can be traded."""

    symbol: Annotated[str | None, Says("How it is named in orders; null where it is named by its mint.")]
    mint: str
    decimals: Annotated[Count, Says("An amount has at most so many decimals.")]


class TokensView(TypedDict):
    """The tokens that can be traded, each against each."""

    tokens: list[TokenView]


class QueueView(TypedDict):
    waiting: Count
    inFlight: Count
    dead: Count


class LatencyView(TypedDict):
    """From accepted to the end, milliseconds; null while nothing has ended."""

    p50: int | None
    p90: int | None
    p99: int | None


class StatsView(TypedDict):
    queue: QueueView
    open: Annotated[Count, Says("Resting limit orders.")]
    active: Annotated[
        Count, Says("Orders that are queued or being executed. Where some thousand wait, there may be more.")
    ]
    finished: Count
    byStatus: dict[str, int]
    byVenue: dict[str, int]
    latencyMs: LatencyView


class HealthView(TypedDict):
    status: Literal["ok"]
    stage: str


# --- frames of the stream ------------------------------------------------------------------------------------------


class EventFrame(EventView):
    """One step, as it happened."""

    type: Literal["event"]
    orderId: str


class SnapshotFrame(TypedDict):
    """Where an order stands, and its events after what the client has."""

    type: Literal["snapshot"]
    orderId: str
    seq: Annotated[Seq, Says("The order's last event, now.")]
    status: Status
    events: Annotated[list[EventView], Says("Without a gap, oldest first; empty if there is nothing after `after`.")]


class SubscribedFrame(TypedDict):
    """All orders are followed, or these, and the newest have been shown."""

    type: Literal["subscribed"]
    orders: Literal["all"] | list[str]


class PongFrame(TypedDict):
    type: Literal["pong"]
    at: Time


class ErrorFrame(TypedDict):
    """A message could not be served."""

    type: Literal["error"]
    code: Annotated[
        str,
        Says(
            "Stable and machine-readable. `newer_release` passes: an update of the engine is under way, ask again in "
            "a few seconds. `rate_limited` says that your sockets have sent too many messages, and when to come back; "
            "the socket is closed after it."
        ),
    ]
    message: Annotated[str, Says("A sentence a person understands.")]


FRAMES: tuple[type, ...] = (EventFrame, SnapshotFrame, SubscribedFrame, PongFrame, ErrorFrame)
# What a step always adds, by the status that it leads to.
STEPS_ADD: Mapping[Status, Sequence[str]] = {
    Status.BUILDING: (*DecisionView.__annotations__, "minOut"),
    Status.SUBMITTED: ("txHash",),
    Status.CONFIRMED: ("txHash", "amountOut", "executedPrice", "slot"),
    Status.FAILED: ("failureReason", "error"),
}


def _open(view: Any) -> None:
    """Tell readers of the documents that fields may be added."""
    view.__pydantic_config__ = {"extra": "allow"}


for _view in (
    *(FailureView, LegView, CandidateView, LeftOutView, RoutedView, DecisionView, QuoteView, DetailView, EventView),
    *(OrderSummaryView, OrderView, AcceptedView, StreamTicketView, OrderListView, ProblemItem, ProblemView),
    *(TokenView, TokensView, QueueView, LatencyView, StatsView, HealthView),
):
    _open(_view)
