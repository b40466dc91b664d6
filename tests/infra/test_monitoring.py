"""Dashboard and alarms watch metrics that exist, and the runbook knows every alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.tree import ROOT
from order_engine import observability
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack

type Json = Any

RUNBOOK = Path(ROOT) / "docs" / "runbook.md"


def own_metrics(node: Json) -> Iterator[Json]:
    """The metrics of our own namespace, wherever they are in a resource."""
    if isinstance(node, dict):
        if node.get("Namespace") == observability.NAMESPACE:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from own_metrics(item)


def written(name: str) -> bool:
    """Whether the functions write a metric, by the list in ``order_engine.observability``."""
    names = set(re.findall(r"\b[A-Z][A-Za-z]+(?:_<[a-z]+>)?", observability.__doc__ or ""))
    return name in names or name.startswith(tuple(known.partition("<")[0] for known in names if "<" in known))


def alarm_names(stack: Stack) -> set[str]:
    """The alarms as people know them: logical ids without the CDK's hash."""
    return {re.sub(r"[0-9A-F]{8}$", "", name) for name in stack.of_type("AWS::CloudWatch::Alarm")}


def test_alarms_watch_metrics_that_are_written(stack: Stack) -> None:
    watched = [metric for alarm in stack.of_type("AWS::CloudWatch::Alarm").values() for metric in own_metrics(alarm)]

    assert watched
    for metric in watched:
        dimensions = {item["Name"]: item["Value"] for item in metric["Dimensions"]}
        assert dimensions == {"service": observability.SERVICE, "stage": "dev"}
        assert written(metric["MetricName"]), metric["MetricName"]


def test_the_dashboard_shows_metrics_that_are_written(stack: Stack) -> None:
    _, dashboard = stack.one("AWS::CloudWatch::Dashboard")
    text = json.dumps(dashboard["DashboardBody"]).replace("\\", "")
    shown = re.findall(rf'\["{observability.NAMESPACE}","([^"]+)"', text)

    assert {"Accepted", "Confirmed", "Failed", "Retries", "DuplicateDeliveries", "SwappedTwice"} <= set(shown)
    assert [name for name in shown if not written(name)] == []


def test_the_dashboards_name_tells_of_the_region(stack: Stack, prod: Stack) -> None:
    """An account's dashboards are global: of a stage in two regions the second would be refused, or take the first's.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-dashboard.html, and what
    becomes of it: https://github.com/aws-solutions-library-samples/qnabot-on-aws/issues/81
    """
    _, dashboard = prod.one("AWS::CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == "order-engine-prod-eu-central-1"
    _, unresolved = stack.one("AWS::CloudWatch::Dashboard")
    assert unresolved["DashboardName"] == {"Fn::Join": ["", ["order-engine-dev-", {"Ref": "AWS::Region"}]]}


def test_two_executions_of_an_order_raise_an_alarm(stack: Stack) -> None:
    _, alarm = stack.one("AWS::CloudWatch::Alarm", MetricName="SwappedTwice")

    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Sum", 1, 1)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_cloudwatch_may_publish_alarms_of_this_account_and_nobody_may_without_tls(prod: Stack) -> None:
    """A topic's own policy replaces the default one, which lets this account's services publish.

    https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html, and what its absence looks like:
    https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
    """
    topic, _ = prod.one("AWS::SNS::Topic")
    _, policy = prod.one("AWS::SNS::TopicPolicy", Topics=[{"Ref": topic}])
    allowed = [item for item in policy["PolicyDocument"]["Statement"] if item["Effect"] == "Allow"]
    denied = [item for item in policy["PolicyDocument"]["Statement"] if item["Effect"] == "Deny"]

    (statement,) = allowed
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert (statement["Action"], statement["Resource"]) == ("sns:Publish", {"Ref": topic})
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    # No Deny may reach CloudWatch, which publishes over TLS.
    assert [item["Condition"] for item in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_a_stage_that_keeps_its_data_and_tells_nobody_is_warned_of(synthesise: Synthesise) -> None:
    for context, warned in (
        ({"stage": "prod"}, True),
        ({"stage": "prod", "alarmEmail": "ops@example.com"}, False),
        ({"stage": "dev"}, False),
    ):
        metadata = synthesise(**context).path.parent / f"order-engine-{context['stage']}.metadata.json"
        assert ("give -c alarmEmail=" in metadata.read_text()) is warned, context


@pytest.mark.parametrize("fixture", ["stack", "prod"])
def test_the_runbook_has_an_entry_for_every_alarm(fixture: str, request: pytest.FixtureRequest) -> None:
    found: Stack = request.getfixturevalue(fixture)
    entries = set(re.findall(r"`([A-Za-z]+)`", "".join(re.findall(r"^### .*$", RUNBOOK.read_text(), re.MULTILINE))))
    alarms = alarm_names(found)

    assert alarms - entries == set()
    assert entries - alarms == set()


def test_the_runbooks_queries_ask_for_fields_that_are_logged() -> None:
    queries = re.findall(r"```(?:sql|text)?\n(fields .*?)```", RUNBOOK.read_text(), re.DOTALL)
    logged = {
        "order_id", "status", "seq", "attempt", "venue", "failure_code", "signature", "message", "level",
        "function_name", "function_request_id", "message_id", "wait_ms", "timestamp", "event_id",
    }  # fmt: skip

    assert len(queries) >= 5
    # A timeout is a report of the platform, which has neither a message nor the function's name.
    (failures,) = [query for query in queries if "record.status" in query]
    assert "coalesce(function_name, @log)" in failures
    assert "coalesce(message, record.status)" in failures
    for query in queries:
        fields = {
            name for line in re.findall(r"^fields (.*)$", query, re.MULTILINE) for name in re.split(r",\s*", line)
        }
        assert {name for name in fields if not name.startswith("@")} <= logged, query
