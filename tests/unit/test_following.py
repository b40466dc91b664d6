"""How a worker follows a transaction whose fate it does not know, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from order_engine.domain.order import Lease, Status
from order_engine.engine.execute import Done, Later
from tests.support.orders import T0
from tests.unit.following import BEAT_MS, BYTES, DEADLINE_MS, LANDED, LEASE_MS, follow, submitted


def test_the_same_bytes_are_sent_again_at_every_beat_while_nothing_is_known() -> None:
    done = follow(submitted())
    assert [tx for _, tx in done.chain.sent] == [BYTES] * 7
    assert [ms for ms, _ in done.chain.sent] == [beat * BEAT_MS for beat in range(7)]


def test_a_landing_is_seen_within_a_poll_and_nothing_is_sent_after_it() -> None:
    done = follow(submitted(), landed=lambda ms: LANDED if ms >= 5_030 else None)
    assert done.verdict == Done("confirmed")
    assert done.order.status is Status.CONFIRMED
    assert 5_030 <= done.ended <= 5_130
    assert [ms for ms, _ in done.chain.sent] == [0, 2_000, 4_000]


def test_a_fill_below_what_the_programs_let_happen_is_not_believed() -> None:
    order = submitted()
    assert order.routed is not None
    wrong = replace(LANDED, amount_out=order.routed.min_out - 1)
    done = follow(order, landed=lambda ms: wrong if ms < 5_000 else LANDED)
    assert done.order.fill is not None
    assert done.order.fill.amount_out == LANDED.amount_out
    assert follow(order, landed=lambda ms: wrong).order.status is Status.SUBMITTED


def test_whoever_takes_over_asks_before_it_sends() -> None:
    done = follow(submitted(), landed=lambda ms: LANDED)
    assert done.verdict == Done("confirmed")
    assert done.chain.sent == []


def test_a_transaction_that_expires_while_it_is_followed_is_tried_again_within_a_beat() -> None:
    """The worker that sees it does not leave this to the next one."""
    done = follow(submitted(), blocks=lambda ms: 100 if ms < 5_000 else 101)
    assert isinstance(done.verdict, Later)
    assert done.order.status is Status.PENDING
    assert done.order.intent is None
    assert 5_000 <= done.ended <= 5_000 + BEAT_MS


def test_a_node_that_is_behind_the_height_proves_no_expiry() -> None:
    """It may lack the very block in which the transaction landed; one that has come as far would know."""
    landed_late = follow(
        submitted(), blocks=lambda ms: 101, behind=lambda ms: 1 if ms < 5_000 else 0, landed=lambda ms: None
    )
    assert landed_late.order.status is Status.PENDING
    assert landed_late.ended >= 5_000
    found = follow(
        submitted(),
        blocks=lambda ms: 101,
        behind=lambda ms: 1 if ms < 5_000 else 0,
        landed=lambda ms: LANDED if ms >= 5_000 else None,
    )
    assert found.verdict == Done("confirmed")
    never = follow(submitted(), blocks=lambda ms: 101, behind=lambda ms: 1)
    assert never.order.status is Status.SUBMITTED
    assert never.verdict == Later(LEASE_MS - never.ended, "the chain has not answered yet")


@pytest.mark.parametrize("mute", [{"broadcast"}, {"status"}, {"height"}, {"broadcast", "status"}], ids=sorted)
def test_a_chain_that_does_not_answer_keeps_no_worker_beyond_its_deadline(mute: set[str]) -> None:
    done = follow(submitted(), mute=frozenset(mute))
    assert done.ended <= DEADLINE_MS
    assert done.verdict == Later(LEASE_MS - done.ended, "the chain has not answered yet")
    assert done.order.status is Status.SUBMITTED


def test_a_call_without_an_answer_costs_one_beat() -> None:
    done = follow(submitted(), mute=frozenset({"status"}), landed=lambda ms: LANDED)
    assert done.chain.asked[:3] == [0, BEAT_MS, 2 * BEAT_MS + 100]


@pytest.mark.parametrize("deadline_ms", [0, 50, 150, 3_000, 9_990])
def test_a_worker_returns_by_its_deadline_and_says_when_its_lease_is_over(deadline_ms: int) -> None:
    done = follow(submitted(), deadline_ms=deadline_ms)
    assert done.ended <= deadline_ms
    assert done.verdict == Later(LEASE_MS - done.ended, "the chain has not answered yet")


def test_the_last_call_of_a_worker_is_not_waited_for_beyond_its_deadline() -> None:
    done = follow(submitted(), deadline_ms=500, mute=frozenset({"broadcast"}))
    assert done.ended <= 510


def test_a_short_wait_is_left_to_the_queue_where_the_deadline_comes_first() -> None:
    held = replace(submitted(), lease=Lease("other", T0 + 900))
    done = follow(held, deadline_ms=800)
    assert done.verdict == Later(900, "held by another worker")
    assert done.ended == 0
