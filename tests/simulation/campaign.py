"""Many seeds on several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tests.simulation.run import Result, simulate

_CHUNK = 50


@dataclass(slots=True)
class Report:
    """What many seeds came to. ``violations`` maps a seed to the promise that it broke."""

    seeds: int = 0
    seconds: float = 0.0
    calls: int = 0
    invocations: int = 0
    simulated_ms: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    violations: dict[int, str] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.calls += result.calls
        self.invocations += result.invocations
        self.simulated_ms += result.simulated_ms
        self.faults.update(result.faults)
        self.statuses.update(result.statuses)
        if result.violation is not None:
            self.violations[result.seed] = result.violation

    def merge(self, other: Report) -> None:
        self.seeds += other.seeds
        self.calls += other.calls
        self.invocations += other.invocations
        self.simulated_ms += other.simulated_ms
        self.faults.update(other.faults)
        self.statuses.update(other.statuses)
        self.violations.update(other.violations)

    def table(self) -> str:
        """The figures as text."""
        rate = self.seeds / self.seconds if self.seconds else 0.0
        lines = [
            f"{'seeds':<32}{self.seeds:>14,}",
            f"{'seeds per second':<32}{rate:>14,.1f}",
            f"{'simulated days':<32}{self.simulated_ms / 86_400_000:>14,.1f}",
            f"{'invocations':<32}{self.invocations:>14,}",
            f"{'calls':<32}{self.calls:>14,}",
            f"{'violations':<32}{len(self.violations):>14,}",
            "",
            "orders by their end",
            *(f"  {status:<30}{number:>14,}" for status, number in sorted(self.statuses.items())),
            "",
            f"{'injected faults':<32}{sum(self.faults.values()):>14,}",
            *(f"  {kind:<30}{number:>14,}" for kind, number in sorted(self.faults.items())),
        ]
        return "\n".join(lines)


def replay(seed: int) -> str:
    """The command that runs a seed again, with its trace."""
    return f".venv/bin/python -m tests.simulation --seed {seed} --trace"


def run_seeds(seeds: Iterable[int]) -> Report:
    """Run seeds one after the other in this process."""
    report, began = Report(), time.perf_counter()
    for seed in seeds:
        report.add(simulate(seed))
    report.seconds = time.perf_counter() - began
    return report


def _run_range(size: int, start: int) -> Report:
    return run_seeds(range(start, start + size))


def campaign(first: int, count: int, jobs: int) -> Iterator[Report]:
    """Run ``count`` seeds from ``first`` on; yields the running total after each chunk."""
    total, began = Report(), time.perf_counter()
    whole, rest = divmod(count, _CHUNK)
    starts = [first + n * _CHUNK for n in range(whole)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for report in pool.imap_unordered(partial(_run_range, _CHUNK), starts):
            total.merge(report)
            total.seconds = time.perf_counter() - began
            yield total
    if rest:
        total.merge(_run_range(rest, first + whole * _CHUNK))
        total.seconds = time.perf_counter() - began
    yield total
