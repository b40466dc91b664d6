"""Orders in every status, how to get there, and orders and decisions as stores are given them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from order_engine.domain import lifecycle
from order_engine.domain.amounts import U64_MAX
from order_engine.domain.order import (
    Failure,
    Fill,
    Lease,
    Order,
    OrderRef,
    OrderRequest,
    Routed,
    SignedTransaction,
    Status,
)
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.place import fingerprint
from order_engine.engine.routing.decide import MAX_QUOTES
from order_engine.engine.routing.search import MAX_LEGS

S = Status
T0 = 1_790_000_000_000
MARKET = OrderRequest("market", SOL, USDC, 10**9, 50)
LIMIT = OrderRequest("limit", SOL, USDC, 10**9, 50, Decimal(150), T0 + 60_000)
FAILURE = Failure("venues_unavailable", "There is no way.")
INTENT = SignedTransaction("signature", "raw", 100)
_LEG = Leg("raydium", "pool", SOL.mint, USDC.mint, 10**9, 150_000_000)
_CANDIDATE = Candidate("raydium", "single", (_LEG,), 150_000_000, 150_000_000, Decimal(0))
ROUTED = Routed(Decision(_CANDIDATE, (_CANDIDATE,), (), "the only one", Decimal(0), None, 5000), 149_000_000)
FILL = Fill("signature", 149_500_000, 7)

# The table as the documentation has it, written out a second time.
ALLOWED: dict[S, set[S]] = {
    S.OPEN: {S.PENDING, S.CANCELLED, S.EXPIRED},
    S.PENDING: {S.ROUTING, S.CANCELLED, S.EXPIRED, S.FAILED},
    S.ROUTING: {S.ROUTING, S.BUILDING, S.PENDING, S.OPEN, S.FAILED},
    S.BUILDING: {S.ROUTING, S.SUBMITTED, S.PENDING, S.OPEN, S.FAILED},
    S.SUBMITTED: {S.CONFIRMED, S.PENDING, S.OPEN, S.FAILED},
    S.CONFIRMED: set(),
    S.FAILED: set(),
    S.CANCELLED: set(),
    S.EXPIRED: set(),
}

EVENTS: dict[str, tuple[S, Callable[[Order, int], Order]]] = {
    "claim": (S.ROUTING, lambda order, now: lifecycle.claim(order, Lease("worker", now + 20_000), now)),
    "route": (S.BUILDING, lambda order, now: lifecycle.route(order, ROUTED, now)),
    "submit": (S.SUBMITTED, lambda order, now: lifecycle.submit(order, INTENT, now)),
    "confirm": (S.CONFIRMED, lambda order, now: lifecycle.confirm(order, FILL, now)),
    "retry": (S.PENDING, lambda order, now: lifecycle.retry(order, FAILURE, now + 1000, now)),
    "rest": (S.OPEN, lambda order, now: lifecycle.rest(order, FAILURE, now + 10_000, now)),
    "fire": (S.PENDING, lifecycle.fire),
    "fail": (S.FAILED, lambda order, now: lifecycle.fail(order, FAILURE, now)),
    "cancel": (S.CANCELLED, lifecycle.cancel),
    "expire": (S.EXPIRED, lifecycle.expire),
}


def place(order_type: str) -> Order:
    request = LIMIT if order_type == "limit" else MARKET
    return lifecycle.place(OrderRef("user", "order"), request, "print", T0)


def after(*events: str) -> Order:
    order = place("limit" if events[:1] == ("fire",) or not events else "market")
    for number, event in enumerate(events):
        order = EVENTS[event][1](order, T0 + number)
    return order


# Both lead to pending: one out of rest, the other out of a worker's hands.
FROM: dict[str, set[S]] = {"fire": {S.OPEN}, "retry": {S.ROUTING, S.BUILDING, S.SUBMITTED}}


def allowed(status: S, event: str) -> bool:
    return EVENTS[event][0] in ALLOWED[status] and status in FROM.get(event, set(S))


IN_STATUS: dict[S, Order] = {
    S.OPEN: after(),
    S.PENDING: after("fire"),
    S.ROUTING: after("claim"),
    S.BUILDING: after("claim", "route"),
    S.SUBMITTED: after("claim", "route", "submit"),
    S.CONFIRMED: after("claim", "route", "submit", "confirm"),
    S.FAILED: after("claim", "fail"),
    S.CANCELLED: after("cancel"),
    S.EXPIRED: after("expire"),
}


def an_order(
    order_id: str = "order", *, user_id: str = "user", at: int = T0, limit: str | None = None, until: int | None = None
) -> Order:
    """A new order of 1.5 SOL: a market order, or a limit order at ``limit`` that expires at ``until``."""
    request = OrderRequest("market", SOL, USDC, 1_500_000_000, 50)
    if limit is not None:
        request = replace(request, type="limit", limit_price=Decimal(limit), expires_at=until)
    return lifecycle.place(OrderRef(user_id, order_id), request, fingerprint(request), at)


def a_decision() -> Decision:
    def single(venue: str, out: int) -> Candidate:
        leg = Leg(venue, f"{venue}-pool", SOL.mint, USDC.mint, 1_500_000_000, out)
        return Candidate(venue, "single", (leg,), out, out - 10, Decimal("12.34"))

    quotes = (single(RAYDIUM, 225_000_000), single(METEORA, 224_000_000))
    return Decision(quotes[0], quotes, (), "Raydium pays more.", Decimal(0), Decimal("44.64"), 15_000)


def largest_decision() -> Decision:
    """As many candidates, legs and digits as the router ever keeps, every pool another one."""

    def candidate(number: int) -> Candidate:
        legs = tuple(
            Leg(RAYDIUM, f"{number}{leg}".rjust(44, "P"), SOL.mint, USDC.mint, U64_MAX, U64_MAX)
            for leg in range(MAX_LEGS)
        )
        return Candidate(f"{RAYDIUM}+{METEORA}", "split", legs, U64_MAX, -U64_MAX, Decimal("10000.00"))

    quotes = tuple(candidate(number) for number in range(MAX_QUOTES))
    left_out = tuple(LeftOut(venue, "late " * 40) for venue in (RAYDIUM, METEORA))
    most = Decimal("10000.00")
    return Decision(quotes[0], quotes, left_out, "because " * 60, most, most, 10**12, Decimal("10000.0000"))


def claimed(order: Order, owner: str = "worker", *, now: int = T0 + 100, lease_ms: int = 20_000) -> Order:
    return lifecycle.claim(order, Lease(owner, now + lease_ms), now)


def submitted(order: Order, now: int = T0 + 200) -> Order:
    """From routing to submitted; in memory only."""
    built = lifecycle.route(order, Routed(a_decision(), 223_000_000), now)
    return lifecycle.submit(built, SignedTransaction("5ig", "cmF3", 1_234), now)
