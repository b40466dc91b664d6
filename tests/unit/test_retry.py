"""When a failed attempt is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, Retry, Status
from order_engine.engine.retry import RetryPolicy, after_failure, lost_workers, wait_ms
from tests.support.orders import FAILURE, MARKET, ROUTED, T0

POLICY = RetryPolicy()


@given(st.text(min_size=1), st.integers(1, 3))
def test_a_wait_doubles_and_is_lengthened_by_at_most_a_quarter(order_id: str, attempt: int) -> None:
    nominal = 1000 * 2 ** (attempt - 1)
    wait = wait_ms(POLICY, order_id, attempt)
    assert nominal <= wait < nominal * 5 // 4 + 1
    assert wait == wait_ms(POLICY, order_id, attempt)


def test_orders_that_failed_together_come_back_apart() -> None:
    waits = {wait_ms(POLICY, f"order{number}", 1) for number in range(50)}
    assert len(waits) > 40


def _claimed(order: Order, now: int) -> Order:
    return lifecycle.claim(order, Lease(f"worker{now}", now + 20_000), now)


def test_three_retries_follow_the_first_attempt_and_the_last_reason_stays() -> None:
    order, now = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0), T0
    waits: list[int] = []
    for _ in range(10):
        order = after_failure(_claimed(order, now), FAILURE, POLICY, now)
        if order.status is Status.FAILED:
            break
        detail = order.events[-1].detail
        assert isinstance(detail, Retry)
        assert order.retry_at is not None
        waits.append(order.retry_at - now)
        now = order.retry_at
    assert order.status is Status.FAILED
    assert order.failure == FAILURE
    assert order.attempts == 4
    assert [wait // 1000 for wait in waits][:2] == [1, 2]
    assert 4000 <= waits[2] <= 5000


@given(st.integers(1, 12))
def test_workers_that_vanish_within_one_attempt_are_counted_and_forgotten_with_the_next(lost: int) -> None:
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    for number in range(lost):
        order = _claimed(order, T0 + number)
        if number % 2:
            order = lifecycle.route(order, ROUTED, T0 + number)
    assert lost_workers(order) == lost - 1
    assert order.attempts == 1
    back = after_failure(order, FAILURE, POLICY, T0 + 100)
    assert lost_workers(_claimed(back, T0 + 5000)) == 0


def test_the_whole_quarter_is_used_so_that_a_crowd_spreads() -> None:
    waits = [wait_ms(POLICY, f"order{number}", 1) for number in range(500)]
    assert min(waits) < 1_010
    assert max(waits) > 1_240


def test_orders_whose_attempts_failed_together_are_tried_again_apart() -> None:
    orders = [lifecycle.place(OrderRef("user", f"order{number}"), MARKET, "print", T0) for number in range(20)]
    again = {after_failure(_claimed(order, T0), FAILURE, POLICY, T0).retry_at for order in orders}
    assert len(again) > 15
