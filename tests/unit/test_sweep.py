"""What the sweeper sends again and ends, and that nothing hides from it behind what cannot move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import lifecycle
from order_engine.domain.failures import WAITED_TOO_LONG
from order_engine.domain.order import Lease, Order, OrderRef, Status
from order_engine.engine.observer import Silent
from order_engine.engine.retry import PATIENCE_MS
from order_engine.engine.sweep import CROWDED_MS, LEASE_GRACE_MS, STRANDED_MS, Sweep, stranded
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.support.clock import StandingClock
from tests.support.lives import orders, times
from tests.support.orders import LIMIT, MARKET, T0


@given(orders(), times)
def test_only_orders_that_need_a_worker_are_sent_again(order: Order, now: int) -> None:
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        assert not stranded(order, now).resend


@given(orders(), st.integers(-2_000, 2_000))
def test_a_held_order_is_left_to_its_worker_until_the_lease_is_over(order: Order, ms: int) -> None:
    if order.lease is not None:
        assert stranded(order, order.lease.until + ms).resend == (ms >= LEASE_GRACE_MS)


@given(orders(), st.integers(0, 40))
def test_every_stranded_order_is_sent_again_sooner_or_later_and_ever_less_often(order: Order, resends: int) -> None:
    """However often it was sent before, and from whatever state: never never."""
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        return
    last = max(order.updated_at, order.retry_at or 0, order.lease.until if order.lease else 0)
    marked = replace(order, resent_at=last, resends=resends)
    assert stranded(marked, last + 900_000 + STRANDED_MS).resend
    if resends:
        wait = min(900_000, 60_000 << (resends - 1))
        assert not stranded(marked, last + wait - 1).resend


def test_a_message_on_its_way_is_given_time() -> None:
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    assert not stranded(order, T0 + STRANDED_MS - 1).resend
    assert stranded(order, T0 + STRANDED_MS).resend


def test_a_full_queue_is_given_more_time_and_never_up() -> None:
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    assert not stranded(order, T0 + CROWDED_MS - 1, crowded=True).resend
    assert stranded(order, T0 + CROWDED_MS, crowded=True).resend
    often = replace(order, resent_at=T0, resends=40)
    assert not stranded(often, T0 + 6 * 3_600_000 - 1, crowded=True).resend
    assert stranded(often, T0 + 6 * 3_600_000, crowded=True).resend


# --- whole beats --------------------------------------------------------------------------------------------------


class _Counting(FakeOrders):
    """Counts what the sweeper reads; ``step`` is told of each call, so that calls can take time."""

    def __init__(self, step: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.reads = 0
        self._step = step

    async def get_many(self, refs: Sequence[OrderRef]) -> Mapping[OrderRef, Order | Exception]:
        self.reads += len(refs)
        self._step()
        return await super().get_many(refs)

    async def replace(self, old: Order, new: Order) -> None:
        self._step()
        await super().replace(old, new)


def _sweep(orders: FakeOrders, clock: StandingClock) -> tuple[Sweep, FakeQueue]:
    queue = FakeQueue(clock.now_ms)
    return Sweep(orders, queue, clock, Silent()), queue


def _held(order_id: str, until: int) -> Order:
    """An active order that a worker holds."""
    order = lifecycle.place(OrderRef("user", order_id), MARKET, "print", T0)
    return lifecycle.claim(order, Lease("worker", until), T0)


async def _store(orders: FakeOrders, *found: Order) -> None:
    for order in found:
        first = replace(order, events=order.events[:1], version=0, lease=None)
        await orders.create(first)
        if order != first:
            await orders.replace(first, order)


async def test_ten_thousand_orders_that_cannot_move_do_not_hide_the_one_behind_them() -> None:
    clock, orders = StandingClock(T0 + 60_000), _Counting()
    await _store(orders, *(_held(f"stuck{number:05}", T0 + 10**9) for number in range(10_000)))
    lost = lifecycle.place(OrderRef("another", "lost"), MARKET, "print", T0 + 1)
    await _store(orders, lost)
    sweep, queue = _sweep(orders, clock)
    for _ in range(3):
        orders.reads = 0
        await sweep.beat(clock.now + 10_000)
        assert orders.reads <= 4_000
    assert len(queue.messages) == 1
    assert orders.stored[lost.ref].resends == 1


async def test_what_could_not_be_sent_within_a_beat_is_sent_by_the_next_ones() -> None:
    clock = StandingClock(T0 + 60_000)
    orders = FakeOrders()
    await _store(
        orders,
        *(lifecycle.place(OrderRef("user", f"order{n:04}"), MARKET, "print", T0) for n in range(1_000)),
    )
    sweep, queue = _sweep(orders, clock)
    send = queue.send

    async def slow(refs: Sequence[OrderRef]) -> None:
        clock.now += 3_000
        await send(refs)

    queue.send = slow  # type: ignore[method-assign]
    sent = [await sweep.beat(clock.now + 10_000) for _ in range(4)]
    assert sent == [400, 400, 200, 0]
    assert {order.resends for order in orders.stored.values()} == {1}


async def test_orders_that_expire_all_at_once_are_ended_in_bounded_beats_and_delay_no_resending() -> None:
    clock = StandingClock(T0 + 100_000)

    def step() -> None:
        clock.now += 5

    orders = _Counting(step)
    limits = [lifecycle.place(OrderRef(f"user{n % 20}", f"limit{n:04}"), LIMIT, "print", T0) for n in range(4_000)]
    lost = lifecycle.place(OrderRef("user", "lost"), MARKET, "print", T0)
    await _store(orders, *limits, lost)
    clock.now = T0 + 100_000
    sweep, queue = _sweep(orders, clock)
    beats = 0
    while any(orders.stored[order.ref].status is Status.OPEN for order in limits):
        began = clock.now
        await sweep.beat(began + 10_000)
        assert clock.now - began < 11_000
        assert len(queue.messages) == 1
        beats += 1
        assert beats <= 4
    assert {orders.stored[order.ref].status for order in limits} == {Status.EXPIRED}


async def test_expired_orders_that_a_worker_holds_do_not_hide_those_that_can_end() -> None:
    """They end at the worker; on a chain that is silent that may take hours."""
    clock, orders = StandingClock(T0 + 100_000), FakeOrders()
    for number in range(6_000):
        order = lifecycle.place(OrderRef("user", f"held{number:04}"), LIMIT, "print", T0)
        fired = lifecycle.fire(order, T0 + 1)
        await orders.create(order)
        await orders.replace(order, fired)
        await orders.replace(fired, lifecycle.claim(fired, Lease("worker", T0 + 10**9), T0 + 2))
    late = lifecycle.place(OrderRef("another", "late"), replace(LIMIT, expires_at=T0 + 70_000), "print", T0)
    await orders.create(late)
    sweep, _ = _sweep(orders, clock)
    for _ in range(2):
        await sweep.beat(clock.now + 10_000)
    assert orders.stored[late.ref].status is Status.EXPIRED


async def test_a_queue_that_holds_a_message_for_every_order_is_sent_no_second_one_and_a_lost_one_is() -> None:
    clock, orders = StandingClock(T0 + STRANDED_MS), FakeOrders()
    waiting = [lifecycle.place(OrderRef("user", f"order{n}"), MARKET, "print", T0) for n in range(20)]
    await _store(orders, *waiting)
    sweep, queue = _sweep(orders, clock)
    await queue.send([order.ref for order in waiting])
    assert await sweep.beat(clock.now + 10_000) == 0
    queue.messages.popitem()
    assert await sweep.beat(clock.now + 10_000) == 20


async def test_a_market_order_that_has_waited_too_long_is_ended_though_no_worker_runs() -> None:
    clock, orders = StandingClock(T0 + PATIENCE_MS - 1), FakeOrders()
    market = lifecycle.place(OrderRef("user", "market"), MARKET, "print", T0)
    limit = lifecycle.place(OrderRef("user", "limit"), replace(LIMIT, expires_at=None), "print", T0)
    await _store(orders, market, limit, _held("held", T0 + 10**9))
    await orders.replace(limit, lifecycle.fire(limit, T0))
    sweep, _ = _sweep(orders, clock)
    await sweep.beat(clock.now + 10_000)
    assert orders.stored[market.ref].status is Status.PENDING
    clock.now += 1
    await sweep.beat(clock.now + 10_000)
    assert orders.stored[market.ref].failure == WAITED_TOO_LONG
    assert orders.stored[limit.ref].status is Status.PENDING
    assert orders.stored[OrderRef("user", "held")].status is Status.ROUTING
