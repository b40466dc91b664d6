"""``OrderStore``: conditions, fences, races, indexes and sizes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import pairwise

import pytest

from order_engine.aws import codec, indexes
from order_engine.aws.orders import DynamoOrders
from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Fill, Lease, Order, OrderRef, Routed, SignedTransaction, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.execute import MAX_EVENTS
from order_engine.engine.listing import EXAMINED
from order_engine.engine.ports import Conflict, Listing, OrderExists, OrderStore, SetAside
from order_engine.engine.retry import RetryPolicy, after_failure
from tests.contract.conftest import Services
from tests.support.orders import FAILURE, T0, a_decision, an_order, claimed, largest_decision, submitted

THREADS = 20


@pytest.fixture
def orders(services: Services) -> OrderStore:
    return services.orders


async def _stored(orders: OrderStore, *steps: Order) -> Order:
    """Store the first and apply the others; returns the last."""
    await orders.create(steps[0])
    for old, new in pairwise(steps):
        await orders.replace(old, new)
    return steps[-1]


async def test_an_order_reads_back_as_it_was_written_through_its_whole_life(orders: OrderStore) -> None:
    order = an_order()
    await orders.create(order)
    assert await orders.get(order.ref) == order
    routing = claimed(order)
    building = lifecycle.route(routing, Routed(a_decision(), 1), T0 + 200)
    sent = lifecycle.submit(building, SignedTransaction("5ig", "cmF3", 9), T0 + 300)
    held = lifecycle.take_over(sent, Lease("second", T0 + 50_000))
    done = lifecycle.confirm(held, Fill("5ig", 7, 12), T0 + 400)
    for old, new in zip((order, routing, building, sent, held), (routing, building, sent, held, done), strict=True):
        await orders.replace(old, new)
        assert await orders.get(order.ref) == new


async def test_who_asked_for_a_step_is_kept(orders: OrderStore) -> None:
    order = replace(an_order(), events=(replace(an_order().events[0], key_id="0123456789ab"),))
    cancelled = lifecycle.cancel(order, T0 + 100, "ba9876543210")
    await _stored(orders, order, cancelled)
    stored = await orders.get(order.ref)
    assert stored == cancelled
    assert (cancelled.placed_by, cancelled.cancelled_by) == ("0123456789ab", "ba9876543210")


async def test_an_unknown_order_is_none_also_under_another_users_key(orders: OrderStore) -> None:
    await orders.create(an_order("mine", user_id="owner"))
    assert await orders.get(OrderRef("owner", "other")) is None
    assert await orders.get(OrderRef("thief", "mine")) is None


async def test_a_second_order_under_the_same_key_is_refused_with_what_is_there(orders: OrderStore) -> None:
    first = an_order()
    await orders.create(first)
    with pytest.raises(OrderExists) as refused:
        await orders.create(an_order(at=T0 + 1))
    assert refused.value.current == first


async def test_an_equal_order_in_the_same_millisecond_is_told_that_it_came_second(orders: OrderStore) -> None:
    await orders.create(an_order())
    with pytest.raises(OrderExists) as refused:
        await orders.create(an_order())
    assert refused.value.current == an_order()


async def test_another_body_in_the_same_millisecond_is_not_taken_for_the_first(orders: OrderStore) -> None:
    first = an_order()
    await orders.create(first)
    other = replace(first, request=replace(first.request, amount_in=1), fingerprint="another")
    with pytest.raises(OrderExists):
        await orders.create(other)
    assert await orders.get(first.ref) == first


async def test_a_write_on_what_has_changed_is_refused_with_what_is_there(orders: OrderStore) -> None:
    order = an_order()
    current = await _stored(orders, order, claimed(order, "first"))
    with pytest.raises(Conflict) as refused:
        await orders.replace(order, claimed(order, "second"))
    assert refused.value.current == current


async def test_a_write_on_an_order_that_is_not_there_is_refused(orders: OrderStore) -> None:
    order = an_order()
    with pytest.raises(Conflict) as refused:
        await orders.replace(order, claimed(order))
    assert refused.value.current is None
    assert await orders.get(order.ref) is None


async def test_a_write_that_is_tried_again_finds_itself(orders: OrderStore) -> None:
    order = an_order()
    routing = claimed(order)
    await _stored(orders, order, routing)
    await orders.replace(order, routing)
    assert await orders.get(order.ref) == routing


async def test_a_worker_whose_order_was_taken_over_can_write_nothing(orders: OrderStore) -> None:
    order = an_order()
    first = claimed(order, "first")
    second = lifecycle.claim(first, Lease("second", T0 + 60_000), T0 + 30_000)
    await _stored(orders, order, first, second)
    for late in (
        lifecycle.route(first, Routed(a_decision(), 1), T0 + 31_000),
        after_failure(first, FAILURE, RetryPolicy(), T0 + 31_000),
        lifecycle.fail(first, FAILURE, T0 + 31_000),
    ):
        with pytest.raises(Conflict) as refused:
            await orders.replace(first, late)
        assert refused.value.current == second


async def test_the_fence_holds_where_no_event_tells_the_holders_apart(orders: OrderStore) -> None:
    """Taking over a submitted order adds no event: only the lease and the fencing number differ."""
    order = an_order()
    routing = claimed(order, "first")
    building = lifecycle.route(routing, Routed(a_decision(), 1), T0 + 200)
    sent = lifecycle.submit(building, SignedTransaction("5ig", "cmF3", 9), T0 + 300)
    held = lifecycle.take_over(sent, Lease("second", T0 + 50_000))
    await _stored(orders, order, routing, building, sent, held)
    with pytest.raises(Conflict):
        await orders.replace(sent, lifecycle.confirm(sent, Fill("5ig", 7, 12), T0 + 400))
    with pytest.raises(Conflict):
        await orders.replace(sent, lifecycle.take_over(sent, Lease("third", T0 + 50_000)))
    assert await orders.get(order.ref) == held


async def test_a_returned_order_has_neither_lease_nor_transaction(orders: OrderStore) -> None:
    order = an_order()
    routing = claimed(order)
    building = lifecycle.route(routing, Routed(a_decision(), 1), T0 + 200)
    sent = lifecycle.submit(building, SignedTransaction("5ig", "cmF3", 9), T0 + 300)
    back = after_failure(sent, FAILURE, RetryPolicy(), T0 + 400)
    await _stored(orders, order, routing, building, sent, back)
    stored = await orders.get(order.ref)
    assert stored == back
    assert stored is not None
    assert (stored.lease, stored.intent) == (None, None)


async def test_a_resend_is_marked_once_and_only_on_an_unmoved_order(orders: OrderStore) -> None:
    order = an_order()
    await orders.create(order)
    await orders.mark_resent(order, T0 + 30_000)
    await orders.mark_resent(order, T0 + 30_000)
    marked = await orders.get(order.ref)
    assert marked is not None
    assert (marked.resent_at, marked.resends) == (T0 + 30_000, 1)
    await orders.replace(marked, claimed(marked))
    with pytest.raises(Conflict):
        await orders.mark_resent(marked, T0 + 60_000)


async def test_a_claim_clears_a_resend_mark_that_it_has_not_seen(orders: OrderStore) -> None:
    """The sweeper sends first and marks then: a worker may have read the order in between."""
    order = an_order()
    await orders.create(order)
    await orders.mark_resent(order, T0 + 30_000)
    routing = claimed(order)
    await orders.replace(order, routing)
    assert await orders.get(order.ref) == routing


def _race(works: list[Callable[[], Awaitable[object]]]) -> list[object]:
    """The outcomes of works that begin at once, each on a thread of its own."""
    barrier = threading.Barrier(len(works))
    outcomes: list[object] = [None] * len(works)

    def run(number: int) -> None:
        async def one() -> object:
            return await works[number]()

        barrier.wait()
        try:
            outcomes[number] = asyncio.run(one()) or "done"
        except Exception as error:  # noqa: BLE001 - the outcome is what is looked at
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_of_twenty_claims_at_once_exactly_one_wins(orders: OrderStore) -> None:
    order = an_order()
    asyncio.run(_async(orders.create(order)))
    claims = [claimed(order, f"worker{number}") for number in range(THREADS)]
    outcomes = _race([partial(orders.replace, order, claim) for claim in claims])
    winners = [claim for claim, outcome in zip(claims, outcomes, strict=True) if outcome == "done"]
    assert len(winners) == 1
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if outcome != "done")
    assert asyncio.run(_async(orders.get(order.ref))) == winners[0]


def test_a_cancellation_and_a_claim_at_once_have_one_winner(orders: OrderStore) -> None:
    for round_number in range(5):
        order = an_order(f"order{round_number}")
        asyncio.run(_async(orders.create(order)))
        changes = [claimed(order, f"worker{number}") for number in range(THREADS // 2)]
        changes += [lifecycle.cancel(order, T0 + number) for number in range(THREADS // 2)]
        outcomes = _race([partial(orders.replace, order, change) for change in changes])
        stored = asyncio.run(_async(orders.get(order.ref)))
        assert stored is not None
        assert stored.seq == 2
        won = {change.status for change, outcome in zip(changes, outcomes, strict=True) if outcome == "done"}
        assert won == {stored.status}


def test_of_twenty_creations_at_once_one_is_stored(orders: OrderStore) -> None:
    # Every other one is like the one before it: another request of the same millisecond.
    bodies = [an_order(at=T0 + number // 2) for number in range(THREADS)]
    outcomes = _race([partial(orders.create, body) for body in bodies])
    winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome == "done"]
    assert len(winners) == 1
    assert all(isinstance(outcome, OrderExists) for outcome in outcomes if outcome != "done")
    assert asyncio.run(_async(orders.get(bodies[0].ref))) == winners[0]


async def _async[T](work: Awaitable[T]) -> T:
    return await work


async def _active(orders: OrderStore, created_before: int) -> list[OrderRef]:
    return list((await orders.active(created_before=created_before, after=None, limit=10)).entries)


async def _crossed(orders: OrderStore, price: str) -> list[str]:
    listing = await orders.crossed(SOL.mint, USDC.mint, Decimal(price), after=None, limit=10)
    return [ref.order_id for ref in listing.entries]


async def _aside(orders: OrderStore) -> list[SetAside]:
    return list((await orders.set_aside(SOL.mint, USDC.mint, after=None, limit=10)).entries)


async def test_active_orders_are_listed_until_they_end(orders: OrderStore) -> None:
    order = an_order()
    await orders.create(order)
    await orders.create(an_order("resting", limit="150"))
    assert await _active(orders, T0 + 1) == [order.ref]
    assert await _active(orders, T0) == []
    routing = claimed(order)
    await orders.replace(order, routing)
    assert await _active(orders, T0 + 1) == [order.ref]
    await orders.replace(routing, lifecycle.fail(routing, FAILURE, T0 + 300))
    assert await _active(orders, T0 + 1) == []


async def test_whether_anything_waits_is_told_of_active_and_resting_orders_until_they_end(orders: OrderStore) -> None:
    assert await orders.any_waiting() is False
    order = claimed(an_order())
    await orders.create(an_order())
    await orders.replace(an_order(), order)
    assert await orders.any_waiting() is True
    await orders.replace(order, lifecycle.fail(order, FAILURE, T0 + 300))
    assert await orders.any_waiting() is False
    resting = an_order("resting", limit="150")
    await orders.create(resting)
    assert await orders.any_waiting() is True
    await orders.replace(resting, lifecycle.cancel(resting, T0 + 300))
    assert await orders.any_waiting() is False


async def test_active_orders_are_listed_oldest_first_within_the_limit_of_each_shard(orders: OrderStore) -> None:
    for number in range(12):
        await orders.create(an_order(f"order{number}", user_id=f"user{number % 4}", at=T0 + 12 - number))
    listed = (await orders.active(created_before=T0 + 100, after=None, limit=2)).entries
    everything = (await orders.active(created_before=T0 + 100, after=None, limit=100)).entries
    assert len(everything) == 12
    for shard in range(indexes.ACTIVE_SHARDS):
        of_shard = [ref for ref in everything if indexes.shard(ref.user_id, indexes.ACTIVE_SHARDS) == shard]
        oldest_first = sorted(of_shard, key=lambda ref: int(ref.order_id.removeprefix("order")), reverse=True)
        assert of_shard == oldest_first
        assert [ref for ref in listed if ref in of_shard] == oldest_first[:2]


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_whoever_reads_on_sees_every_entry_once_and_then_from_the_beginning(
    orders: OrderStore, limit: int
) -> None:
    """Though all of them stay where they are: what is in front never hides what is behind it."""
    for number in range(11):
        await orders.create(an_order(f"active{number}", at=T0 + number))
        await orders.create(an_order(f"resting{number}", limit=f"1{number:02}", until=T0 + number))

    async def rounds(read: Callable[[str | None], Awaitable[Listing[OrderRef]]]) -> list[str]:
        seen: list[str] = []
        after: str | None = None
        for _ in range(40):
            listing = await read(after)
            seen += [ref.order_id for ref in listing.entries]
            after = listing.after
            if after is None:
                return seen
        raise AssertionError("it never came to the end")

    everything = [f"active{number}" for number in range(11)]
    resting = [f"resting{number}" for number in range(11)]
    for _ in range(2):
        active = await rounds(lambda after: orders.active(created_before=T0 + 100, after=after, limit=limit))
        assert sorted(active) == sorted(everything)
        expiring = await rounds(lambda after: orders.expiring(now=T0 + 100, after=after, limit=limit))
        assert sorted(expiring) == sorted(resting)
        crossed = await rounds(
            lambda after: orders.crossed(SOL.mint, USDC.mint, Decimal(1000), after=after, limit=limit)
        )
        assert crossed == resting


async def test_a_bound_that_came_back_behind_the_place_ends_the_listing(orders: OrderStore) -> None:
    for number in range(3):
        await orders.create(an_order(f"order{number}", limit=f"15{number}"))
    first = await orders.crossed(SOL.mint, USDC.mint, Decimal(200), after=None, limit=2)
    assert [ref.order_id for ref in first.entries] == ["order0", "order1"]
    assert await orders.crossed(SOL.mint, USDC.mint, Decimal(100), after=first.after, limit=2) == Listing((), None)


async def test_resting_orders_are_found_when_the_price_reaches_them(orders: OrderStore) -> None:
    for order_id, price in (("low", "149.5"), ("at", "150"), ("high", "150.000001")):
        await orders.create(an_order(order_id, limit=price))
    assert await _crossed(orders, "150") == ["low", "at"]
    assert (await orders.crossed(USDC.mint, SOL.mint, Decimal(1000), after=None, limit=10)).entries == ()
    low = await orders.get(OrderRef("user", "low"))
    assert low is not None
    await orders.replace(low, lifecycle.fire(low, T0 + 10))
    assert await _crossed(orders, "150") == ["at"]
    assert await _active(orders, T0 + 1) == [low.ref]


async def test_an_order_that_is_set_aside_makes_room_and_is_found_by_its_price(orders: OrderStore) -> None:
    for order_id, price in (("small", "149"), ("large", "140"), ("huge", "141")):
        await orders.create(an_order(order_id, limit=price))
    assert not await _aside(orders)
    for order_id, price in (("large", "160.00000000000000000001"), ("huge", "99999999999999999999")):
        order = await orders.get(OrderRef("user", order_id))
        assert order is not None
        await orders.replace(order, lifecycle.set_aside(order, Decimal(price)))
    assert await _crossed(orders, "150") == ["small"]
    assert await _crossed(orders, "99999999999999999999") == ["small"]
    assert [(found.ref.order_id, found.price) for found in await _aside(orders)] == [
        ("large", Decimal("160.00000000000000000001")),
        ("huge", Decimal(99999999999999999999)),
    ]
    large = await orders.get(OrderRef("user", "large"))
    assert large is not None
    assert (large.aside, large.seq, large.status) == (Decimal("160.00000000000000000001"), 1, Status.OPEN)
    await orders.replace(large, lifecycle.set_aside(large, Decimal(155)))
    assert [found.price for found in await _aside(orders)] == [Decimal(155), Decimal(99999999999999999999)]


async def test_what_was_set_aside_fires_and_rests_like_any_other(orders: OrderStore) -> None:
    order = an_order(limit="140")
    aside = lifecycle.set_aside(order, Decimal(160))
    fired = lifecycle.fire(aside, T0 + 10)
    routing = claimed(fired)
    await _stored(orders, order, aside, fired)
    assert await _aside(orders) == []
    assert await _active(orders, T0 + 1) == [order.ref]
    await orders.replace(fired, routing)
    await orders.replace(routing, lifecycle.rest(routing, FAILURE, T0 + 300, T0 + 200))
    assert await _crossed(orders, "150") == ["order"]
    stored = await orders.get(order.ref)
    assert stored is not None
    assert stored.aside is None


async def test_an_order_that_fired_meanwhile_is_not_set_aside(orders: OrderStore) -> None:
    order = an_order(limit="140")
    await _stored(orders, order, lifecycle.fire(order, T0 + 10))
    with pytest.raises(Conflict):
        await orders.replace(order, lifecycle.set_aside(order, Decimal(160)))
    assert await _aside(orders) == []


async def test_whether_a_pair_has_resting_orders(orders: OrderStore) -> None:
    assert not await orders.rests(SOL.mint, USDC.mint)
    order = an_order(limit="140")
    await orders.create(order)
    assert await orders.rests(SOL.mint, USDC.mint)
    assert not await orders.rests(USDC.mint, SOL.mint)
    aside = lifecycle.set_aside(order, Decimal(160))
    await orders.replace(order, aside)
    assert await orders.rests(SOL.mint, USDC.mint)
    await orders.replace(aside, lifecycle.cancel(aside, T0 + 10))
    assert not await orders.rests(SOL.mint, USDC.mint)


async def test_a_users_limit_orders_are_counted_until_they_end(orders: OrderStore) -> None:
    placed = [an_order(f"limit{number}", limit="150", at=T0 + number) for number in range(4)]
    for order in (*placed, an_order("market"), an_order("foreign", user_id="another", limit="150")):
        await orders.create(order)
    assert await orders.count_living("user", limit=10) == 4
    assert await orders.count_living("user", limit=3) == 3
    assert await orders.count_living("another", limit=10) == 1
    assert await orders.count_living("nobody", limit=10) == 0
    fired = lifecycle.fire(placed[0], T0 + 100)
    await orders.replace(placed[0], fired)
    assert await orders.count_living("user", limit=10) == 4
    await orders.replace(fired, lifecycle.cancel(fired, T0 + 200))
    await orders.replace(placed[1], lifecycle.expire(placed[1], T0 + 200))
    assert await orders.count_living("user", limit=10) == 2


async def test_many_orders_are_read_at_once_and_one_that_cannot_be_read_spoils_no_other(services: Services) -> None:
    orders = services.orders
    refs = [OrderRef("user", f"order{number}") for number in range(120)]
    for ref in refs:
        await orders.create(an_order(ref.order_id))
    services.spoil(refs[7])
    found = await orders.get_many([*refs, OrderRef("user", "gone")])
    assert set(found) == set(refs)
    unreadable = [ref for ref, order in found.items() if isinstance(order, Exception)]
    assert unreadable == [refs[7]]
    readable = {ref: order for ref, order in found.items() if not isinstance(order, Exception)}
    assert all(order.ref == ref for ref, order in readable.items())


async def test_orders_are_found_when_their_time_limit_has_passed_until_they_end(orders: OrderStore) -> None:
    async def expiring(now: int) -> list[OrderRef]:
        return list((await orders.expiring(now=now, after=None, limit=10)).entries)

    soon, late = an_order("soon", limit="1", until=T0 + 1000), an_order("late", limit="1", until=T0 + 9000)
    await orders.create(soon)
    await orders.create(late)
    assert await expiring(T0 + 999) == []
    assert await expiring(T0 + 1000) == [soon.ref]
    await orders.replace(soon, lifecycle.expire(soon, T0 + 1000))
    assert await expiring(T0 + 1000) == []


async def test_pages_are_newest_first_complete_and_of_one_user(orders: OrderStore) -> None:
    for number in range(7):
        await orders.create(an_order(f"order{number}", at=T0 + number))
    await orders.create(an_order("foreign", user_id="another", at=T0 + 3))
    found: list[str] = []
    key: str | None = None
    for _ in range(10):
        page = await orders.page("user", limit=3, after=key, status=None)
        found += [order.ref.order_id for order in page.orders]
        key = page.next_key
        if key is None:
            break
    assert found == [f"order{number}" for number in reversed(range(7))]


async def _listed(orders: OrderStore, status: Status | None, limit: int, user_id: str = "user") -> list[str]:
    """All orders of a status, page by page; no page is longer than asked for."""
    found: list[str] = []
    key: str | None = None
    for _ in range(100):
        page = await orders.page(user_id, limit=limit, after=key, status=status)
        assert len(page.orders) <= limit
        found += [order.ref.order_id for order in page.orders]
        key = page.next_key
        if key is None:
            return found
    raise AssertionError("it never came to the end")


def _lives() -> list[list[Order]]:
    """One order in each status that there is, with the steps that led there."""
    lives: list[list[Order]] = []
    for number in range(20):
        market = an_order(f"market{number:02}", at=T0 + number)
        limit = an_order(f"limit{number:02}", limit="150", until=T0 + 10**6, at=T0 + number)
        routing = claimed(market)
        fired = lifecycle.fire(limit, T0 + 90)
        ends = [
            [market],
            [market, routing],
            [market, routing, lifecycle.route(routing, Routed(a_decision(), 1), T0 + 150)],
            [market, routing, lifecycle.fail(routing, FAILURE, T0 + 200)],
            [market, lifecycle.cancel(market, T0 + 200)],
            [limit],
            [limit, fired],
            [limit, lifecycle.expire(limit, T0 + 200)],
            [limit, lifecycle.cancel(limit, T0 + 200)],
            [limit, fired, lifecycle.cancel(fired, T0 + 200)],
        ]
        lives.append(ends[number % len(ends)])
    return lives


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_by_status_hold_all_of_that_status_and_nothing_else(orders: OrderStore, limit: int) -> None:
    lives = _lives()
    for steps in lives:
        await _stored(orders, *steps)
        foreign = [replace(step, ref=OrderRef("another", step.ref.order_id)) for step in steps]
        await _stored(orders, *foreign)
    done = await _stored(orders, *_confirmed(an_order("confirmed", at=T0 + 5)))
    for status in Status:
        wanted = [steps[-1] for steps in lives if steps[-1].status is status]
        wanted += [done] if done.status is status else []
        newest_first = sorted(wanted, key=lambda order: (order.created_at, order.ref.order_id), reverse=True)
        assert await _listed(orders, status, limit) == [order.ref.order_id for order in newest_first], status
    assert len(await _listed(orders, None, limit)) == len(lives) + 1


def _confirmed(order: Order) -> list[Order]:
    sent = submitted(claimed(order))
    built = lifecycle.route(claimed(order), Routed(a_decision(), 223_000_000), T0 + 200)
    return [order, claimed(order), built, sent, lifecycle.confirm(sent, Fill("5ig", 7, 12), T0 + 300)]


async def test_a_page_reads_a_bounded_number_of_orders_and_says_that_more_follow(orders: OrderStore) -> None:
    for number in range(EXAMINED + 30):
        order = an_order(f"order{number:03}", at=T0 + number)
        await orders.create(order)
        if number == 0:
            steps = _confirmed(order)
            for old, new in pairwise(steps):
                await orders.replace(old, new)
    first = await orders.page("user", limit=5, after=None, status=Status.CONFIRMED)
    assert first.orders == ()
    assert first.next_key is not None
    second = await orders.page("user", limit=5, after=first.next_key, status=Status.CONFIRMED)
    assert [order.ref.order_id for order in second.orders] == ["order000"]
    assert second.next_key is None


async def test_a_market_order_that_is_confirmed_never_touches_the_index_by_status(orders: OrderStore) -> None:
    for step in _confirmed(an_order()):
        assert "by_status" not in indexes.index_keys(step)


async def test_orders_under_way_are_counted_by_user(orders: OrderStore) -> None:
    assert await orders.count_active("user") == 0
    placed = [an_order(f"order{number}", at=T0 + number) for number in range(4)]
    limit = an_order("limit", limit="150")
    for order in (*placed, limit, *(an_order(f"foreign{number}", user_id=f"user{number}") for number in range(40))):
        await orders.create(order)
    assert await orders.count_active("user") == 4
    await orders.replace(limit, lifecycle.fire(limit, T0 + 100))
    await orders.replace(placed[0], lifecycle.cancel(placed[0], T0 + 100))
    await orders.replace(placed[1], claimed(placed[1]))
    assert await orders.count_active("user") == 4


async def test_other_users_orders_in_the_same_partition_neither_hide_nor_show(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where very many orders wait, a page ends among another user's; its key must not tell of that one's order."""
    orders = services.orders
    monkeypatch.setattr(DynamoOrders, "places_read", 7)
    neighbour = next(
        name for name in map(str, range(1000)) if indexes.active_partition(name) == indexes.active_partition("user")
    )
    for number in range(40):
        mine = number % 9 == 0
        # Several within one millisecond.
        order = an_order(f"{'mine' if mine else 'foreign'}{number:02}", at=T0 + number // 3)
        await orders.create(order if mine else replace(order, ref=OrderRef(neighbour, order.ref.order_id)))
    key: str | None = None
    found: list[str] = []
    for _ in range(100):
        page = await orders.page("user", limit=2, after=key, status=Status.PENDING)
        found += [order.ref.order_id for order in page.orders]
        key = page.next_key
        if key is None:
            break
        assert "foreign" not in key
    assert found == [f"mine{number:02}" for number in (36, 27, 18, 9, 0)]


async def test_an_order_at_the_bound_of_its_events_still_fits_into_an_item(orders: OrderStore) -> None:
    """The worst that ``next_step`` lets happen: every second event is a routing decision of the largest size."""
    routed = Routed(largest_decision(), 2**64 - 1)
    # The last claim may come just below the bound: its attempt and the end add four events more.
    events = [Event(1, Status.PENDING, T0, 0)]
    while len(events) < MAX_EVENTS + 4:
        seq = len(events) + 1
        building = seq % 2 == 1
        events.append(Event(seq, Status.BUILDING if building else Status.ROUTING, T0, 4, routed if building else None))
    intent = SignedTransaction("5" * 88, "x" * 1644, 2**63)
    order = replace(
        an_order("x" * 36, user_id="u" * 64), events=tuple(events), intent=intent, lease=Lease("w" * 12, T0), version=75
    )
    await orders.create(order)
    assert await orders.get(order.ref) == order
    item = codec.to_item(order)
    size = sum(len(name) + len(str(value)) for name, value in item.items())
    assert size < 400_000


async def test_a_submitted_order_keeps_the_bytes_to_send_again(orders: OrderStore) -> None:
    order = an_order()
    routing = claimed(order)
    building = lifecycle.route(routing, Routed(a_decision(), 223_000_000), T0 + 200)
    sent = submitted(routing)
    await _stored(orders, order, routing, building, sent)
    stored = await orders.get(order.ref)
    assert stored is not None
    assert stored.intent == SignedTransaction("5ig", "cmF3", 1_234)
