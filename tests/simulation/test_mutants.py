"""Every planted bug is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, first_seed
from tests.simulation.run import simulate

SEARCH = 1500


def test_there_are_many_and_each_is_named_once() -> None:
    assert len(MUTANTS) >= 25
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_the_documentation_lists_each_with_its_seed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    _, _, rest = text.partition("| planted bug: what is no longer so | seed at which it falls |\n|---|---|\n")
    table = rest.partition("\n\n")[0].splitlines()
    assert table == [f"| {mutant.removes} (`{mutant.name}`) | {mutant.seed} |" for mutant in MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught(mutant: Mutant) -> None:
    """Under the seed that is written beside it; a change of the engine may move it to another one near by."""
    seed = mutant.seed
    violation = mutant.shows(seed)
    if violation is None:
        found = first_seed(mutant, SEARCH)
        assert found is not None, f"Nothing notices that this is no longer so: {mutant.removes}."
        seed, violation = found
    clean = simulate(seed, climate=mutant.climate).violation
    assert clean is None, f"Not the planted bug shows under seed {seed}, but another one: {clean}"
