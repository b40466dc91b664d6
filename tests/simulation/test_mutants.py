"""Every planted bug shows under the seed that is written beside it."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import simulate


def test_there_are_many_and_each_is_named_once() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant: Mutant) -> None:
    assert simulate(mutant.seed).violation is None, "The seed must be clean without the bug."
    with mutant.plant():
        violation = simulate(mutant.seed).violation
    assert violation is not None, f"{mutant.removes}: not noticed; look for a new seed with --mutants"
    assert simulate(mutant.seed).violation is None, "The bug must be gone again."
