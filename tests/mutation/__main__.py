"""``make mutants``: plant every slip, run the tests that reach it, and say which slips nobody noticed.

What was tried stays tried, in ``build/mutants``, until its function changes; ``--again`` tries the survivors once more,
after a test was written. ``--report`` only prints.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant, read_all
from tests.mutation.stage import STAGE, prepare

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
# Any module: planting begins with all of them, and a run of nothing else shows that the tests pass as they are.
_SMALLEST = "order_engine.domain.errors.*"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="for example order_engine/domain or process/batch.py")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="try the survivors again")
    parser.add_argument("--report", action="store_true", help="only print what is known")
    parser.add_argument("--limit", type=int, default=0, help="try at most so many, for a run in parts")
    given = parser.parse_args(arguments)
    if not given.report:
        prepare()
        if not (STAGE / "mutants" / "mutmut-stats.json").exists():
            _mutmut(given.jobs, [_SMALLEST])
        else:
            _mutmut(given.jobs, [_SMALLEST], quiet=True)
        wanted = [
            mutant.name
            for mutant in _of(given.modules)
            if mutant.outcome is None or (given.again and mutant.outcome != "killed")
        ]
        wanted = wanted[: given.limit or None]
        print(f"{len(wanted)} to try", flush=True)
        if wanted:
            _mutmut(given.jobs, wanted)
    return report(_of(given.modules))


def _of(modules: Sequence[str]) -> list[Mutant]:
    """The mutants that count."""
    chosen = [mutant for mutant in read_all() if not modules or mutant.module.startswith(tuple(modules))]
    return [mutant for mutant in chosen if not mutant.wording]


def _mutmut(jobs: int, names: Sequence[str], *, quiet: bool = False) -> None:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    with (STAGE / "mutmut.log").open("ab") as log:
        done = subprocess.run(command, cwd=STAGE, env=os.environ, stdout=log, stderr=log, check=False)
    if done.returncode and not quiet:
        sys.exit(f"mutmut failed: see {STAGE / 'mutmut.log'}")


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
