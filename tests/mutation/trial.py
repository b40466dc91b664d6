"""Try mutants quickly: a pytest plugin that collects the tests once, and then forks for every mutant.

Starting and collecting takes seconds, and most mutants fall to the first test that reaches them, in milliseconds. Each
fork has one mutant and runs the tests that reach its function, those first that noticed something in it before, then
the quick ones, until one fails. Which tests reach a function is found in a run without a mutant; another runs the quick
ones first, as the mutants do. A test that fails in either is left out, and named.

It runs in the copy, with the work in the file that ``MUTATION_WORK`` names.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# What mutmut writes for a mutant that the tests noticed, that they did not, that they never reach, that hangs.
_KILLED, _SURVIVED, _UNTESTED, _TIMED_OUT = 1, 0, 33, 36
_SAVE_S = 10
_MEMORY = 8 << 30
# Slow to import, and only once a test needs it: each fork would do it again.
_WARM = ("moto.", "boto", "s3transfer", "aiohttp.", "cryptography.", "hypothesis.")


@dataclass(frozen=True, slots=True)
class Reach:
    """What each test reaches, and how long it takes in seconds."""

    tests: dict[str, list[str]]
    seconds: dict[str, float]
    failing: frozenset[str]


@dataclass(slots=True, eq=False)
class Watch:
    """The first failure of a run."""

    failure: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failure is None:
            what = str(report.longrepr).strip().splitlines()
            self.failure = f"{report.nodeid}\n{what[-1] if what else ''}"


@dataclass(slots=True)
class Running:
    name: str
    scratch: str
    said: int


@dataclass(slots=True)
class Results:
    """What became of the mutants, kept where mutmut keeps it, and what noticed each."""

    metas: dict[str, str]
    killers: Path
    changed: dict[str, int] = field(default_factory=dict)
    by: dict[str, list[str]] = field(default_factory=dict)
    saved_at: float = 0.0

    def note(self, name: str, code: int, killer: Sequence[str]) -> None:
        self.changed[name] = code
        self.by[name] = list(killer)
        if time.monotonic() > self.saved_at + _SAVE_S:
            self.save()

    def save(self) -> None:
        by_meta: dict[str, dict[str, int]] = defaultdict(dict)
        for name, code in self.changed.items():
            by_meta[self.metas[name]][name] = code
        for path, codes in by_meta.items():
            content = json.loads(Path(path).read_text())
            content["exit_code_by_key"].update(codes)
            _write(Path(path), content)
        known = json.loads(self.killers.read_text()) if self.killers.exists() else {}
        _write(self.killers, known | self.by)
        self.changed.clear()
        self.by.clear()
        self.saved_at = time.monotonic()


def _write(path: Path, content: object) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(json.dumps(content, indent=1))
    fresh.replace(path)


def pytest_runtestloop(session: pytest.Session) -> bool:
    import order_engine

    assert str(order_engine.__file__).startswith(str(Path.cwd())), "not the mutated engine"
    work = json.loads(Path(os.environ["MUTATION_WORK"]).read_text())
    reach = _reach(session.items, work)
    quick = [
        item
        for item in session.items
        if item.nodeid not in reach.failing and reach.seconds[item.nodeid] <= work["slowest"]
    ]
    # The forks share what they do not change; a collector that looks at everything changes everything.
    gc.collect()
    gc.freeze()
    _try_all(quick, reach, Results(work["metas"], Path(work["killers"])), work["jobs"])
    return True


def _run(
    items: Sequence[pytest.Item],
    each: Callable[[pytest.Item, float], None] | None = None,
    failing: dict[str, str] | None = None,
) -> str | None:
    """Run tests one after the other until one fails. Returns which, and how.

    Args:
        failing: those that fail are put there instead, and the others are run.
    """
    watch = Watch()
    items[0].config.pluginmanager.register(watch)
    for item, following in zip(items, [*items[1:], None], strict=True):
        began = time.monotonic()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if watch.failure is not None:
            if failing is None:
                break
            failing[item.nodeid], watch.failure = watch.failure, None
            continue
        if each is not None:
            each(item, time.monotonic() - began)
    return watch.failure


# --- what reaches what ---------------------------------------------------------------------------------------------


def _reach(items: Sequence[pytest.Item], work: Any) -> Reach:
    """As it was found the last time, except for what has changed since: some tests, or what they rest on."""
    kept, slowest = Path(work["reach"]), work["slowest"]
    known = (
        json.loads(kept.read_text())
        if kept.exists()
        else {"state": {}, "tests": {}, "seconds": {}, "modules": [], "failing": {}}
    )
    state = {item.nodeid: work["state"][""] + work["state"][item.nodeid.partition("::")[0]] for item in items}
    changed = [
        item
        for item in items
        if known["state"].get(item.nodeid) != state[item.nodeid] and known["seconds"].get(item.nodeid, 0) <= slowest
    ]
    if changed:
        print(f"{len(changed)} of {len(items)} tests, without a mutant", flush=True)
        fresh = kept.with_suffix(".fresh")
        _in_fork(lambda: _measure(changed, fresh))
        found = json.loads(fresh.read_text())
        names = {item.nodeid for item in changed}
        known = _merged(known, found, set(state), names) | {
            "state": known["state"] | {name: state[name] for name in names}
        }
        seconds = known["seconds"]
        passing = [item for item in changed if item.nodeid not in found["failing"]]
        passing.sort(key=lambda item: seconds[item.nodeid])
        _in_fork(lambda: _control(passing, fresh))
        known["failing"] = {
            name: how for name, how in known.get("failing", {}).items() if name not in names and name in state
        }
        known["failing"] |= found["failing"] | json.loads(fresh.read_text())
        _write(kept, known)
    for name, how in known["failing"].items():
        print(f"left out, since it fails without a mutant: {name}: {how.splitlines()[-1]}", flush=True)
    for name in known["modules"]:
        if name.startswith(_WARM) and name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return Reach(known["tests"], known["seconds"], frozenset(known["failing"]))


def _merged(known: Any, found: Any, present: set[str], changed: set[str]) -> dict[str, Any]:
    kept = present - changed
    functions = {*known["tests"], *found["tests"]}
    return {
        "tests": {
            function: [test for test in known["tests"].get(function, []) if test in kept]
            + found["tests"].get(function, [])
            for function in functions
        },
        "seconds": known["seconds"] | found["seconds"],
        "modules": sorted({*known["modules"], *found["modules"]}),
    }


def _measure(items: Sequence[pytest.Item], into: Path) -> None:
    trampoline: Any = importlib.import_module("mutmut.mutation.trampoline")
    hits: set[str] = set()
    tests: dict[str, list[str]] = defaultdict(list)
    seconds: dict[str, float] = {}

    def note(item: pytest.Item, took: float) -> None:
        seconds[item.nodeid] = took
        for function in hits:
            tests[function].append(item.nodeid)
        hits.clear()

    trampoline.record_trampoline_hit = lambda name, caller=None: hits.add(name)
    os.environ["MUTMUT_DEPENDENCY_DEPTH"] = "-1"
    trampoline.set_mutant_under_test("stats")
    failing: dict[str, str] = {}
    _run(items, note, failing)
    _write(into, {"tests": tests, "seconds": seconds, "modules": sorted(sys.modules), "failing": failing})


def _control(items: Sequence[pytest.Item], into: Path) -> None:
    """Once more, the quick ones first, as they are run on a mutant."""
    failing: dict[str, str] = {}
    if items:
        _run(items, None, failing)
    _write(into, failing)


def _in_fork(work: Callable[[], None]) -> None:
    """Raises pytest.exit's exception if the work does not come to its end."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        heard, code = os.dup(2), 1
        _be_silent()
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
            os.write(heard, traceback.format_exc().encode())
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        pytest.exit("the tests could not be run without a mutant", returncode=1)


