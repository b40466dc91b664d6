"""Orders and decisions for the contract's cases."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from order_engine.domain import lifecycle
from order_engine.domain.amounts import U64_MAX
from order_engine.domain.order import Failure, Lease, Order, OrderRef, OrderRequest, Routed, SignedTransaction
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.place import fingerprint
from order_engine.engine.routing.decide import MAX_QUOTES
from order_engine.engine.routing.search import MAX_LEGS

T0 = 1_790_000_000_000


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


FAILURE = Failure("venue_error", "The venue did not answer.")
