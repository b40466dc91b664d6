"""What an order's trigger says is what the engine does with the order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from order_engine.aws.indexes import index_keys, price_key
from order_engine.domain import lifecycle
from order_engine.domain.amounts import limit_min_out
from order_engine.domain.order import Order, OrderRef, OrderRequest, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.trigger import AtLimit, AtOnce, Trigger
from order_engine.engine.push import Change, tally_of
from order_engine.engine.retry import has_waited_too_long
from tests.support.orders import LIMIT, MARKET, T0

PATIENCE_MS = 60_000
prices = st.decimals("0.0001", "100000", places=4)


def placed(request: OrderRequest) -> Order:
    return lifecycle.place(OrderRef("user", "order"), request, "print", T0)


def test_the_two_types_have_a_trigger_each() -> None:
    assert MARKET.trigger == AtOnce()
    assert isinstance(LIMIT.trigger, AtLimit)


@given(st.integers(1, 10**15), prices, st.integers(0, 2**63))
def test_a_limit_is_met_by_its_floor_and_by_nothing_less(amount: int, price: Decimal, output: int) -> None:
    trigger = AtLimit.of(amount, price, SOL, USDC)
    assert trigger.floor == limit_min_out(amount, price, SOL, USDC)
    assert trigger.met_by(output) == (output >= trigger.floor)
    assert trigger.met_by(trigger.floor)
    assert not trigger.met_by(trigger.floor - 1)
    assert not trigger.met_by(None)


def test_a_market_order_is_due_at_any_price_that_there_is() -> None:
    assert AtOnce().met_by(1)
    assert not AtOnce().met_by(None)
    assert AtOnce().floor == 0


@given(prices)
def test_what_rests_is_found_under_its_triggers_price(price: Decimal) -> None:
    order = placed(replace(LIMIT, limit_price=price, expires_at=None))
    assert order.status is Status.OPEN
    assert index_keys(order)["work_sk"] == f"{price_key(price)}#order"


class Waiting:
    """A third trigger, of which the engine has never heard: it rests, and sets no floor."""

    rests = True
    price = Decimal(7)
    floor = 0

    def met_by(self, output: int | None) -> bool:
        return output is not None


def test_the_engine_asks_the_trigger_and_never_the_type() -> None:
    class Strange(OrderRequest):
        __slots__ = ()

        @property
        def trigger(self) -> Trigger:
            return Waiting()

    request = Strange("market", SOL, USDC, 1_000, 50)
    order = placed(request)
    assert order.status is Status.OPEN
    keys = index_keys(order)
    assert keys["work_sk"] == f"{price_key(Decimal(7))}#order"
    assert "by_status" in keys
    assert not has_waited_too_long(order, PATIENCE_MS, T0 + 10 * PATIENCE_MS)
    tally = tally_of(Change("1", order, 0))
    assert tally is not None
    assert tally.status is Status.OPEN
    assert has_waited_too_long(placed(MARKET), PATIENCE_MS, T0 + 10 * PATIENCE_MS)
    assert tally_of(Change("1", placed(MARKET), 0)) is None
