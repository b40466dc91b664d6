"""What is bid for being preferred."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from order_engine.venues.solana.node import Node
from order_engine.venues.solana.priority import FeePolicy, PriorityFees
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable


@given(st.lists(st.integers(0, 10**7), max_size=200), st.integers(0, 100), st.integers(0, 10**6))
def test_a_bid_is_a_percentile_of_what_others_paid_and_never_above_the_cap(
    recent: list[int], percentile: int, cap: int
) -> None:
    price = FeePolicy(percentile, cap).price(recent)
    assert 0 <= price <= cap
    if recent and price < cap:
        assert price in recent
        assert sum(each <= price for each in recent) * 100 >= percentile * len(recent)
        assert sum(each < price for each in recent) * 100 < percentile * len(recent) or price == min(recent)


async def test_a_bid_is_asked_for_once_in_ten_seconds_and_never_holds_up_a_swap() -> None:
    class Fees:
        said: Any = ()
        asked = 0

        async def call(self, method: str, *params: Any) -> Any:
            self.asked += 1
            if isinstance(self.said, Exception):
                raise self.said
            return [{"slot": 1, "prioritizationFee": each} for each in self.said]

    told, now = Fees(), [0.0]
    fees = PriorityFees(Node(told), FeePolicy(50, 1000), lambda: now[0])
    told.said = NodeUnavailable("No node answered.")
    assert await fees.price(["a"]) == 0
    told.said = (5, 7, 9)
    assert await fees.price(["a", "b"]) == 7
    told.said = (5000, 5000, 5000)
    assert await fees.price(["b", "a"]) == 7
    now[0] = 10.0
    assert await fees.price(["a", "b"]) == 1000
    told.said = NodeRefused(-32601, "Method not found")
    now[0] = 20.0
    assert await fees.price(["a", "b"]) == 1000
    asked = told.asked
    assert await PriorityFees(Node(told), FeePolicy(50, 0)).price(["a"]) == 0
    assert told.asked == asked
