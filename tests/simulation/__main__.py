"""``python -m tests.simulation``: run seeds, replay one, or look for planted bugs and crash points."""

from __future__ import annotations

import argparse
import os
import sys

from tests.simulation.campaign import Report, campaign, replay
from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    options = parser.parse_args()
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
    for report in campaign(first, seeds, jobs):
        _progress(f"{report.seeds:,} of {seeds:,} seeds, {len(report.violations)} violations")
    _progress("")
    print(report.table())
    for seed, violation in sorted(report.violations.items())[:20]:
        print(f"\nseed {seed}: {violation}\n  replay with: {replay(seed)}")
    return 1 if report.violations else 0


def _progress(text: str) -> None:
    """One line that is written over and over; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
