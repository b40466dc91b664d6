"""``python -m tests.simulation``: run seeds, replay one, or look for planted bugs and crash points."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time

from tests.simulation.campaign import Report, campaign, replay
from tests.simulation.run import simulate

_PAUSE_S = 15
_told = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    parser.add_argument("--mutants", action="store_true", help="search the first seed that shows each planted bug")
    parser.add_argument("--crashes", action="store_true", help="die at every call of every scenario, once and twice")
    options = parser.parse_args(arguments)
    if options.mutants:
        return _mutants(options.seeds)
    if options.crashes:
        return _crashes(options.jobs)
    if options.seed is not None:
        return _one(options.seed, trace=options.trace)
    return _many(options.first, options.seeds, options.jobs)


def _one(seed: int, *, trace: bool) -> int:
    result = simulate(seed, tracing=trace)
    for line in result.trace:
        print(f"{line.at_ms / 1000:>10.3f}  {line.who:<14}  {line.what}")
    print(f"seed {seed}: {result.violation or 'all promises held'}")
    print(f"orders: {result.statuses}, faults: {result.faults}")
    return 1 if result.violation else 0


def _many(first: int, seeds: int, jobs: int) -> int:
    report = Report()
    # Whoever stops it is told what was run until then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        for report in campaign(first, seeds, jobs):
            _progress(f"{report.seeds:,} of {seeds:,} seeds, {len(report.violations)} violations")
    _progress("")
    print(report.table())
    for seed, violation in sorted(report.violations.items())[:20]:
        print(f"\nseed {seed}: {violation}\n  replay with: {replay(seed)}")
    return 1 if report.violations else 0


def _mutants(limit: int) -> int:
    from tests.simulation.mutants import MUTANTS, first_seed

    missed = 0
    print("| planted bug: what is no longer so | seed at which it falls |\n|---|---|")
    for mutant in MUTANTS:
        found = first_seed(mutant, limit)
        missed += found is None
        print(f"| {mutant.removes} (`{mutant.name}`) | {'not found' if found is None else found[0]} |", flush=True)
    print(f"\n{len(MUTANTS) - missed} of {len(MUTANTS)} caught within {limit:,} seeds")
    return 1 if missed else 0


def _crashes(jobs: int) -> int:
    from tests.simulation.crashes import SCENARIOS, Sweep, points, singles, sweep_all

    for scenario in SCENARIOS:
        print(f"{scenario}: {len(points(scenario))} calls, {len(singles(scenario))} single deaths")
    done = Sweep()
    for done in sweep_all(jobs):
        _progress(f"{done.cases:,} cases, {len(done.violations)} violations")
    _progress("")
    print(f"{done.cases:,} cases, {len(done.violations)} violations, longest wait {done.longest_wait_ms} ms")
    for case, violation in list(done.violations.items())[:20]:
        print(f"{case}: {violation}")
    return 1 if done.violations else 0


def _progress(text: str) -> None:
    """One line that is written over and over on a terminal; elsewhere a line now and then."""
    global _told
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text and time.monotonic() > _told + _PAUSE_S:
        _told = time.monotonic()
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
