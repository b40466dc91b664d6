"""``python -m tests.simulation``: what it prints, and how it exits."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import main
from tests.simulation.campaign import Report, replay
from tests.simulation.mutants import MUTANTS
from tests.simulation.run import simulate


def test_a_seed_is_replayed_with_everything_that_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    out = capsys.readouterr().out
    assert "seed 3: all promises held" in out
    for what in ("orders.create", "stored", "chain.broadcast", "calms down"):
        assert what in out


def test_a_broken_promise_is_named_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "broadcast-before-intent")
    with mutant.plant():
        assert main(["--seed", "0"]) == 1
    assert "was broadcast before it was stored" in capsys.readouterr().out


def test_many_seeds_end_with_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "7", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "seeds per second" in out
    assert "injected faults" in out


def test_a_violation_comes_with_the_command_that_replays_it() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "broadcast-before-intent")
    report = Report()
    with mutant.plant():
        report.add(simulate(0))
    assert set(report.violations) == {0}
    assert replay(0) == ".venv/bin/python -m tests.simulation --seed 0 --trace"
