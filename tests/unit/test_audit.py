"""What the audit asks the chain for, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from order_engine.engine.audit import Audit
from order_engine.engine.ports import Incomplete, Swapped
from tests.support.clock import StandingClock
from tests.support.orders import T0
from tests.support.recorder import Recorder


@dataclass
class Ledger:
    """A chain of which nobody wants more than its ledger."""

    held: list[Swapped]
    asked: list[int] = field(default_factory=list)

    async def swaps(self, *, since: int) -> list[Swapped]:
        self.asked.append(since)
        return self.held


async def audit(*held: Swapped) -> tuple[Recorder, Ledger, object]:
    recorder, ledger = Recorder(), Ledger(list(held))
    twice = await Audit(ledger, StandingClock(T0), recorder)()  # type: ignore[arg-type]
    return recorder, ledger, twice


async def test_every_order_with_more_than_one_swap_is_named_with_all_of_its_own() -> None:
    ledger = [("a", "s1"), ("b", "s2"), ("a", "s3"), ("c", "s4"), ("b", "s5"), ("b", "s6")]
    recorder, _, twice = await audit(*(Swapped(*swap) for swap in ledger))
    assert recorder.told == [("a", "swapped_twice", "s1, s3"), ("b", "swapped_twice", "s2, s5, s6")]
    assert twice == {"a": ["s1", "s3"], "b": ["s2", "s5", "s6"]}


async def test_what_is_certain_is_told_even_if_there_is_more() -> None:
    class Crowded(Ledger):
        async def swaps(self, *, since: int) -> list[Swapped]:
            raise Incomplete(await super().swaps(since=since))

    recorder = Recorder()
    ledger = Crowded([Swapped("a", "s1"), Swapped("a", "s2")])
    with pytest.raises(Incomplete):
        await Audit(ledger, StandingClock(T0), recorder)()  # type: ignore[arg-type]
    assert recorder.told == [("a", "swapped_twice", "s1, s2")]


async def test_the_ledger_of_the_last_hour_is_asked_for() -> None:
    _, ledger, _ = await audit()
    assert ledger.asked == [T0 - 3_600_000]


async def test_one_swap_that_a_ledger_tells_twice_is_one() -> None:
    recorder, _, twice = await audit(Swapped("a", "s1"), Swapped("b", "s2"), Swapped("a", "s1"))
    assert (recorder.told, twice) == ([], {})
    recorder, _, twice = await audit()
    assert (recorder.told, twice) == ([], {})
