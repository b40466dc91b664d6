"""What a worker does with the order that it is handed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given

from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Lease, Order, OrderRef, SignedTransaction, Status
from order_engine.engine.execute import MAX_EVENTS, MAX_LOST_WORKERS, Done, Execute, ExecutionPolicy, Later, next_step
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from order_engine.engine.retry import RetryPolicy, lost_workers
from order_engine.engine.routing.router import Router
from tests.fakes.orders import FakeOrders
from tests.support.clock import StandingClock
from tests.support.lives import orders, times
from tests.support.orders import FAILURE, LIMIT, MARKET, ROUTED, T0


@given(orders(), times)
def test_what_has_ended_or_rests_needs_no_worker(order: Order, now: int) -> None:
    idle = order.status in lifecycle.TERMINAL or order.status is Status.OPEN
    assert (next_step(order, now).action == "drop") == idle


@given(orders(), times)
def test_a_living_workers_order_is_waited_for_until_its_lease_ends(order: Order, now: int) -> None:
    if order.lease is None or now >= order.lease.until:
        return
    step = next_step(order, now)
    assert (step.action, step.wait_ms) == ("held", order.lease.until - now)
    assert next_step(order, order.lease.until).action not in ("held", "wait")


@given(orders(), times)
def test_a_submitted_order_is_followed_and_never_started_again(order: Order, now: int) -> None:
    if order.status is Status.SUBMITTED:
        assert next_step(order, now).action in ("held", "take_over")


@given(orders(), times)
def test_an_order_is_claimed_only_when_nothing_speaks_against_it(order: Order, now: int) -> None:
    if next_step(order, now).action != "claim":
        return
    assert order.status in (Status.PENDING, Status.ROUTING, Status.BUILDING)
    assert order.lease is None or order.lease.until <= now
    assert order.request.expires_at is None or now < order.request.expires_at
    assert order.status is not Status.PENDING or order.retry_at is None or order.retry_at <= now
    assert lost_workers(order) < MAX_LOST_WORKERS


@given(orders(), times)
def test_a_decision_always_has_a_reason(order: Order, now: int) -> None:
    assert next_step(order, now).reason


def test_an_order_that_loses_four_workers_in_one_attempt_is_taken_for_their_end() -> None:
    order, now = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0), T0
    for number in range(MAX_LOST_WORKERS + 1):
        assert next_step(order, now).action == "claim"
        order = lifecycle.claim(order, Lease(f"worker{number}", now + 20_000), now)
        now += 20_000
    assert next_step(order, now).action == "abandon"
    verdict, after = _run(order, now=now)
    assert isinstance(verdict, Later)
    assert after.status is Status.PENDING


def test_an_order_with_too_many_steps_is_given_up() -> None:
    events = tuple(Event(seq, Status.PENDING if seq % 2 else Status.ROUTING, T0, 0) for seq in range(1, MAX_EVENTS + 1))
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    full = replace(order, events=events, lease=Lease("gone", T0))
    after = _run(full)
    assert isinstance(after[0], Done)
    assert after[1].status is Status.FAILED
    assert after[1].failure is not None
    assert after[1].failure.code == "too_many_steps"
    below = replace(order, events=events[:-1])
    assert next_step(below, T0).action == "claim"


def test_an_order_past_its_time_limit_is_not_started_again_after_its_worker_was_lost() -> None:
    resting = lifecycle.place(OrderRef("user", "order"), LIMIT, "print", T0)
    claimed = lifecycle.claim(lifecycle.fire(resting, T0), Lease("gone", T0 + 20_000), T0)
    verdict, order = _run(claimed, now=T0 + 60_000)
    assert isinstance(verdict, Later)
    assert order.status is Status.PENDING
    # From there it expires.
    verdict, order = _run(order, now=T0 + 70_000)
    assert isinstance(verdict, Done)
    assert order.status is Status.EXPIRED


def test_what_a_node_says_is_cut_to_a_length_that_an_order_can_carry() -> None:
    tx = SignedTransaction("signature", "raw", 100)
    claimed = lifecycle.claim(
        lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0), Lease("gone", T0 + 20_000), T0
    )
    sent = lifecycle.submit(lifecycle.route(claimed, ROUTED, T0), tx, T0)
    status = TransactionStatus(7, None, "custom program error: " + "log " * 10_000)
    _, order = _run(sent, now=T0 + 30_000, chain=_Says(status))
    assert order.status is Status.PENDING
    assert len(repr(order.events[-1])) < 600


def test_no_message_means_no_second_attempt_at_once() -> None:
    """A retry waits: whoever is handed the order before its time puts the message back."""
    claimed = lifecycle.claim(
        lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0), Lease("gone", T0 + 20_000), T0
    )
    waiting = lifecycle.retry(claimed, FAILURE, T0 + 4_000, T0)
    verdict, order = _run(waiting, now=T0 + 1_000)
    assert verdict == Later(3_000, "waiting to be tried again")
    assert order == waiting


class _Says:
    """A chain that gives one answer about every transaction, and builds none."""

    def __init__(self, status: TransactionStatus) -> None:
        self._status = status

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        raise AssertionError("Nothing is to be built here.")

    async def broadcast(self, tx: SignedTransaction) -> None:
        raise AssertionError("Nothing is to be sent here.")

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        return Known(0, self._status)

    async def height(self) -> Height:
        return Height(0, 0)

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        return ()


def _run(order: Order, *, now: int = T0 + 30_000, chain: _Says | None = None) -> tuple[Done | Later, Order]:
    """Hand a stored order to a worker that has no venues."""

    async def run() -> tuple[Done | Later, Order]:
        store = FakeOrders()
        await store.create(order)
        silent = chain or _Says(TransactionStatus(0, None))
        execute = Execute(
            store, Router((), StandingClock(now)), silent, StandingClock(now), ExecutionPolicy(RetryPolicy()), Silent()
        )
        verdict = await execute(order.ref, worker="me", deadline=now + 14_000)
        stored = await store.get(order.ref)
        assert stored is not None
        return verdict, stored

    return asyncio.run(run())
