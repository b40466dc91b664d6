"""Pools of bins."""

from __future__ import annotations

from hypothesis import strategies as st

from order_engine.venues.meteora.dlmm import Bin, CollectFeeMode, DlmmParameters, DlmmPool, Volatility

X, Y = "mint-x", "mint-y"


Q64 = 1 << 64


PARAMETERS = st.builds(
    DlmmParameters,
    base_factor=st.integers(0, 20_000),
    variable_fee_control=st.integers(0, 100_000),
    filter_period=st.integers(0, 60),
    decay_period=st.integers(60, 600),
    reduction_factor=st.integers(0, 10_000),
    max_volatility_accumulator=st.integers(0, 500_000),
    protocol_share=st.integers(0, 2_500),
    base_fee_power_factor=st.integers(0, 1),
    collect_fee_mode=st.sampled_from(CollectFeeMode),
    limit_orders=st.booleans(),
)


HOLDINGS = st.just(0) | st.integers(1, 50) | st.integers(1, 2**44)


@st.composite
def pools(draw: st.DrawFn) -> DlmmPool:
    active_id = draw(st.integers(-2_000, 2_000))
    first = active_id - draw(st.integers(0, 6))
    bins = tuple(
        Bin(
            bin_id,
            amount_x=draw(HOLDINGS) if bin_id >= active_id else 0,
            amount_y=draw(HOLDINGS) if bin_id <= active_id else 0,
            processed_orders=draw(HOLDINGS),
            open_orders=draw(HOLDINGS),
            orders_sell_x=bin_id > active_id,
        )
        for bin_id in range(first, active_id + draw(st.integers(1, 6)))
    )
    return DlmmPool(
        pool_id="pool",
        mints=(X, Y),
        active_id=active_id,
        bin_step=draw(st.integers(1, 100)),
        parameters=draw(PARAMETERS),
        bins=bins,
        volatility=Volatility(
            draw(st.integers(0, 500_000)), draw(st.integers(0, 500_000)), active_id + draw(st.integers(-5, 5)), 1_000
        ),
        now=1_000 + draw(st.integers(0, 700)),
    )


def two_bins(**changes: int) -> DlmmPool:
    """Price 1 in the active bin, 1 % apart, a base fee of 0.1 %."""
    return DlmmPool(
        pool_id="pool",
        mints=(X, Y),
        active_id=0,
        bin_step=100,
        parameters=DlmmParameters(
            base_factor=1_000,
            variable_fee_control=40_000,
            filter_period=30,
            decay_period=600,
            reduction_factor=5_000,
            max_volatility_accumulator=350_000,
            protocol_share=500,
        ),
        bins=(Bin(-1, 0, 10_000), Bin(0, 10_000, 10_000), Bin(1, 10_000, 0)),
        volatility=Volatility(accumulator=changes.get("accumulator", 0), updated_at=0),
        now=changes.get("now", 10_000),
    )
