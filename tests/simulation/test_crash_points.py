"""The process dies at every call of every handler, once and twice."""

from __future__ import annotations

import pytest

from tests.simulation.crashes import SCENARIOS, Case, points, run_case, sampled_pairs, singles, sweep

PAIRS = [30, pytest.param(300, marks=pytest.mark.long)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_death_at_any_call_breaks_no_promise_and_costs_less_than_a_minute(scenario: str) -> None:
    done = sweep(singles(scenario))
    assert not done.violations
    assert len(points(scenario)) < done.cases <= 2 * len(points(scenario))


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_deaths_at_any_calls_break_no_promise(scenario: str, pairs: int) -> None:
    done = sweep(sampled_pairs(scenario, pairs, seed=1))
    assert not done.violations
    assert done.cases == pairs


def test_every_handler_and_every_kind_of_service_is_among_the_points() -> None:
    named = {point for scenario in SCENARIOS for point in points(scenario)}
    handlers = {name.partition("#")[0] for name in named}
    services = {name.split()[1].partition(".")[0] for name in named}
    assert {"submit", "process", "notify", "socket", "sweep", "cancel"} <= handlers
    assert {"orders", "queue", "chain", "raydium", "meteora", "push", "connections", "statistics"} <= services


def test_the_process_really_dies_where_it_is_told_to() -> None:
    names = points("happy")
    broadcast = next(number for number, name in enumerate(names) if name.endswith("chain.broadcast"))
    died = run_case(Case("happy", ((broadcast, "before"),)))
    assert died.faults["killed"] == 1
    assert died.longest_wait_ms > 20_000
