"""When an order's execution began."""

from __future__ import annotations

from decimal import Decimal

from order_engine.domain import lifecycle
from order_engine.domain.order import Failure, Lease, OrderRef, OrderRequest
from order_engine.domain.tokens import SOL, USDC

REF = OrderRef("alice", "order")
LIMIT = OrderRequest("limit", SOL, USDC, 10**9, 50, Decimal(150))
MARKET = OrderRequest("market", SOL, USDC, 10**9, 50)


def test_a_market_order_starts_when_it_is_placed() -> None:
    order = lifecycle.place(REF, MARKET, "f", 1000)
    assert order.started_at == 1000
    assert lifecycle.claim(order, Lease("w", 9000), 3000).started_at == 1000


def test_a_limit_order_starts_when_it_last_fires() -> None:
    order = lifecycle.fire(lifecycle.place(REF, LIMIT, "f", 1000), 50_000)
    assert order.started_at == 50_000
    claimed = lifecycle.claim(order, Lease("w", 99_000), 51_000)
    rested = lifecycle.rest(claimed, Failure("limit_not_met", "."), 60_000, 52_000)
    assert rested.started_at == 52_000
    assert lifecycle.fire(rested, 70_000).started_at == 70_000
