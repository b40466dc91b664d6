"""One worker with one order: everything that is written, sent, noted and answered on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.amounts import slippage_min_out
from order_engine.domain.errors import OrderNotFound, VenueError
from order_engine.domain.order import Failure, Fill, Lease, Order, OrderRef, Retry, Submission
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.execute import Done, Execute, Later
from order_engine.engine.ports import Conflict, Height, TransactionStatus
from order_engine.engine.retry import RetryPolicy, wait_ms
from order_engine.engine.routing.router import Router
from tests.fakes.orders import FakeOrders
from tests.support.clock import StandingClock
from tests.support.orders import FAILURE, IN_STATUS, LIMIT, MARKET, T0
from tests.support.recorder import Recorder
from tests.unit.one_worker import (
    ID,
    LANDED,
    OUT,
    POLICY,
    RETRY,
    SIGNED,
    Chain,
    Racing,
    Run,
    S,
    Venue,
    left,
    placed,
    steps,
)

# --- the whole way -------------------------------------------------------------------------------------------------


async def test_a_market_order_goes_all_the_way_under_one_lease_and_nothing_is_sent_before_it_is_stored() -> None:
    writes: list[Order] = []
    run = Run(store=FakeOrders(written=lambda old, new: writes.append(new)))
    run.chain.landed = LANDED
    order = await run(placed())
    assert run.verdict == Done("confirmed")
    assert steps(order, 1) == [(S.ROUTING, T0, 1), (S.BUILDING, T0, 1), (S.SUBMITTED, T0, 1), (S.CONFIRMED, T0, 1)]
    assert [write.lease for write in writes] == [None, *[Lease("me", T0 + 20_000)] * 3, None]
    assert [write.version for write in writes] == [0, 1, 1, 1, 1]
    assert order.routed is not None
    least = slippage_min_out(OUT, MARKET.slippage_bps)
    assert (order.routed.decision.chosen.amount_out, order.routed.min_out) == (OUT, least)
    assert order.events[3].detail == Submission("a signature")
    assert order.fill == Fill("a signature", OUT - 3, 7)
    assert run.chain.calls == [("build", S.BUILDING, least), ("broadcast", SIGNED, SIGNED), ("status", SIGNED, False)]
    assert run.venue.asked == [(SOL.mint, USDC.mint)]
    assert run.observer.told == [(ID, "routing"), (ID, "building"), (ID, "submitted"), (ID, "confirmed")]


@pytest.mark.parametrize(("limit", "least"), [("100", None), ("149.4", 149_400_000)])
async def test_the_least_output_is_the_better_one_of_slippage_and_limit(limit: str, least: int | None) -> None:
    run = Run()
    run.chain.landed = LANDED
    order = await run(placed(replace(LIMIT, limit_price=Decimal(limit), slippage_bps=100)))
    assert order.routed is not None
    assert order.routed.min_out == (slippage_min_out(OUT, 100) if least is None else least)


# --- whose order it is ---------------------------------------------------------------------------------------------


async def cancelled(store: FakeOrders, read: Order) -> None:
    await store.replace(read, lifecycle.cancel(read, T0))


async def forgotten(store: FakeOrders, read: Order) -> None:
    del store.stored[read.ref]


async def refused(store: FakeOrders, read: Order) -> None:
    raise Conflict(read)


async def test_whoever_loses_the_race_for_an_order_looks_at_what_it_is_now() -> None:
    run = Run(store=Racing(cancelled))
    order = await run(placed())
    assert order.status is S.CANCELLED
    assert run.verdict == Done("already cancelled")
    assert run.observer.told == [(ID, "conflict", "claim lost to cancelled")]
    assert run.chain.calls == []


async def test_after_a_lost_race_it_is_tried_again_but_not_for_ever() -> None:
    twice = Run(store=Racing(refused, refused))
    twice.chain.landed = LANDED
    assert (await twice(placed())).status is S.CONFIRMED
    assert twice.observer.told[:2] == [(ID, "conflict", "claim lost to pending")] * 2
    thrice = Run(store=Racing(refused, refused, refused))
    assert await thrice(placed()) == placed()
    assert thrice.verdict == Later(1_000, "contended")


async def test_an_order_that_is_not_there_or_no_longer_is_named_so() -> None:
    with pytest.raises(OrderNotFound):
        await Execute(
            FakeOrders(), Router((), StandingClock(T0)), Chain(FakeOrders()), StandingClock(T0), POLICY, Recorder()
        )(OrderRef("user", ID), worker="me", deadline=T0 + 14_000)
    run = Run(store=Racing(forgotten))
    with pytest.raises(OrderNotFound):
        await run(placed())


# --- waiting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "deadline", "slept"),
    [(700, 14_000, 700), (1_000, 14_000, 1_000), (1_001, 14_000, None), (700, 701, 700), (700, 700, None)],
)
async def test_a_short_wait_is_waited_out_and_a_long_one_left_to_the_queue(
    wait: int, deadline: int, slept: int | None
) -> None:
    run = Run()
    run.chain.landed = LANDED
    waiting = replace(placed(), retry_at=T0 + wait)
    order = await run(waiting, deadline_ms=deadline)
    if slept is None:
        assert (order, run.verdict) == (waiting, Later(wait, "waiting to be tried again"))
        assert run.clock.slept == []
    else:
        assert run.clock.slept[0] == slept
        assert order.events[1].at == T0 + slept


async def test_a_worker_that_wakes_too_early_leaves_the_rest_of_the_wait_to_the_queue() -> None:
    run = Run(clock=StandingClock(T0, short_by=30))
    waiting = replace(placed(), retry_at=T0 + 700)
    assert await run(waiting) == waiting
    assert run.verdict == Later(30, "waiting to be tried again")


# --- what is ended or given back without an attempt ----------------------------------------------------------------


async def test_an_order_past_its_time_limit_expires() -> None:
    run = Run(clock=StandingClock(T0 + 60_000))
    order = await run(placed(LIMIT))
    assert steps(order, 2) == [(S.EXPIRED, T0 + 60_000, 0)]
    assert run.verdict == Done("its time limit has passed")
    assert run.observer.told == [(ID, "expired")]


async def test_an_orphan_past_its_time_limit_is_given_back() -> None:
    run = Run(clock=StandingClock(T0 + 60_000))
    order = await run(left(lifecycle.claim(placed(LIMIT), Lease("gone", T0), T0)))
    detail = order.events[-1].detail
    assert isinstance(detail, Retry)
    assert (order.status, detail.failure.code, order.lease) == (S.PENDING, "time_limit", None)
    assert run.verdict == Later(wait_ms(RETRY, ID, 1), detail.failure.message)


async def test_an_attempt_that_has_lost_four_workers_fails_as_such() -> None:
    order = placed()
    for _ in range(4):
        order = left(lifecycle.claim(order, Lease("gone", T0), T0))
    run = Run()
    after = await run(order)
    failure = Failure("worker_lost", "The order was given up: 4 workers were lost during this attempt.")
    assert after.events[-1].detail == Retry(failure, T0 + wait_ms(RETRY, ID, 1))
    assert run.verdict == Later(wait_ms(RETRY, ID, 1), failure.message)


async def test_a_market_order_that_has_waited_too_long_fails() -> None:
    run = Run(policy=replace(POLICY, retry=RetryPolicy(patience_ms=600)), clock=StandingClock(T0 + 600))
    order = await run(placed())
    assert (order.status, order.failure and order.failure.code) == (S.FAILED, "gave_up")
    assert steps(order, 1) == [(S.FAILED, T0 + 600, 0)]
    assert run.verdict == Done("it has waited too long")


# --- attempts that fail before anything is signed ------------------------------------------------------------------


def refusing() -> None:
    raise VenueError("Says the node.")


def broken() -> None:
    raise ValueError("a secret")


@pytest.mark.parametrize(
    ("building", "failure"),
    [
        (refusing, Failure("venue_error", "Says the node.")),
        (broken, Failure("build_failed", "ValueError while the order was being prepared.")),
    ],
)
async def test_a_transaction_that_cannot_be_built_costs_the_attempt(
    building: Callable[[], object], failure: Failure
) -> None:
    run = Run()
    run.chain.building = building
    order = await run(placed())
    wait = wait_ms(RETRY, ID, 1)
    assert steps(order, 1) == [(S.ROUTING, T0, 1), (S.BUILDING, T0, 1), (S.PENDING, T0, 1)]
    assert order.events[-1].detail == Retry(failure, T0 + wait)
    assert run.verdict == Later(wait, failure.message)
    assert [call[0] for call in run.chain.calls] == ["build"]


async def test_what_cannot_be_routed_fails_a_market_order_at_once_and_lets_a_limit_order_rest() -> None:
    market, limit = Run(venue=Venue(found=())), Run(venue=Venue(found=()))
    order = await market(placed())
    assert (order.status, order.failure and order.failure.code) == (S.FAILED, "no_route")
    assert order.failure is not None
    assert market.verdict == Done(order.failure.message)
    order = await limit(placed(LIMIT))
    detail = order.events[-1].detail
    assert isinstance(detail, Retry)
    assert (order.status, detail.failure.code, order.retry_at) == (S.OPEN, "no_route", T0 + RETRY.rest_ms)
    assert limit.verdict == Done(detail.failure.message)


async def test_a_route_that_breaks_is_tried_again() -> None:
    run = Run(venue=Venue(found=(None,)))  # type: ignore[arg-type]
    order = await run(placed())
    detail = order.events[-1].detail
    assert isinstance(detail, Retry)
    assert (order.status, detail.failure.code) == (S.PENDING, "routing_failed")


async def test_a_route_that_moves_the_price_too_much_is_not_taken() -> None:
    run = Run(most_impact_bps=1)
    order = await run(placed(replace(MARKET, amount_in=100 * SOL.unit)))
    assert (order.status, order.failure and order.failure.code) == (S.FAILED, "price_impact_too_high")


@pytest.mark.parametrize("late", [0, 1])
async def test_nothing_is_signed_for_whose_time_limit_passed_meanwhile(late: int) -> None:
    run = Run()
    run.chain.landed = LANDED

    def take_long() -> None:
        run.clock.now = T0 + 59_999 + late

    run.chain.building = take_long
    order = await run(placed(replace(LIMIT, limit_price=Decimal(100))))
    if late:
        detail = order.events[-1].detail
        assert isinstance(detail, Retry)
        assert (order.status, detail.failure.code) == (S.PENDING, "time_limit")
        assert [call[0] for call in run.chain.calls] == ["build"]
    else:
        assert order.status is S.CONFIRMED


# --- what became of what was sent ----------------------------------------------------------------------------------


SENT = left(replace(IN_STATUS[S.SUBMITTED], ref=OrderRef("user", ID), intent=SIGNED))
GONE = Failure("expired", "The transaction expired without landing.")


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (
            TransactionStatus(7, None, "slippage_tolerance_exceeded: Too little."),
            Failure("slippage_tolerance_exceeded", "Too little."),
        ),
        (TransactionStatus(7, OUT, "custom program error"), Failure("landed_with_error", "custom program error")),
        (TransactionStatus(7, None), Failure("landed_with_error", "The transaction landed with an error.")),
    ],
)
async def test_what_landed_with_an_error_has_swapped_nothing_and_is_tried_again(
    status: TransactionStatus, failure: Failure
) -> None:
    run = Run()
    run.chain.landed = status
    order = await run(SENT)
    wait = wait_ms(RETRY, ID, 1)
    assert (order.intent, order.lease, order.fill) == (None, None, None)
    assert order.events[-1].detail == Retry(failure, T0 + wait)
    assert run.verdict == Later(wait, failure.message)


async def test_the_last_attempts_failure_is_the_orders() -> None:
    run = Run()
    run.chain.landed = TransactionStatus(7, None, "custom program error")
    order = await run(replace(SENT, events=(*SENT.events[:-1], replace(SENT.events[-1], attempt=4))))
    assert order.failure == Failure("landed_with_error", "custom program error")
    assert run.verdict == Done("custom program error")


async def test_an_expiry_is_proved_by_the_height_and_then_a_look_through_the_history() -> None:
    run = Run()
    run.chain.height_, run.chain.slot = Height(101, 500), 500
    order = await run(SENT)
    assert run.chain.calls == [("status", SIGNED, False), ("height",), ("status", SIGNED, True)]
    assert order.events[-1].detail == Retry(GONE, T0 + wait_ms(RETRY, ID, 1))
    assert run.observer.told == [(ID, "pending")]


async def test_a_node_that_is_behind_is_noted_and_believed_nothing() -> None:
    run = Run()
    run.chain.height_, run.chain.slot = Height(101, 500), 493
    order = await run(SENT, deadline_ms=50)
    assert order.status is S.SUBMITTED
    assert run.observer.told == [(ID, "chain_behind", "7 slots")]
    # It looks again when it sends again, and not before: nothing expires in between.
    assert [call for call in run.chain.calls if call == ("height",)] == [("height",)]
    again = Run()
    again.chain.height_, again.chain.slot = Height(101, 500), 493
    await again(SENT, deadline_ms=2500)
    assert again.observer.told == [(ID, "chain_behind", "7 slots")] * 2


async def test_before_the_last_valid_block_has_passed_nothing_has_expired() -> None:
    run = Run()
    run.chain.height_, run.chain.slot = Height(100, 500), 500
    order = await run(SENT, deadline_ms=50)
    assert order.status is S.SUBMITTED
    assert order.lease == Lease("me", T0 + 20_000)
    assert run.verdict == Later(20_000, "the chain has not answered yet")


@pytest.mark.parametrize("call", ["broadcast", "status", "height"])
async def test_a_chain_that_does_not_answer_is_noted_and_proves_nothing(call: str) -> None:
    run = Run()
    run.chain.breaks = frozenset({call})
    run.chain.height_, run.chain.slot = Height(101 if call != "broadcast" else 0, 500), 500
    order = await run(SENT, deadline_ms=50)
    assert order.status is S.SUBMITTED
    assert set(run.observer.told) == {("", "chain_silent", "ConnectionError")}


@pytest.mark.parametrize(("deadline_ms", "polls"), [(99, 0), (100, 0), (101, 1), (201, 2)])
async def test_it_is_asked_until_another_look_would_come_too_late(deadline_ms: int, polls: int) -> None:
    run = Run()
    await run(SENT, deadline_ms=deadline_ms)
    assert run.clock.slept == [100] * polls
    assert run.verdict == Later(20_000 - 100 * polls, "the chain has not answered yet")


async def test_a_submitted_order_without_its_transaction_is_an_error_and_no_failure() -> None:
    run = Run()
    with pytest.raises(ValueError, match="no stored transaction"):
        await run(replace(SENT, intent=None))
    assert run.store.stored[SENT.ref].status is S.SUBMITTED
    assert FAILURE.code not in repr(run.observer.told)
