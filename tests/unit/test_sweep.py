"""What the sweeper sends again, and which resting orders fire."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import lifecycle
from order_engine.domain.amounts import SOL, USDC
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.sweep import LEASE_GRACE_MS, STRANDED_MS, best_price, meets_limit, stranded
from order_engine.venues.cpmm import CpmmPool
from tests.unit.lives import orders, times
from tests.unit.test_lifecycle import LIMIT, MARKET, T0

# 1000 SOL against 150,000 USDC, with a fee of 25 basis points.
POOL = CpmmPool("pool", (SOL.mint, USDC.mint), (1_000 * SOL.unit, 150_000 * USDC.unit), 2_500, 0, 0)


@given(orders(), times)
def test_only_orders_that_need_a_worker_are_sent_again(order: Order, now: int) -> None:
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        assert not stranded(order, now).resend


@given(orders(), st.integers(-2_000, 2_000))
def test_a_held_order_is_left_to_its_worker_until_the_lease_is_over(order: Order, ms: int) -> None:
    if order.lease is not None:
        assert stranded(order, order.lease.until + ms).resend == (ms >= LEASE_GRACE_MS)


@given(orders(), st.integers(0, 40))
def test_every_stranded_order_is_sent_again_sooner_or_later_and_ever_less_often(order: Order, resends: int) -> None:
    """However often it was sent before, and from whatever state: never never."""
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        return
    last = max(order.updated_at, order.retry_at or 0, order.lease.until if order.lease else 0)
    marked = replace(order, resent_at=last, resends=resends)
    assert stranded(marked, last + 900_000 + STRANDED_MS).resend
    if resends:
        wait = min(900_000, 60_000 << (resends - 1))
        assert not stranded(marked, last + wait - 1).resend


def test_a_message_on_its_way_is_given_time() -> None:
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    assert not stranded(order, T0 + STRANDED_MS - 1).resend
    assert stranded(order, T0 + STRANDED_MS).resend


def test_the_best_marginal_price_of_the_pair_counts() -> None:
    dearer = replace(POOL, pool_id="dearer", reserves=(1_000 * SOL.unit, 151_000 * USDC.unit))
    other = replace(POOL, pool_id="other", mints=(SOL.mint, "another"), reserves=(1, 10**18))
    assert best_price([POOL, dearer, other], SOL.mint, USDC.mint) == 151
    assert best_price([other], SOL.mint, USDC.mint) is None


@given(st.integers(1, 5_000), st.decimals(140, 155, places=3))
def test_an_order_fires_exactly_when_its_whole_amount_would_get_its_limit(tokens: int, price: Decimal) -> None:
    request = replace(LIMIT, amount_in=tokens * SOL.unit, limit_price=price)
    whole = POOL.quote(SOL.mint, request.amount_in)
    expected = whole >= tokens * price * USDC.unit
    assert meets_limit(request, [POOL], 10_000) == expected


def test_an_order_rests_while_no_venue_answers_or_the_impact_is_too_high() -> None:
    cheap = replace(LIMIT, limit_price=Decimal(1))
    assert meets_limit(cheap, [POOL], 1_000)
    assert not meets_limit(cheap, [], 1_000)
    assert not meets_limit(replace(cheap, amount_in=2_000 * SOL.unit), [POOL], 1_000)
    assert not meets_limit(MARKET, [POOL], 1_000)
