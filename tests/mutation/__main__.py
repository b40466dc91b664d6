"""``make mutants``: plant every slip, run the tests that reach it, and say which slips nobody noticed.

What was tried stays tried, in ``build/mutants``, until its function changes; ``--again`` tries the survivors once more,
after a test was written. ``--report`` only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant, read_all
from tests.mutation.stage import PLANTED, STAGE, prepare, pytest_arguments, state

EQUIVALENT = Path(__file__).with_name("equivalent.toml")

_QUICK_S, _EVER_S = 0.25, 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="for example order_engine/domain or process/batch.py")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="try the survivors again")
    parser.add_argument("--quick", action="store_true", help="only with tests of at most a quarter of a second")
    parser.add_argument("--report", action="store_true", help="only print what is known")
    parser.add_argument("--limit", type=int, default=0, help="try at most so many, for a run in parts")
    given = parser.parse_args(arguments)
    if not given.report:
        prepare()
        _call(["-m", "tests.mutation.plant"], STAGE, aloud=False)
        wanted = [
            mutant
            for mutant in _of(given.modules)
            if mutant.outcome is None or (given.again and mutant.outcome != "killed")
        ]
        wanted = wanted[: given.limit or None]
        print(f"{len(wanted)} to try", flush=True)
        if wanted:
            _try(wanted, given.jobs, _QUICK_S if given.quick else _EVER_S)
    return report(_of(given.modules))


def _of(modules: Sequence[str]) -> list[Mutant]:
    """The mutants that count, in the order of the modules given."""
    return [mutant for mutant in read_all(modules or [""]) if not mutant.wording]


def _try(mutants: Sequence[Mutant], jobs: int, slowest: float) -> None:
    work = {
        "metas": {mutant.name: str(PLANTED / f"{mutant.module}.meta") for mutant in mutants},
        "jobs": jobs,
        "slowest": slowest,
        "state": state(),
        "reach": str(STAGE / "reach.json"),
        "killers": str(STAGE / "killers.json"),
    }
    path = STAGE / "work.json"
    path.write_text(json.dumps(work))
    _call(["-m", "pytest", "-p", "tests.mutation.trial", *pytest_arguments()], PLANTED, MUTATION_WORK=str(path))


def _call(arguments: Sequence[str], where: Path, *, aloud: bool = True, **environment: str) -> None:
    with (STAGE / "log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=where,
            env={**os.environ, **environment},
            stdout=None if aloud else log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:2])} failed: see {STAGE / 'log'}")


def judged() -> dict[tuple[str, str, str], str]:
    """Survivors that change nothing that anybody can see, with the reason: by module, function and change."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {(entry["module"], entry["function"], entry["change"].strip()): entry["reason"] for entry in entries}


def report(mutants: Sequence[Mutant]) -> int:
    """Print the survivors and a table by module. Returns how many nobody has judged."""
    equivalent = judged()
    rows: dict[str, Counter[str]] = {}
    left = 0
    for mutant in mutants:
        row = rows.setdefault(mutant.module, Counter())
        row["all"] += 1
        if mutant.outcome in ("killed", "timeout"):
            row["killed"] += 1
        elif mutant.outcome is None:
            row["not tried"] += 1
        elif (mutant.module, mutant.function, mutant.change) in equivalent:
            row["equivalent"] += 1
        else:
            row["survived"] += 1
            left += 1
            print(f"{mutant.name}: {mutant.outcome}\n  {mutant.module} {mutant.function}")
            print("\n".join(f"    {line}" for line in mutant.change.splitlines()))
    columns = ("all", "not tried", "killed", "equivalent", "survived")
    total = sum(rows.values(), Counter[str]())
    print(f"\n| module | {' | '.join(columns)} | score |\n|{'---|' * (len(columns) + 2)}")
    for module, row in [*rows.items(), ("together", total)]:
        tried = row["all"] - row["not tried"] - row["equivalent"]
        score = f"{100 * row['killed'] / tried:.1f} %" if tried else "-"
        print(f"| {module} | {' | '.join(str(row[column]) for column in columns)} | {score} |")
    return min(left, 1)


if __name__ == "__main__":
    sys.exit(main())
