"""The ledger held against the first promise, where it is broken and where it is kept."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import audited

# Planted bugs under which an order really is swapped twice, and a seed at which that happens.
TWICE = {
    "store-overwrites": 33,
    "broadcast-before-intent": 87,
    "broadcast-error-is-failure": 15,
    "silence-is-failure": 16,
    "no-height-check": 4,
    "signs-too-early": 7,
    "no-history-lookup": 38,
}
_NEAR_BY = 300


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