# --- mutants -------------------------------------------------------------------------------------------------------


def _try_all(items: Sequence[pytest.Item], reach: Reach, results: Results, jobs: int) -> None:
    by_id = {item.nodeid: item for item in items}
    noticed: dict[str, Counter[str]] = defaultdict(Counter)
    running: dict[int, Running] = {}
    began, tried, wanted = time.monotonic(), 0, list(results.metas)
    told = began
    # Whoever stops this keeps what was tried.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while wanted or running:
            while wanted and len(running) < jobs:
                name = wanted.pop(0)
                function = name.partition("__mutmut_")[0]
                known = noticed[function]
                reaching = [test for test in reach.tests.get(function, []) if test in by_id]
                reaching.sort(key=lambda test: (-known[test], reach.seconds[test]))
                if not reaching:
                    # A slow test may reach it.
                    if not any(test not in reach.failing for test in reach.tests.get(function, [])):
                        results.note(name, _UNTESTED, [])
                    continue
                child, one = _fork(name, [by_id[test] for test in reaching], reach.seconds)
                running[child] = one
            if not running:
                continue
            child, status = os.waitpid(-1, 0)
            if child not in running:
                continue
            one = running.pop(child)
            code, killer = _outcome(status, one)
            results.note(one.name, code, killer)
            if killer:
                noticed[one.name.partition("__mutmut_")[0]][killer[0]] += 1
            tried += 1
            if time.monotonic() > told + 60:
                told = time.monotonic()
                rate = tried / (told - began)
                print(f"{tried} tried, {len(wanted)} left, {rate:.2f} a second", flush=True)
    finally:
        for child in running:
            os.kill(child, signal.SIGKILL)
        results.save()


def _be_silent() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _outcome(status: int, one: Running) -> tuple[int, list[str]]:
    with os.fdopen(one.said, "r") as pipe:
        killer = pipe.read().splitlines()
    shutil.rmtree(one.scratch, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    if code == _SURVIVED:
        return _SURVIVED, []
    if code in (-signal.SIGALRM, -signal.SIGPROF):
        return _TIMED_OUT, killer
    return _KILLED, killer or [f"ended with {code}"]


def _fork(name: str, items: Sequence[pytest.Item], seconds: dict[str, float]) -> tuple[int, Running]:
    reading, writing = os.pipe()
    scratch = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if child:
        os.close(writing)
        return child, Running(name, scratch, reading)
    code = _KILLED
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(reading)
        _be_silent()
        os.environ["PYTEST_DEBUG_TEMPROOT"] = scratch
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        importlib.import_module("mutmut.mutation.trampoline").set_mutant_under_test(name)

        def limit(test: str) -> None:
            # Far from what the test takes, also while others use the machine: their default action ends the process.
            signal.setitimer(signal.ITIMER_REAL, 15 + 20 * seconds[test])
            signal.setitimer(signal.ITIMER_PROF, 5 + 10 * seconds[test])

        following = dict(zip([item.nodeid for item in items], [item.nodeid for item in items[1:]], strict=False))

        def done(item: pytest.Item, took: float) -> None:
            if item.nodeid in following:
                limit(following[item.nodeid])

        limit(items[0].nodeid)
        failure = _run(items, done)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if failure is None:
            code = _SURVIVED
        else:
            os.write(writing, failure[:2000].encode())
    finally:
        os._exit(code)
