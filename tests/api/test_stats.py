"""Numbers of a user's orders: what is open, active and finished."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import lifecycle
from order_engine.domain.order import Status
from order_engine.engine.stats import Tally, moves, stage
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.cloud import counted, engine
from tests.support.http import request


@st.composite
def lives(draw: st.DrawFn) -> list[Status]:
    """The statuses of one order, as the table of transitions allows them."""
    life = [draw(st.sampled_from([Status.OPEN, Status.PENDING]))]
    for _ in range(draw(st.integers(0, 12))):
        following = sorted(lifecycle.TRANSITIONS[life[-1]])
        if not following:
            break
        life.append(draw(st.sampled_from(following)))
    return life


@given(st.lists(lives(), max_size=6))
def test_the_moves_of_all_orders_add_up_to_where_they_are(orders: list[list[Status]]) -> None:
    counted: Counter[str] = Counter()
    for life in orders:
        for before, after in zip([None, *life], life, strict=False):
            for name, number in moves(before, after).items():
                counted[name] += number

    stages = (stage(life[-1]) for life in orders)
    assert +counted == Counter(name for name in stages if name is not None)


def test_a_user_sees_open_active_and_finished_orders_counted_once(deploy: Deploy) -> None:
    deploy()
    changes: list[tuple[Status | None, Status]] = [
        (None, Status.OPEN),
        (None, Status.OPEN),
        (Status.OPEN, Status.PENDING),
        (None, Status.PENDING),
        (None, Status.CONFIRMED),
        (None, Status.PENDING),
    ]
    tallies = [
        Tally(
            f"order{number}",
            number,
            60_000,
            after,
            "meteora" if after is Status.CONFIRMED else None,
            3000,
            before,
        )
        for number, (before, after) in enumerate(changes)
    ]
    count = engine().stores.statistics.count
    for batch in (tallies[:4], tallies[2:5], tallies[:6], tallies):
        event_loop().run_until_complete(count("alice", batch))

    placed = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
    market = [request("POST", "/api/orders/execute", body=placed).json["orderId"] for _ in range(3)]
    request("POST", "/api/orders/execute", body={**placed, "type": "limit", "limitPrice": "100000"})
    request("DELETE", f"/api/orders/{market[0]}")

    stats = request("GET", "/api/stats").json

    # One limit order rests by the stream, and two market orders are under way by the index.
    assert (stats["open"], stats["active"], stats["finished"]) == (1, 2, 1)
    assert (stats["byStatus"], stats["byVenue"]) == ({"confirmed": 1}, {"meteora": 1})
    assert stats["latencyMs"]["p50"] >= 3000
    assert stats["queue"] == {"waiting": 3, "inFlight": 0, "dead": 0}
    assert request("GET", "/api/stats", user="bob").json["active"] == 0


def test_statistics_read_no_order_however_many_there_are(deploy: Deploy) -> None:
    deploy(ORDERS_BURST="1000")
    placed = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
    for _ in range(30):
        request("POST", "/api/orders/execute", body=placed)
    with counted() as calls:
        assert request("GET", "/api/stats").json["active"] == 30

    assert calls.count == {
        "Query orders": 1,
        "Query accounts": 1,
        "GetQueueAttributes": 2,
        "UpdateItem accounts": 1,
    }
