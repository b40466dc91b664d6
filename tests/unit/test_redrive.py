"""Messages that were set aside go back to the order queue; what nobody can read stays, and nothing is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from order_engine.aws.redrive import Redriven, redrive
from order_engine.domain.order import OrderRef
from order_engine.wire import messages

ORDERS, ASIDE = "https://queue/orders", "https://queue/aside"


@dataclass
class Queues:
    """Two queues of a service that hands out ten at a time. ``refused`` bodies are not taken."""

    aside: list[str]
    refused: set[str] = field(default_factory=set)
    orders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def receive_message(self, **call: Any) -> dict[str, Any]:
        assert call["QueueUrl"] == ASIDE
        self.asked.append(call)
        number = call["MaxNumberOfMessages"]
        assert 1 <= number <= 10
        taken, self.aside = self.aside[:number], self.aside[number:]
        self.hidden += taken
        found = [{"Body": body, "ReceiptHandle": f"receipt of {body}", "MessageId": "m"} for body in taken]
        return {"Messages": found} if found else {}

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        assert call["QueueUrl"] == ORDERS
        assert call["Entries"]
        assert len({entry["Id"] for entry in call["Entries"]}) == len(call["Entries"])
        taken = [entry for entry in call["Entries"] if entry["MessageBody"] not in self.refused]
        self.orders += [entry["MessageBody"] for entry in taken]
        answer: dict[str, Any] = {"Successful": [{"Id": entry["Id"]} for entry in taken]}
        return answer if taken else {"Failed": [{"Id": entry["Id"]} for entry in call["Entries"]]}

    def delete_message_batch(self, **call: Any) -> dict[str, Any]:
        assert call["QueueUrl"] == ASIDE
        assert call["Entries"]
        for entry in call["Entries"]:
            self.hidden.remove(entry["ReceiptHandle"].removeprefix("receipt of "))
        return {}


def letters(number: int) -> list[str]:
    return [messages.encode(OrderRef("user", f"order{n}")) for n in range(number)]


async def run(queues: Queues, limit: int = 1_000) -> tuple[Redriven, list[Redriven]]:
    told: list[Redriven] = []
    client: Any = queues
    return await redrive(client, ASIDE, ORDERS, limit=limit, progress=told.append), told


@pytest.mark.parametrize("number", [0, 1, 10, 23])
async def test_everything_readable_goes_back_as_it_was_until_the_queue_is_empty(number: int) -> None:
    queues = Queues(letters(number))
    done, told = await run(queues)
    assert done == Redriven(moved=number)
    assert queues.orders == letters(number)
    assert (queues.aside, queues.hidden) == ([], [])
    assert [step.moved for step in told] == [min(number, seen) for seen in range(10, number + 10, 10)]


async def test_what_cannot_be_read_stays_and_is_counted() -> None:
    unreadable = ["not json", json.dumps({"userId": "user"})]
    queues = Queues([*letters(3), *unreadable])
    done, _ = await run(queues)
    assert done == Redriven(moved=3, unreadable=2)
    assert queues.hidden == unreadable
    assert queues.orders == letters(3)


async def test_a_batch_of_nothing_readable_sends_nothing_and_goes_on() -> None:
    queues = Queues(["not json"] * 10 + letters(1))
    done, _ = await run(queues)
    assert done == Redriven(moved=1, unreadable=10)


@pytest.mark.parametrize("limit", [1, 9, 10, 11])
async def test_no_more_than_the_limit_is_looked_at(limit: int) -> None:
    queues = Queues(letters(30))
    done, _ = await run(queues, limit)
    assert done == Redriven(moved=limit)
    assert len(queues.aside) == 30 - limit


async def test_what_the_order_queue_does_not_take_is_kept_and_ends_the_run() -> None:
    queues = Queues(letters(25), refused={letters(25)[4]})
    done, _ = await run(queues)
    assert done == Redriven(moved=9)
    assert queues.hidden == [letters(25)[4]]
    assert len(queues.aside) == 15


async def test_a_queue_that_takes_nothing_ends_the_run_with_nothing_deleted() -> None:
    queues = Queues(letters(25), refused=set(letters(25)))
    done, _ = await run(queues)
    assert done == Redriven()
    assert queues.hidden == letters(10)


async def test_what_is_looked_at_is_hidden_long_enough_and_an_empty_answer_means_an_empty_queue() -> None:
    """A short poll asks some of the service's servers only; what is left is seen again a minute later."""
    queues = Queues(letters(1))
    await run(queues)
    assert {call["VisibilityTimeout"] for call in queues.asked} == {60}
    assert all(call["WaitTimeSeconds"] > 0 for call in queues.asked)
