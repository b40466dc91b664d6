"""What the stream's consumer reads out of a record."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from notify import handler
from notify.handler import read
from order_engine.compose import Engine
from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, OrderRef
from order_engine.engine.push import Change
from order_engine.wire import forms
from tests.fakes.engine import engine_with
from tests.support.clock import StandingClock
from tests.support.events import Context, record
from tests.support.orders import MARKET, T0

PENDING = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
ROUTING = lifecycle.claim(PENDING, Lease("worker", T0 + 20_000), T0 + 5)


def test_a_new_order_has_only_new_events_and_a_changed_one_those_it_did_not_have() -> None:
    first, second = read(record("1", PENDING)), read(record("2", ROUTING, PENDING))
    assert first is not None
    assert second is not None
    assert (first.order, first.known_events, first.events) == (PENDING, 0, PENDING.events)
    assert (second.order, second.known_events, second.events) == (ROUTING, 1, ROUTING.events[1:])


def test_a_change_without_a_new_event_tells_nothing_new() -> None:
    change = read(record("3", replace(ROUTING, resent_at=T0), ROUTING))
    assert change is not None
    assert change.events == ()


def test_a_deletion_is_no_change_of_an_order() -> None:
    assert read(record("4", None, PENDING)) is None


def test_sequence_numbers_are_given_back_as_they_came() -> None:
    """DynamoDB's are decimal numbers of up to 40 digits; the mapping asks for the very text."""
    numbers = ["9", "10", "099", "100000000000000000000000", "9" * 40]
    changes = [read(record(number, PENDING)) for number in numbers]
    assert [change.record for change in changes if change] == numbers


class Kept:
    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []

    async def keep(self, body: str, reason: str) -> None:
        self.letters.append((body, reason))


class Pushed:
    def __init__(self, failing: list[str]) -> None:
        self.changes: list[Change] = []
        self._failing = failing

    async def __call__(self, changes: list[Change]) -> list[str]:
        self.changes.extend(changes)
        return self._failing


def notifying(stream_failures: Any, pushed: Any, clock: StandingClock | None = None) -> Engine:
    engine = engine_with(clock=clock, stream_failures=stream_failures)
    engine.push_events = pushed
    return engine


async def test_what_cannot_be_read_is_set_aside_whole_and_the_rest_is_pushed() -> None:
    kept, pushed = Kept(), Pushed(["3"])
    engine = notifying(kept, pushed)
    poisoned = record("2", PENDING)
    poisoned["dynamodb"]["NewImage"] = {"user_id": {"S": "user"}}
    records = [record("1", PENDING), poisoned, record("3", ROUTING, PENDING), record("4", None, PENDING)]
    answer = await handler.handle(engine, {"Records": records}, None)  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": [{"itemIdentifier": "3"}]}
    assert [change.record for change in pushed.changes] == ["1", "3"]
    ((body, reason),) = kept.letters
    assert json.loads(body) == poisoned
    assert reason.startswith("not an order")


async def test_a_record_of_a_newer_release_comes_again_until_it_is_set_aside_whole() -> None:
    """The others are pushed at once; the wait comes after them, and is longer than the record may be retried."""
    kept, pushed, clock = Kept(), Pushed([]), StandingClock(T0)
    engine = notifying(kept, pushed, clock)
    newer = record("2", PENDING)
    newer["dynamodb"]["NewImage"]["schema"] = {"N": str(forms.ORDER.reads + 1)}
    records = [record("1", PENDING), newer, record("3", ROUTING, PENDING)]
    for age_s in (0, 74):
        clock.now = T0
        newer["dynamodb"]["ApproximateCreationDateTime"] = T0 / 1000 - age_s
        answer = await handler.handle(engine, {"Records": records}, Context(remaining_ms=30_000))
        assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
        assert [change.record for change in pushed.changes] == ["1", "3"]
        pushed.changes.clear()
    assert kept.letters == []
    assert clock.slept == [15_000] * 2
    clock.now = T0
    newer["dynamodb"]["ApproximateCreationDateTime"] = T0 / 1000 - 75
    assert await handler.handle(engine, {"Records": records}, Context(remaining_ms=30_000)) == {"batchItemFailures": []}
    ((body, reason),) = kept.letters
    assert json.loads(body) == newer
    assert "newer release" in reason
    assert [change.record for change in pushed.changes] == ["1", "3"]


async def test_a_record_that_could_not_be_set_aside_fails_the_batch_so_that_it_comes_again() -> None:
    class Full:
        async def keep(self, body: str, reason: str) -> None:
            raise ConnectionError("no answer")

    pushed = Pushed([])
    engine = notifying(Full(), pushed)
    poisoned = record("1", PENDING)
    poisoned["dynamodb"]["NewImage"] = {}
    with pytest.raises(ConnectionError):
        await handler.handle(engine, {"Records": [poisoned]}, None)  # type: ignore[arg-type]
