"""Pools of concentrated liquidity."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.venues.raydium.clmm import ClmmPool, Tick, sqrt_price_at

X, Y = "mint-0", "mint-1"


Q64 = 1 << 64


@st.composite
def pools(draw: st.DrawFn) -> ClmmPool:
    """Overlapping positions around a price, as liquidity providers would have made them."""
    centre = draw(st.integers(-60_000, 60_000))
    net: dict[int, int] = {}
    positions = []
    for _ in range(draw(st.integers(1, 5))):
        lower = centre + draw(st.integers(-400, 300))
        upper = lower + draw(st.integers(1, 500))
        liquidity = draw(st.integers(1, 2**20) | st.integers(2**30, 2**60))
        net[lower] = net.get(lower, 0) + liquidity
        net[upper] = net.get(upper, 0) - liquidity
        positions.append((lower, upper, liquidity))
    low, high = sqrt_price_at(centre), sqrt_price_at(centre + 1)
    return ClmmPool(
        pool_id="pool",
        mints=(X, Y),
        sqrt_price=draw(st.just(low) | st.integers(low, high - 1)),
        tick=centre,
        liquidity=sum(held for lower, upper, held in positions if lower <= centre < upper),
        ticks=tuple(Tick(index, change) for index, change in sorted(net.items()) if change),
        trade_fee_rate=draw(st.sampled_from([0, 100, 2_500, 10_000, 40_000])),
        protocol_fee_rate=draw(st.integers(0, 250_000)),
        fund_fee_rate=draw(st.integers(0, 250_000)),
    )


def around_zero(**changes: int) -> ClmmPool:
    """Price 1, liquidity 10^12 from tick -100 to 100 and as much again from -10 to 10, a fee of 0.25 %."""
    return ClmmPool(
        pool_id="pool",
        mints=(X, Y),
        sqrt_price=Q64,
        tick=0,
        liquidity=2 * 10**12,
        ticks=(Tick(-100, 10**12), Tick(-10, 10**12), Tick(10, -(10**12)), Tick(100, -(10**12))),
        trade_fee_rate=changes.get("fee", 2_500),
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
    )
