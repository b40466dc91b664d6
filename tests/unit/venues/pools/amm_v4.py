"""Pools of AMM v4."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.venues.raydium.amm_v4 import AmmV4Pool

reserve = st.integers(1, 2**60)


@st.composite
def pools(draw: st.DrawFn) -> AmmV4Pool:
    denominator = draw(st.integers(1, 100_000))
    fee = (draw(st.integers(0, min(denominator - 1, denominator // 5))), denominator)
    return AmmV4Pool("pool", ("x", "y"), (draw(reserve), draw(reserve)), fee)
