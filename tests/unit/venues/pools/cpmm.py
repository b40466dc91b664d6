"""Pools of the constant product."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn

X, Y = "mint-x", "mint-y"


RESERVES = st.integers(1, 2**62)


def pools(**fixed: int) -> st.SearchStrategy[CpmmPool]:
    return st.builds(
        CpmmPool,
        pool_id=st.just("pool"),
        mints=st.just((X, Y)),
        reserves=st.tuples(RESERVES, RESERVES),
        trade_fee_rate=st.just(fixed["trade"]) if "trade" in fixed else st.integers(1, 100_000),
        protocol_fee_rate=st.integers(0, 500_000),
        fund_fee_rate=st.integers(0, 500_000),
        creator_fee_rate=st.just(0) | st.integers(1, 100_000),
        creator_fee_on=st.sampled_from(CreatorFeeOn),
    )
