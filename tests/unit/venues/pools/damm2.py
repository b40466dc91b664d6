"""Pools of one range."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.venues.meteora.damm2 import CollectFeeMode, Damm2Pool

A, B = "mint-a", "mint-b"


@st.composite
def pools(draw: st.DrawFn) -> Damm2Pool:
    price = draw(st.integers(2**56, 2**72))
    return Damm2Pool(
        pool_id="pool",
        mints=(A, B),
        sqrt_price=price,
        liquidity=draw(st.integers(2**104, 2**124)),
        fee_numerator=draw(st.integers(0, 500_000_000)),
        collect_fee_mode=draw(st.sampled_from(CollectFeeMode)),
        sqrt_min_price=price - price * draw(st.integers(1, 90)) // 100,
        sqrt_max_price=price + price * draw(st.integers(1, 900)) // 100,
    )
