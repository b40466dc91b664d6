"""What a stage costs that nobody uses, counted from the template."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bench import idle
from bench.idle import Beat, dashboard_metrics, dollars
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack

LIMIT = 5.00


@pytest.fixture(scope="module")
def beat(stack: Stack) -> Beat:
    return idle.beat(stack.content)


def total(template: Any, beat: Beat) -> float:
    return sum(dollars(template, beat).values())


def test_an_idle_stage_costs_less_than_five_dollars_a_month_all_in(stack: Stack, prod: Stack, beat: Beat) -> None:
    for found in (stack, prod):
        assert 1 < total(found.content, beat) < LIMIT, dollars(found.content, beat)
    # A dashboard is free as one of the account's first three, and with few enough metrics.
    assert [shown <= 50 for shown in dashboard_metrics(stack.content)] == [True]


def test_every_kind_of_resource_is_counted_or_known_to_be_free(
    stack: Stack, prod: Stack, synthesise: Synthesise
) -> None:
    for found in (stack, prod, synthesise(alarmEmail="ops@example.com")):
        kinds = {item["Type"] for item in found.content["Resources"].values()}
        assert kinds - idle.COUNTED - idle.FREE_WHEN_IDLE == set()
    assert not idle.COUNTED & idle.FREE_WHEN_IDLE


def test_a_run_of_an_idle_sweeper_is_next_to_nothing(beat: Beat) -> None:
    assert beat.calls <= 2
    assert beat.read_units <= 1
    assert beat.seconds < 1


def test_what_is_added_is_counted(stack: Stack, beat: Beat) -> None:
    template = copy.deepcopy(dict(stack.content))
    resources, before = template["Resources"], total(template, beat)
    rate = next(item for item in resources.values() if "Metrics" in item["Properties"])
    resources["Another"] = copy.deepcopy(rate)
    assert total(template, beat) == pytest.approx(before + 0.20)
    resources["Secret"] = {"Type": "AWS::SecretsManager::Secret", "Properties": {}}
    resources["Key"] = {"Type": "AWS::KMS::Key", "Properties": {}}
    assert total(template, beat) == pytest.approx(before + 0.20 + 0.40 + 1.00)
    (source,) = [
        item
        for item in resources.values()
        if item["Type"] == "AWS::Lambda::EventSourceMapping"
        and item["Properties"].get("BatchSize") == 10
        and "ScalingConfig" in item["Properties"]
        and item["Properties"]["ScalingConfig"]["MaximumConcurrency"] == 10
    ]
    resources["Source"] = copy.deepcopy(source)
    assert dollars(template, beat)["queues' pollers"] == pytest.approx(3 * 5 * 730 * 3600 / 20 * 0.4e-6)


def test_what_an_idle_stage_pays_for_can_be_left_out(synthesise: Synthesise, beat: Beat) -> None:
    least = synthesise(snapStart="false", dashboard="false", tracing="false").content

    assert dashboard_metrics(least) == []
    assert dollars(least, beat)["SnapStart's cache"] == 0
    assert total(least, beat) < 3.20
    functions = [item["Properties"] for item in least["Resources"].values() if item["Type"] == "AWS::Lambda::Function"]
    assert {str(function.get("TracingConfig")) for function in functions} == {"None"}
