"""How fast the router decides, and how far its decisions are from the optimum.

``python -m bench.routing speed [--json FILE]``: processor milliseconds of one decision, pools fresh as a venue would
give them (their tables are built within).

``python -m bench.routing compare [--cases N] [--workers N] [--state FILE] [--references FILE]``: every decision
against the best route by exhaustion (``bench.optimum``), in turns on random networks and on the paper market with all
of its paths. Of each case it also checks that the legs add up, that the pools give what the legs say, that the order of
the pools changes nothing, and that the stated gap is not smaller than the true one. The state is written as it goes on:
a run that was stopped goes on from there. The second file keeps what the reference found, which takes most of the time
and which no change of the router alters: of a changed router the same cases are compared anew within minutes. With
``--unproved`` the reference is only asked where the router refuses, or where its stated gap is above the tolerance:
that takes a tenth of the time, and trusts the stated gaps.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import bench
from bench.networks import Case, market_case, network_case, sized_case
from bench.optimum import Optimum, optimum
from order_engine import venues
from order_engine.domain.errors import NoRoute
from order_engine.domain.quote import Decision
from order_engine.engine.routing.decide import decide
from order_engine.venues.paper.market import PaperMarket

_NO_CEILING = 10_000
_SEED = "routes"
# What a decision may stay behind: basis points, or base units of output.
TOLERATED_BPS, TOLERATED_UNITS = 0.01, 4
# Of cases that lose more than this to the price, the distance is not held against the router.
IMPACT_BPS = 1_000
_SAVE_S = 20.0
_CHECKED = 100  # cases of a file of references that are looked at again


def route(case: Case) -> Decision | None:
    """The router's decision; None where it refuses."""
    try:
        return decide(
            case.pools,
            mint_in=case.mint_in,
            mint_out=case.mint_out,
            amount_in=case.amount_in,
            max_price_impact_bps=_NO_CEILING,
        )
    except NoRoute:
        return None


def broken_promises(case: Case, decision: Decision, rng: random.Random) -> list[str]:
    """What does not hold of a decision that holds of every one."""
    found = []
    pools = {pool.pool_id: pool for pool in case.pools}
    for candidate in decision.quotes:
        held = {case.mint_in: case.amount_in}
        for leg in candidate.legs:
            if pools[leg.pool_id].quote(leg.mint_in, leg.amount_in) != leg.amount_out:
                found.append(f"{leg.pool_id} does not give what its leg says")
            held[leg.mint_in] = held.get(leg.mint_in, 0) - leg.amount_in
            if held[leg.mint_in] < 0:
                found.append("a leg takes more than there is")
            held[leg.mint_out] = held.get(leg.mint_out, 0) + leg.amount_out
        if held.pop(case.mint_out, 0) != candidate.amount_out or any(held.values()):
            found.append("the legs do not add up")
        if len({leg.pool_id for leg in candidate.legs}) < len(candidate.legs):
            found.append("a pool is used twice")
    shuffled = list(case.pools)
    rng.shuffle(shuffled)
    if route(Case(tuple(shuffled), case.mint_in, case.mint_out, case.amount_in)) != decision:
        found.append("the order of the pools changes the decision")
    return found


@dataclass(frozen=True, slots=True)
class Reference:
    """What the reference found of a case: base units of net output, and the loss against the marginal price."""

    net_out: int
    impact_bps: float


