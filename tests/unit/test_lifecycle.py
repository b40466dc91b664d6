"""The lifecycle: every status with every event, and long random lives."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from order_engine.domain import lifecycle
from order_engine.domain.errors import IllegalTransition
from order_engine.domain.order import Lease, Order, OrderRef
from tests.support.orders import ALLOWED, EVENTS, IN_STATUS, LIMIT, MARKET, T0, S, after, allowed


def test_the_table_is_the_documented_one() -> None:
    assert {status: set(then) for status, then in lifecycle.TRANSITIONS.items()} == ALLOWED
    assert {S.CONFIRMED, S.FAILED, S.CANCELLED, S.EXPIRED} == lifecycle.TERMINAL
    assert {status: order.status for status, order in IN_STATUS.items()} == {status: status for status in S}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(S, EVENTS)))
def test_every_event_in_every_status_does_what_the_table_says_or_raises(status: S, event: str) -> None:
    order, (becomes, apply) = IN_STATUS[status], EVENTS[event]
    if not allowed(status, event):
        with pytest.raises(IllegalTransition):
            apply(order, T0 + 100)
        return
    new = apply(order, T0 + 100)
    assert new.status is becomes
    assert new.seq == order.seq + 1
    assert new.events[:-1] == order.events
    # What belongs to a state is there in that state and nowhere else.
    assert (new.lease is not None) == (becomes in lifecycle.CLAIMED)
    assert (new.intent is not None) == (becomes is S.SUBMITTED)
    assert (new.retry_at is not None) == (event in ("retry", "rest"))
    assert new.version == order.version + (event == "claim")


def test_a_fired_order_begins_its_attempts_anew() -> None:
    """Resting is what a limit order is for: what it tried before must not use up what it may try now."""
    order = after("fire", "claim", "retry", "claim", "rest")
    assert order.attempts == 2
    fired = lifecycle.fire(order, T0 + 100)
    assert fired.attempts == 0
    assert lifecycle.claim(fired, Lease("worker", T0 + 200), T0 + 100).attempts == 1


def test_a_claim_forgets_when_the_attempt_could_start_and_how_often_its_message_was_sent() -> None:
    waiting = replace(after("claim", "retry"), resent_at=T0 + 50, resends=3)
    assert waiting.retry_at is not None
    claimed = lifecycle.claim(waiting, Lease("worker", T0 + 200), T0 + 100)
    assert (claimed.retry_at, claimed.resent_at, claimed.resends) == (None, None, 0)
    held = lifecycle.take_over(replace(IN_STATUS[S.SUBMITTED], resent_at=T0, resends=3), Lease("worker", T0 + 200))
    assert (held.resent_at, held.resends) == (None, 0)


@pytest.mark.parametrize("status", list(S))
def test_only_a_submitted_order_is_taken_over_as_it_is(status: S) -> None:
    order, lease = IN_STATUS[status], Lease("second", T0 + 50_000)
    if status is not S.SUBMITTED:
        with pytest.raises(IllegalTransition):
            lifecycle.take_over(order, lease)
        return
    held = lifecycle.take_over(order, lease)
    assert (held.events, held.version, held.lease) == (order.events, order.version + 1, lease)


class Life(RuleBasedStateMachine):
    """One order through any events at any times; a model beside it says what must come out."""

    order: Order
    now: int
    attempt: int

    @initialize(limit=st.booleans())
    def place(self, limit: bool) -> None:
        self.now, self.attempt = T0, 0
        self.order = lifecycle.place(OrderRef("user", "order"), LIMIT if limit else MARKET, "print", T0)

    @rule(ms=st.integers(-2_000, 30_000))
    def time_passes(self, ms: int) -> None:
        """Also backwards: another machine's clock."""
        self.now += ms

    @rule(name=st.sampled_from(sorted(EVENTS)))
    def happens(self, name: str) -> None:
        _, apply = EVENTS[name]
        before = self.order
        if not allowed(before.status, name):
            with pytest.raises(IllegalTransition):
                apply(before, self.now)
            return
        self.order = apply(before, self.now)
        if name == "claim" and before.status is S.PENDING:
            self.attempt += 1
        if name == "fire":
            self.attempt = 0
        assert self.order.version == before.version + (name == "claim")
        assert self.order.events[-1].at == max(self.now, before.updated_at)
        if name == "claim":
            assert (self.order.resent_at, self.order.resends, self.order.retry_at) == (None, 0, None)

    @rule()
    def is_taken_over(self) -> None:
        if self.order.status is S.SUBMITTED:
            former = self.order
            self.order = lifecycle.take_over(former, Lease("another", self.now + 20_000))
            assert self.order.version == former.version + 1

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "order"):
            return
        order = self.order
        assert [event.seq for event in order.events] == list(range(1, len(order.events) + 1))
        assert all(a.at <= b.at for a, b in itertools.pairwise(order.events))
        assert all(b.status in ALLOWED[a.status] for a, b in itertools.pairwise(order.events))
        assert order.attempts == self.attempt
        assert (order.lease is not None) == (order.status in lifecycle.CLAIMED)
        assert (order.intent is not None) == (order.status is S.SUBMITTED)
        assert (order.fill is not None) == (order.status is S.CONFIRMED)
        assert (order.failure is not None) == (order.status is S.FAILED)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
