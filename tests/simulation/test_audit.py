"""The ledger held against the first promise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from order_engine.engine.audit import WINDOW_MS, Audit
from order_engine.engine.ports import Swapped
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import audited
from tests.unit.test_lifecycle import T0

# Planted bugs under which an order really is swapped twice, and a seed at which that happens.
TWICE = {
    "store-overwrites": 32,
    "broadcast-before-intent": 89,
    "broadcast-error-is-failure": 1,
    "silence-is-failure": 0,
    "no-height-check": 1,
    "history-before-height": 31,
    "expiry-from-behind": 4,
}
_NEAR_BY = 300


@dataclass
class Ledger:
    """A chain of which nobody wants more than its ledger."""

    held: list[Swapped]
    asked: list[int] = field(default_factory=list)

    async def swaps(self, *, since: int) -> list[Swapped]:
        self.asked.append(since)
        return self.held


@dataclass
class Told:
    """The time, and what an observer is told."""

    noted_: list[tuple[str, str, str]] = field(default_factory=list)

    def now_ms(self) -> int:
        return T0

    def noted(self, order_id: str, what: str, reason: str) -> None:
        self.noted_.append((order_id, what, reason))


def audit(*held: Swapped) -> tuple[Told, Ledger]:
    told, ledger = Told(), Ledger(list(held))
    asyncio.run(Audit(ledger, told, told)())  # type: ignore[arg-type]
    return told, ledger


def test_an_order_with_two_swaps_is_named_with_both() -> None:
    told, ledger = audit(Swapped("a", "s1"), Swapped("b", "s2"), Swapped("a", "s3"))
    assert told.noted_ == [("a", "swapped_twice", "s1, s3")]
    assert ledger.asked == [T0 - WINDOW_MS]


def test_one_swap_that_a_ledger_tells_twice_is_one() -> None:
    assert audit(Swapped("a", "s1"), Swapped("a", "s1"), Swapped("b", "s2"))[0].noted_ == []
    assert audit()[0].noted_ == []


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.name in TWICE], ids=lambda each: each.name)
def test_what_is_really_swapped_twice_raises_the_alarm(mutant: Mutant) -> None:
    """The orders' own history says nothing of it: the bug is in how that is written."""
    for seed in (TWICE[mutant.name], *range(_NEAR_BY)):
        with mutant.plant():
            twice, said = audited(seed, mutant.climate)
        assert said == twice, f"seed {seed}"
        if twice:
            return
    raise AssertionError("Under no seed is an order swapped twice.")


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_without_a_bug_there_is_no_alarm(seed: int) -> None:
    assert audited(seed) == (set(), set())