class References:
    """What the reference found of the first cases, kept in a file: a line each, after one that names its sources."""

    def __init__(self, path: Path | None) -> None:
        """Read the file, or begin it. Where it was made with other sources, some of its cases are looked at again.

        Raises:
            ValueError: one of these is another now.
        """
        self._known: list[list[float] | None] = []
        self._path = path
        if path is None:
            return
        made_with, *lines = path.read_text().splitlines(keepends=True) if path.exists() else [_sources()]
        # A line that was not written whole is made again.
        lines = [line for line in lines if line.endswith("\n")]
        self._known = [json.loads(line) for line in lines]
        if made_with.strip() != _sources():
            for number in range(0, len(lines), max(1, len(lines) // _CHECKED)):
                if _look(numbered(number)[1]) != self.of(number):
                    raise ValueError(f"{path} was made with other cases or another reference: see case {number}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join([_sources() + "\n", *lines]))

    def __contains__(self, number: int) -> bool:
        return number < len(self._known)

    def of(self, number: int) -> Reference | None:
        """What the reference finds of a case; None where it finds that nothing fills the order."""
        if number in self:
            known = self._known[number]
            return None if known is None else Reference(int(known[0]), known[1])
        found = _look(numbered(number)[1])
        self.keep(number, found)
        return found

    def keep(self, number: int, found: Reference | Optimum | None) -> None:
        """Write down what it found, where it is the next case of the file."""
        if self._path is not None and number == len(self._known):
            self._known.append(None if found is None else [found.net_out, found.impact_bps])
            with self._path.open("a") as file:
                file.write(json.dumps(self._known[-1]) + "\n")


def _look(case: Case) -> Reference | None:
    best = optimum(case)
    return None if best is None else Reference(best.net_out, best.impact_bps)


def _sources() -> str:
    """A digest of the program that draws cases and finds the best of them."""
    here, there = Path(bench.__path__[0]), Path(venues.__path__[0])
    files = [here / "networks.py", here / "optimum.py", here / "exchange.py", *sorted(there.rglob("*.py"))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def proved(decision: Decision) -> bool:
    """Whether the stated gap is within the tolerance."""
    chosen, gap = decision.chosen, decision.optimality_gap_bps
    whole = chosen.net_out if chosen.net_out > 0 else chosen.amount_out
    return gap is not None and float(gap) <= max(TOLERATED_BPS, TOLERATED_UNITS / whole * 10_000)


@dataclass(slots=True)
class Tally:
    """What a comparison has found, in so many cases.

    Attributes:
        refused: by the router and the reference alike.
        refused_falsely: by the router, though the reference fills it.
        heavy: cases with a larger impact than counts for the distances.
        worst_bps: the largest distance behind the reference, in basis points of its net output, of cases where it is
            more than some base units.
        mean_bps: of the distances; 0 where the router is ahead.
        missed: cases that were further behind than tolerated.
        ahead: cases in which the router found a better route than the reference.
        gap_too_small: cases whose stated gap was smaller than the true one.
        stated: cases whose stated gap is within the tolerance, so that nothing needs to be compared.
        broken: promises that do not hold, with the number of the case.
    """

    cases: int = 0
    refused: int = 0
    refused_falsely: int = 0
    heavy: int = 0
    worst_bps: float = 0.0
    worst_case: int = -1
    sum_bps: float = 0.0
    missed: list[int] = field(default_factory=list)
    ahead: int = 0
    gap_too_small: list[int] = field(default_factory=list)
    stated: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def mean_bps(self) -> float:
        return self.sum_bps / max(1, self.cases - self.refused - self.refused_falsely - self.heavy)

    def add(
        self, number: int, decision: Decision | None, best: Reference | Optimum | None, promises: list[str]
    ) -> None:
        """Count one case."""
        self.cases += 1
        self.broken += [f"{number}: {promise}" for promise in promises]
        if decision is None:
            self.refused += best is None
            self.refused_falsely += best is not None
            return
        chosen, gap = decision.chosen, decision.optimality_gap_bps
        whole = chosen.net_out if chosen.net_out > 0 else chosen.amount_out
        behind = 0 if best is None else best.net_out - chosen.net_out
        self.ahead += behind < 0
        if gap is None or behind * 10_000 > float(gap) * whole + 1e-6:
            self.gap_too_small.append(number)
        if (best.impact_bps if best is not None else float(chosen.price_impact_bps)) > IMPACT_BPS:
            self.heavy += 1
            return
        self.stated += proved(decision)
        bps = max(0.0, behind / whole * 10_000)
        self.sum_bps += bps
        if behind <= TOLERATED_UNITS:
            return
        if bps > self.worst_bps:
            self.worst_bps, self.worst_case = bps, number
        if bps > TOLERATED_BPS:
            self.missed.append(number)


def numbered(number: int) -> tuple[str, Case, random.Random]:
    """A case by its number: which table it belongs to, and the chance that is left of it."""
    rng = random.Random(f"{_SEED}/{number}")
    if number % 2 == 0:
        return "random networks", network_case(rng), rng
    case = market_case(rng, PaperMarket(number % 100))
    assert case.usd is not None
    size = len(str(int(case.usd))) - 1
    return f"paper market, ${10**size:,} to ${10 ** (size + 1):,}", case, rng


@dataclass(frozen=True, slots=True)
class Judged:
    """A case, decided and compared.

    Attributes:
        best: what the reference finds, where it was asked.
        asked: whether it was.
    """

    number: int
    table: str
    decision: Decision | None
    promises: list[str]
    best: Reference | Optimum | None = None
    asked: bool = False


def judge(number: int, known: Reference | None = None, *, ask: bool = True, unproved: bool = False) -> Judged:
    """Decide one case, and ask the reference for it.

    Args:
        known: what it has found already, where it need not be asked.
        ask: whether it may be asked.
        unproved: ask it only where the decision does not prove itself.
    """
    name, case, rng = numbered(number)
    decision = route(case)
    promises = [] if decision is None else broken_promises(case, decision, rng)
    if unproved and decision is not None and proved(decision):
        return Judged(number, name, decision, promises)
    if not ask:
        return Judged(number, name, decision, promises, known)
    return Judged(number, name, decision, promises, optimum(case), asked=True)


def examine(
    number: int, tables: dict[str, Tally], references: References | None = None, *, unproved: bool = False
) -> None:
    """Compare one case, and count it in its table."""
    _count(_job((number, *_given(number, references), unproved)), tables, references)


def compare(
    cases: int, state: Path | None, references: Path | None = None, *, unproved: bool = False, workers: int = 1
) -> dict[str, Tally]:
    """Compare so many cases in all, those that the state has already counted among them.

    Args:
        workers: processes that do so.
    """
    tables: dict[str, Tally] = {}
    done = 0
    if state is not None and state.exists():
        kept = json.loads(state.read_text())
        done = kept["done"]
        tables = {name: Tally(**tally) for name, tally in kept["tables"].items()}
    found = References(references)
    saved = time.monotonic()
    jobs = ((number, *_given(number, found), unproved) for number in range(done, cases))
    with ExitStack() as stack:
        judged = (
            map(_job, jobs)
            if workers == 1
            else stack.enter_context(get_context("spawn").Pool(workers)).imap(_job, jobs, chunksize=8)
        )
        for one in judged:
            _count(one, tables, found)
            last = one.number == cases - 1
            if state is not None and (last or time.monotonic() - saved > _SAVE_S):
                saved = time.monotonic()
                _save(state, one.number + 1, tables)
    return tables


def _given(number: int, references: References | None) -> tuple[Reference | None, bool]:
    """What is known of a case, and whether the reference has to be asked."""
    if references is not None and number in references:
        return references.of(number), False
    return None, True


def _job(job: tuple[int, Reference | None, bool, bool]) -> Judged:
    number, known, ask, unproved = job
    return judge(number, known, ask=ask, unproved=unproved)


def _count(one: Judged, tables: dict[str, Tally], references: References | None) -> None:
    tables.setdefault(one.table, Tally()).add(one.number, one.decision, one.best, one.promises)
    if references is not None and one.asked:
        references.keep(one.number, one.best)


def _save(state: Path, done: int, tables: dict[str, Tally]) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {"done": done, "tables": {name: asdict(tally) for name, tally in sorted(tables.items())}}, indent=1
    )
    part = state.with_suffix(".part")
    part.write_text(text + "\n")
    part.replace(state)


def speed(make: Callable[[random.Random], Case], cases: int, seed: int = 1) -> dict[str, float]:
    """Processor milliseconds per decision."""
    rng = random.Random(seed)
    taken, pools = [], 0
    for _ in range(cases):
        case = make(rng)
        pools = max(pools, len(case.pools))
        gc.collect()  # what drawing the case left behind is no part of the decision
        began = time.process_time_ns()
        route(case)
        taken.append((time.process_time_ns() - began) / 1e6)
    taken.sort()
    return {"pools": pools, "p50_ms": taken[cases // 2], "p99_ms": taken[cases * 99 // 100]}


def speeds(cases: int) -> dict[str, dict[str, float]]:
    """For as many pools as are promised, and for the paper market."""
    market = PaperMarket(1)
    return {
        **{f"{n} pools of all kinds": speed(lambda rng, n=n: sized_case(rng, n), cases) for n in (8, 20, 50, 75, 150)},  # type: ignore[misc]
        "paper market, all paths": speed(lambda rng: market_case(rng, market), cases),
    }


def _print(tables: dict[str, Tally]) -> None:
    for name, tally in sorted(tables.items()):
        print(
            f"{name}: {tally.cases} cases, worst {tally.worst_bps:.4f} bps (case {tally.worst_case}), "
            f"mean {tally.mean_bps:.6f} bps, {len(tally.missed)} above {TOLERATED_BPS} bps, "
            f"{tally.refused_falsely} refused falsely, {len(tally.gap_too_small)} gaps too small, "
            f"{len(tally.broken)} broken promises, {tally.ahead} ahead, {tally.heavy} of a larger impact, "
            f"{tally.stated} proved within {TOLERATED_BPS} bps"
        )


def main() -> None:
    """Run one of the two, and write its figures where told."""
    parser = argparse.ArgumentParser(description="Routing: speed, and distance from the optimum.")
    parser.add_argument("what", choices=("speed", "compare"))
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--state", type=Path, help="where a comparison keeps what it has counted")
    parser.add_argument("--references", type=Path, help="where it keeps what the reference found of each case")
    parser.add_argument("--unproved", action="store_true", help="ask the reference only where the gap is too large")
    parser.add_argument("--workers", type=int, default=1, help="processes that compare")
    parser.add_argument("--json", type=Path, help="write the figures of speed to this file")
    given = parser.parse_args()
    if given.what == "compare":
        _print(compare(given.cases, given.state, given.references, unproved=given.unproved, workers=given.workers))
        return
    figures: Any = speeds(given.cases)
    print(json.dumps(figures, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
