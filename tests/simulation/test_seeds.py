"""A thousand seeds of the simulation, and the seeds that once found something."""

from __future__ import annotations

import hashlib

import pytest

from tests.simulation.campaign import replay, run_seeds
from tests.simulation.run import simulate

CHUNK = 250

# Seeds under which the engine broke a promise once, and what was wrong.
REGRESSIONS = {
    5: "frames were pushed by a handler that had already returned",
    134: "a limit order whose worker was lost was started again after its time limit",
    228: "a limit order whose worker was lost was started again after its time limit",
    453: "one unreadable item kept the sweeper from sending all other orders",
    1216: "two bodies with the same key within one millisecond were both accepted",
}


@pytest.mark.parametrize("chunk", range(4))
def test_all_promises_hold_under_random_faults(chunk: int) -> None:
    report = run_seeds(range(chunk * CHUNK, (chunk + 1) * CHUNK))
    broken = [f"seed {seed}: {what}\n  {replay(seed)}" for seed, what in report.violations.items()]
    assert not broken, "\n".join(broken)
    assert report.seeds == CHUNK
    # A world without faults would prove nothing.
    assert min(report.faults[kind] for kind in ("killed", "unanswered", "lost", "late", "doubled", "throttled")) > 10


@pytest.mark.parametrize("seed", REGRESSIONS, ids=lambda seed: f"seed {seed}")
def test_a_defect_that_was_found_stays_fixed(seed: int) -> None:
    result = simulate(seed)
    assert result.violation is None, f"{REGRESSIONS[seed]}: {result.violation}\n  {replay(seed)}"


def test_the_same_seed_is_the_same_run_to_the_last_bit() -> None:
    def digest(seed: int) -> str:
        return hashlib.sha256(repr(simulate(seed, tracing=True).trace).encode()).hexdigest()

    assert [digest(seed) for seed in (3, 1089)] == [digest(seed) for seed in (3, 1089)]
    assert digest(3) != digest(4)
