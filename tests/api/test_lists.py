"""Lists by status: what they show, and what they cost however many other orders there are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, Status
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import Calls, counted, engine
from tests.support.http import request
from tests.support.orders import FAILURE, T0, an_order, claimed

MANY = 230


def store(*steps: Order) -> None:
    async def run() -> None:
        orders = engine().stores.orders
        await orders.create(steps[0])
        for old, new in pairwise(steps):
            await orders.replace(old, new)

    event_loop().run_until_complete(run())


@pytest.fixture
def many(deploy: Deploy, clock: StandingClock) -> None:
    """A user with very many orders under way and, before all of them, one that failed."""
    deploy(READS_BURST="10000")
    first = claimed(an_order("failed", user_id="alice", at=T0))
    store(an_order("failed", user_id="alice", at=T0), first, lifecycle.fail(first, FAILURE, T0 + 100))
    for number in range(MANY):
        store(an_order(f"order{number:03}", user_id="alice", at=T0 + 1 + number))


def asked(**query: str) -> tuple[list[str], str | None, Calls]:
    with counted() as calls:
        reply = request("GET", "/api/orders", query=query)
    assert reply.status == 200
    return [order["orderId"] for order in reply.json["orders"]], reply.json.get("nextCursor"), calls


@pytest.mark.usefixtures("many")
def test_a_rare_status_is_found_at_once_behind_very_many_orders() -> None:
    found, cursor, calls = asked(status="failed")

    assert (found, cursor) == (["failed"], None)
    assert (calls.count["Query orders"], calls.count["BatchGetItem"]) == (1, 1)
    for status in ("cancelled", "expired", "open"):
        found, cursor, calls = asked(status=status)
        assert (found, cursor) == ([], None)
        assert (calls.count["Query orders"], calls.count["BatchGetItem"]) == (1, 0)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("status", [None, *Status])
def test_no_request_reads_more_than_a_hundred_orders_and_the_pages_end(status: Status | None) -> None:
    query = {"limit": "50"} if status is None else {"limit": "50", "status": status.value}
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        found, cursor, calls = asked(**query, **({} if cursor is None else {"cursor": cursor}))
        assert calls.count["Query orders"] == 1
        assert calls.count["BatchGetItem"] <= 1
        seen += found
        if cursor is None:
            break
    assert cursor is None
    expected = {None: MANY + 1, Status.PENDING: MANY, Status.FAILED: 1}.get(status, 0)
    assert len(seen) == len(set(seen)) == expected


@pytest.mark.usefixtures("many")
def test_a_list_by_a_status_that_has_to_be_looked_for_is_metered_as_what_it_reads() -> None:
    def units(**query: str) -> int:
        from submit import limits

        spent: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            spend = limits.spend

            async def noted(engine: object, caller: object, rate: object, units: int) -> None:
                spent.append(units)

            patch.setattr(limits, "spend", noted)
            request("GET", "/api/orders", query=query)
            assert limits.spend is not spend
        return sum(spent)

    assert units() == units(status="failed") == 3
    assert units(limit="100") == units(status="pending") == units(status="confirmed", limit="1") == 11
