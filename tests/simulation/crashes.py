"""The crash-point sweep: the process dies at every call of every handler, just before it and just after it."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from order_engine.domain.tokens import SOL
from tests.simulation.run import Follower, Plan, Planned, Result, Simulation, limit_order, market_order
from tests.simulation.world import EPOCH_MS

SIDES = ("before", "after")
_QUESTIONS = ("chain.status", "chain.height", "chain.ledger", "chain.blockhash", "chain.blocks", "chain.list")
# An order that has lost one worker moves again within this time; one that loses two, within twice of it.
RECOVERY_MS = 60_000


def _happy() -> Plan:
    return Plan([Planned(1000, "user1", market_order(3 * SOL.unit))], [Follower(1100, 0)])


def _retry() -> Plan:
    plan = _happy()
    plan.script = {1: "rejected"}
    return plan


def _expiry() -> Plan:
    plan = _happy()
    plan.script = {1: "lost"}
    return plan


def _limit_fires() -> Plan:
    request = limit_order(2 * SOL.unit, Decimal("149.9"), EPOCH_MS + 120_000)
    return Plan([Planned(500, "user1", request)], [Follower(600, 0)], period_ms=40_000)


def _cancel_race() -> Plan:
    orders = [
        Planned(1000, "user1", market_order(SOL.unit), cancel_at_ms=1045),
        Planned(1000, "user1", limit_order(SOL.unit, Decimal(500), EPOCH_MS + 20_000), cancel_at_ms=2000),
    ]
    return Plan(orders, [Follower(1100, 0, all=True)])


SCENARIOS = {
    "happy": _happy,
    "retry": _retry,
    "expiry": _expiry,
    "limit order fires": _limit_fires,
    "cancel race": _cancel_race,
}

type Deaths = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One run: a scenario, and at which of its calls (counted from 0) the process dies."""

    scenario: str
    deaths: Deaths


@dataclass(slots=True)
class Sweep:
    """What a number of cases came to."""

    cases: int = 0
    longest_wait_ms: int = 0
    violations: dict[Case, str] = field(default_factory=dict)


def run_case(case: Case, *, recording: bool = False, tracing: bool = False) -> Result:
    """Run one case. The same case is the same run."""
    simulation = Simulation(1, SCENARIOS[case.scenario](), recording=recording, tracing=tracing)
    simulation.plan.bad_ms = 0
    simulation.world.fatal_calls = dict(case.deaths)
    return simulation.run()


def points(scenario: str, deaths: Deaths = ()) -> list[str]:
    """The names of all calls of a run."""
    return run_case(Case(scenario, deaths), recording=True).points


def singles(scenario: str) -> list[Case]:
    """Every call, before and after; questions to the chain, which change nothing, before only."""
    return [
        Case(scenario, ((number, side),))
        for number, point in enumerate(points(scenario))
        for side in (SIDES[:1] if point.endswith(_QUESTIONS) else SIDES)
    ]


def pairs(scenario: str) -> Iterator[Case]:
    """Every single death, and after it every call of the run that it led to."""
    for first in singles(scenario):
        ((number, _),) = first.deaths
        for second in range(number + 1, len(points(scenario, first.deaths))):
            for side in SIDES:
                yield Case(scenario, (*first.deaths, (second, side)))


def sampled_pairs(scenario: str, count: int, seed: int) -> list[Case]:
    """A random choice of ``count`` pairs."""
    rng = random.Random(f"{scenario} {seed}")
    firsts = singles(scenario)
    found: list[Case] = []
    while len(found) < count:
        first = rng.choice(firsts)
        ((number, _),) = first.deaths
        calls = len(points(scenario, first.deaths))
        if number + 1 < calls:
            second = (rng.randrange(number + 1, calls), rng.choice(SIDES))
            found.append(Case(scenario, (*first.deaths, second)))
    return found


def sweep(cases: Iterable[Case]) -> Sweep:
    """Run all cases and check the promises, the time to recover among them."""
    done = Sweep()
    for case in cases:
        result = run_case(case)
        done.cases += 1
        done.longest_wait_ms = max(done.longest_wait_ms, result.longest_wait_ms)
        violation = result.violation
        if violation is None and result.longest_wait_ms > RECOVERY_MS * len(case.deaths):
            violation = f"an order waited {result.longest_wait_ms} ms after it had lost its worker"
        if violation is not None:
            done.violations[case] = violation
    return done


def sweep_all(jobs: int, chunk: int = 200) -> Iterator[Sweep]:
    """All single deaths and all pairs of all scenarios; yields the running total."""
    total = Sweep()

    def chunks() -> Iterator[Sequence[Case]]:
        for scenario in SCENARIOS:
            waiting = list(singles(scenario))
            for case in pairs(scenario):
                waiting.append(case)
                if len(waiting) >= chunk:
                    yield waiting
                    waiting = []
            yield waiting

    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for part in pool.imap_unordered(sweep, chunks()):
            total.cases += part.cases
            total.longest_wait_ms = max(total.longest_wait_ms, part.longest_wait_ms)
            total.violations.update(part.violations)
            yield total
