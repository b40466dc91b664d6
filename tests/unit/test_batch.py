"""One SQS batch: which messages are spent, which come again, and which are kept for a person."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable

import pytest

from local.cloud import events
from order_engine.domain.errors import OrderNotFound, TooNew
from order_engine.domain.order import OrderRef
from order_engine.engine.execute import Done, Later, Verdict
from order_engine.wire import messages
from process import batch
from process.batch import SqsEvent, process_batch
from tests.support.events import Context

NOW = 1_790_000_000_000
LEFT_MS = 15_000


class Run:
    """One batch, with a use case that does for each order what ``acts`` says, and everything that came of it."""

    def __init__(self, acts: dict[str, Callable[[], Verdict]]) -> None:
        self._acts = acts
        self.calls: list[tuple[OrderRef, str, int]] = []
        self.hidden: list[tuple[str, int]] = []
        self.kept: list[tuple[str, str]] = []
        self.keeping_fails = False

    async def use_case(self, ref: OrderRef, *, worker: str, deadline: int) -> Verdict:
        self.calls.append((ref, worker, deadline))
        await asyncio.sleep(0)
        return self._acts[ref.order_id]()

    async def hide(self, receipt_handle: str, delay_ms: int) -> None:
        self.hidden.append((receipt_handle, delay_ms))

    async def keep(self, body: str, reason: str) -> None:
        if self.keeping_fails:
            raise ConnectionError("no answer")
        self.kept.append((body, reason))

    async def __call__(self, *bodies: str) -> list[str]:
        event: SqsEvent = events.messages(*bodies)
        answer = await process_batch(
            event, Context(remaining_ms=LEFT_MS), NOW, self.use_case, name=_NAMES, hide=self.hide, keep=self.keep
        )
        return [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]


_NAMES = iter(map(str, itertools.count())).__next__


def letter(order_id: str) -> str:
    return messages.encode(OrderRef("user", order_id))


def done() -> Verdict:
    return Done("confirmed")


def fails(error: Exception) -> Callable[[], Verdict]:
    def act() -> Verdict:
        raise error

    return act


async def test_what_is_done_is_spent_and_what_waits_comes_again_after_its_wait() -> None:
    run = Run({"one": done, "two": lambda: Later(4_321, "held"), "three": done})
    assert await run(letter("one"), letter("two"), letter("three")) == ["m1"]
    assert run.hidden == [("r1", 4_321)]
    assert run.kept == []


async def test_a_worker_is_told_when_to_stop_a_second_before_it_would_be_stopped() -> None:
    run = Run({"one": done})
    await run(letter("one"))
    ((ref, _, deadline),) = run.calls
    assert ref == OrderRef("user", "one")
    assert deadline == NOW + LEFT_MS - 1_000


async def test_two_letters_of_one_order_in_one_batch_are_two_workers() -> None:
    run = Run({"one": done})
    await run(letter("one"), letter("one"))
    assert len({worker for _, worker, _ in run.calls}) == 2


@pytest.mark.parametrize("body", ["not json", "[]", '"text"', "{}", '{"userId":"user"}', '{"userId":"","orderId":"x"}'])
async def test_what_cannot_be_read_is_kept_as_it_came_counted_and_spent(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(batch, "count", counted.append)
    run = Run({"one": done})
    assert await run(body, letter("one")) == []
    # The metric by the name that it is documented under.
    assert counted == ["Quarantined"]
    ((kept, reason),) = run.kept
    assert kept == body
    assert reason


async def test_a_letter_of_no_order_is_kept_and_spent() -> None:
    run = Run({"gone": fails(OrderNotFound("There is no such order."))})
    assert await run(letter("gone")) == []
    assert run.kept == [(letter("gone"), "There is no such order.")]


@pytest.mark.parametrize(
    "error",
    [KeyError("Item"), ValueError("not an order"), LookupError("?"), TypeError("?"), ConnectionError("?")],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_the_programs_own_spends_no_letter_and_quarantines_none(error: Exception) -> None:
    """A good order's letter in the quarantine is an order that nobody executes."""
    run = Run({"ill": fails(error), "well": done})
    assert await run(letter("ill"), letter("well")) == ["m0"]
    assert run.kept == []


async def test_a_letter_that_could_not_be_kept_comes_again() -> None:
    run = Run({})
    run.keeping_fails = True
    assert await run("not json") == ["m0"]


async def test_a_letter_that_comes_again_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(batch, "count", counted.append)
    run = Run({"one": done})
    for receives in (1, 2, 7):
        event: SqsEvent = events.messages(letter("one"), receives=receives)
        await process_batch(
            event, Context(remaining_ms=LEFT_MS), NOW, run.use_case, name=_NAMES, hide=run.hide, keep=run.keep
        )
    assert counted == ["DuplicateDeliveries"] * 2


async def test_the_orders_of_a_batch_are_worked_on_side_by_side() -> None:
    waiting = 0
    most = 0
    everybody = asyncio.Event()

    async def meet(ref: OrderRef, *, worker: str, deadline: int) -> Verdict:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        if waiting == 3:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 30)
        return Done("met")

    run = Run({})
    event: SqsEvent = events.messages(*(letter(str(n)) for n in range(3)))
    answer = await process_batch(
        event, Context(remaining_ms=LEFT_MS), NOW, meet, name=_NAMES, hide=run.hide, keep=run.keep
    )
    assert answer == {"batchItemFailures": []}
    assert most == 3


def test_a_letter_names_its_order_and_its_form_and_nothing_else() -> None:
    assert json.loads(letter("one")) == {"userId": "user", "orderId": "one", "schema": 1}


async def test_what_a_newer_release_has_written_is_left_to_its_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that is too new, and the letter of an order that is: hidden for a minute, not spent, not quarantined."""
    counted: list[str] = []
    monkeypatch.setattr(batch, "count", counted.append)
    run = Run({"new": fails(TooNew("order", 2, 1)), "well": done})
    newer = json.dumps({"orders": ["another form"], "schema": 2})
    assert await run(newer, letter("new"), letter("well")) == ["m0", "m1"]
    assert sorted(run.hidden) == [("r0", 60_000), ("r1", 60_000)]
    assert run.kept == []
    assert counted == ["TooNew"] * 2
