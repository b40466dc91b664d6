"""Random orders: whatever a life allowed by the table can lead to."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef
from tests.support.orders import EVENTS, LIMIT, MARKET, T0, allowed


@st.composite
def orders(draw: st.DrawFn, *, most_steps: int = 12) -> Order:
    """An order after up to ``most_steps`` events, at times around ``T0``."""
    request = draw(st.sampled_from((MARKET, LIMIT)))
    order, now = lifecycle.place(OrderRef("user", "order"), request, "print", T0), T0
    for _ in range(draw(st.integers(0, most_steps))):
        possible = sorted(name for name in EVENTS if allowed(order.status, name))
        if not possible:
            break
        going_on = [name for name in possible if EVENTS[name][0] not in lifecycle.TERMINAL]
        # Most lives would end after an event or two if every event were as likely as any other.
        goes_on = draw(st.integers(0, 9)) > 0
        if going_on and goes_on:
            possible = going_on
        now += draw(st.integers(0, 20_000))
        order = EVENTS[draw(st.sampled_from(possible))][1](order, now)
    return order


times = st.integers(T0, T0 + 400_000)
