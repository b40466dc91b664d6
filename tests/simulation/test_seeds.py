"""Some hundred seeds of the simulation; ``make simulate`` runs as many as one likes."""

from __future__ import annotations

import hashlib

import pytest

from tests.simulation.campaign import replay, run_seeds
from tests.simulation.run import simulate

CHUNK = 250


@pytest.mark.parametrize("chunk", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 3))])
def test_all_promises_hold_under_random_faults(chunk: int) -> None:
    report = run_seeds(range(chunk * CHUNK, (chunk + 1) * CHUNK))
    broken = [f"seed {seed}: {what}\n  {replay(seed)}" for seed, what in report.violations.items()]
    assert not broken, "\n".join(broken)
    assert report.seeds == CHUNK
    # A world without faults would prove nothing.
    assert min(report.faults[kind] for kind in ("killed", "unanswered", "lost", "late", "doubled", "throttled")) > 10


def test_the_same_seed_is_the_same_run_to_the_last_bit() -> None:
    def digest(seed: int) -> str:
        return hashlib.sha256(repr(simulate(seed, tracing=True).trace).encode()).hexdigest()

    assert [digest(seed) for seed in (3, 1089)] == [digest(seed) for seed in (3, 1089)]
    assert digest(3) != digest(4)
