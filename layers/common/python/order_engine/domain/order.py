"""The order: a request and the events that happened to it. Everything else is derived."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from order_engine.domain.quote import Decision
from order_engine.domain.tokens import Token
from order_engine.domain.trigger import AtLimit, AtOnce, Trigger

type OrderType = Literal["market", "limit"]


class Status(StrEnum):
    """Where an order is in its life. ``lifecycle.TRANSITIONS`` says what may follow what."""

    OPEN = "open"
    PENDING = "pending"
    ROUTING = "routing"
    BUILDING = "building"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class OrderRef:
    """The key of an order. Ownership is part of it: another user's order cannot be addressed."""

    user_id: str
    order_id: str


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What the client asked for.

    Attributes:
        token_in, token_out: as the market listed them when the order was placed; it may have ceased to since.
        amount_in: base units of ``token_in``.
        slippage_bps: tolerance against the quote, basis points.
        limit_price: whole output tokens per whole input token; limit orders only.
        expires_at: milliseconds since the epoch; limit orders only.
        wallet_address: the client's wallet, recorded as given.
    """

    type: OrderType
    token_in: Token
    token_out: Token
    amount_in: int
    slippage_bps: int
    limit_price: Decimal | None = None
    expires_at: int | None = None
    wallet_address: str | None = None

    @property
    def mint_in(self) -> str:
        return self.token_in.mint

    @property
    def mint_out(self) -> str:
        return self.token_out.mint

    @property
    def trigger(self) -> Trigger:
        """What sets the order going; follows from its type and its data."""
        match self.type:
            case "market":
                return AtOnce()
            case "limit":
                assert self.limit_price is not None
                return AtLimit.of(self.amount_in, self.limit_price, self.token_in, self.token_out)


# So many fields a request had in 0.1.0: stored requests name them in short, and their hashes cover them by place.
_FIRST_FIELDS = 8


def first_fields() -> tuple[Field[Any], ...]:
    """The fields that a request had in 0.1.0."""
    return fields(OrderRequest)[:_FIRST_FIELDS]


def further_fields(kind: type[OrderRequest]) -> tuple[Field[Any], ...]:
    """Those that came after it. One counts where it is not at its default, so that old orders stay what they were."""
    return fields(kind)[_FIRST_FIELDS:]


def further_values(request: OrderRequest) -> dict[str, Any]:
    """What a request says in fields that came after 0.1.0, by name."""
    said = {field.name: (getattr(request, field.name), field.default) for field in further_fields(type(request))}
    return {name: value for name, (value, default) in said.items() if value != default}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt or an order failed: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Detail of a return to pending (or open): what went wrong and when the next attempt may start."""

    failure: Failure
    retry_at: int


@dataclass(frozen=True, slots=True)
class Routed:
    """Detail of building: the decision, and the least output (base units) that the transaction accepts."""

    decision: Decision
    min_out: int


@dataclass(frozen=True, slots=True)
class Submission:
    """Detail of submitted: the signature under which the swap may land."""

    signature: str


@dataclass(frozen=True, slots=True)
class Fill:
    """Detail of confirmed: what landed. ``amount_out`` in base units."""

    signature: str
    amount_out: int
    slot: int


type Detail = Retry | Routed | Submission | Fill | Failure | None


@dataclass(frozen=True, slots=True)
class Event:
    """One step of an order's life.

    Attributes:
        seq: 1, 2, 3… without a gap.
        at: milliseconds since the epoch.
        attempt: which attempt to execute it belongs to; 0 before the first.
        key_id: which API key asked for it, ``token`` for a token; None for what the engine did by itself.
    """

    seq: int
    status: Status
    at: int
    attempt: int
    detail: Detail = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to change the order until a time (milliseconds since the epoch)."""

    owner: str
    until: int


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A signed swap, stored before it is broadcast.

    Attributes:
        signature: identifies it on the chain; the same bytes can land once only.
        raw: the bytes, base64.
        last_valid_block_height: after this block height it can no longer land.
    """

    signature: str
    raw: str
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class Order:
    """An order as stored.

    Attributes:
        fingerprint: hash of the request, to tell a replay from a conflict.
        events: never empty; the last one is the state.
        version: the fencing number, raised by every claim.
        lease: the worker that may write, if any.
        retry_at: no attempt may start before (milliseconds since the epoch).
        intent: the transaction that may be on the chain, from submitted until its fate is known.
        resent_at: when the sweeper last sent a message for this order, and how often in a row.
        aside: set while the order rests although the market's price has met its limit, since its full size would
            miss it: the marginal price (as ``limit_price``) at which it would be filled if the pools kept their shape.
        form: the newest form that any part of it is stored in. It says nothing about the order.
    """

    ref: OrderRef
    request: OrderRequest
    created_at: int
    fingerprint: str
    events: tuple[Event, ...]
    version: int = 0
    lease: Lease | None = None
    retry_at: int | None = None
    intent: SignedTransaction | None = None
    resent_at: int | None = None
    resends: int = 0
    aside: Decimal | None = None
    form: int = field(default=1, compare=False)

    @property
    def status(self) -> Status:
        return self.events[-1].status

    @property
    def seq(self) -> int:
        return self.events[-1].seq

    @property
    def updated_at(self) -> int:
        return self.events[-1].at

    @property
    def placed_by(self) -> str | None:
        """The key that placed it; None where that was not recorded."""
        return self.events[0].key_id

    @property
    def cancelled_by(self) -> str | None:
        """The key that cancelled it, once cancelled."""
        return self.events[-1].key_id if self.status is Status.CANCELLED else None

    @property
    def started_at(self) -> int:
        """When execution was asked for: at its creation, or when a limit order last ceased to rest."""
        rested = max((event.seq for event in self.events if event.status is Status.OPEN), default=0)
        return self.events[rested].at if rested < self.seq else self.updated_at

    @property
    def attempts(self) -> int:
        """How many attempts to execute were started."""
        return self.events[-1].attempt

    @property
    def routed(self) -> Routed | None:
        """The latest routing decision."""
        return next((e.detail for e in reversed(self.events) if isinstance(e.detail, Routed)), None)

    @property
    def fill(self) -> Fill | None:
        """What landed, once confirmed."""
        detail = self.events[-1].detail
        return detail if isinstance(detail, Fill) else None

    @property
    def signature(self) -> str | None:
        """The signature of the latest transaction."""
        return next(
            (e.detail.signature for e in reversed(self.events) if isinstance(e.detail, Submission | Fill)),
            None,
        )

    @property
    def failure(self) -> Failure | None:
        """Why the order failed, once failed."""
        detail = self.events[-1].detail
        return detail if isinstance(detail, Failure) and self.status is Status.FAILED else None
