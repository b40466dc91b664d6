"""What a stage costs in a month in which nobody uses it: ``python -m bench.idle [--context name=value …] [--json]``.

Counted from the synthesised template: whatever is charged by the hour or runs by itself. What one run of the sweeper
takes is counted on a real one, over empty tables answered from memory. Free tiers are left out, since an account has
them once and may have used them up; the one that is named is that of the dashboards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.account import running
from bench.cost import CALL_MS, FULL_CPU_MB, PRICES
from bench.orders import logs
from infra.synth import synth

type Json = Any

# Hours and seconds of a month, as AWS's own calculator reckons.
HOURS = 730
SECONDS = HOURS * 3600
# Dollars, us-east-1, November 2026, from the services' public price pages.
MONTHLY: Mapping[str, float] = {
    "alarm_metric": 0.10,  # https://aws.amazon.com/cloudwatch/pricing/: each metric that a standard alarm reads
    "dashboard": 3.00,  # beyond three of the account, of up to 50 metrics each
    "secret": 0.40,  # https://aws.amazon.com/secrets-manager/pricing/
    "key": 1.00,  # https://aws.amazon.com/kms/pricing/
    "snapshot_gb_s": 1.5046e-6,  # https://aws.amazon.com/lambda/pricing/: SnapStart's cache, Python
    "web_acl": 5.00,  # https://aws.amazon.com/waf/pricing/
    "web_acl_rule": 1.00,
}
FREE_DASHBOARD_METRICS = 50
# Five pollers of an idle queue wait 20 seconds each for a message.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
POLLERS, POLL_S = 5, 20
# What Lambda's own lines of an invocation come to where the template lets them through; a generous guess.
PLATFORM_LOG_BYTES = 600


# What costs nothing as long as nobody uses it: paid by request, by what is stored, or never.
FREE_WHEN_IDLE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Budgets::Budget",  # the first two of an account; two cents a day then
        "AWS::CloudFront::CachePolicy",
        "AWS::CloudFront::Distribution",
        "AWS::CloudFront::Function",
        "AWS::CloudFront::OriginRequestPolicy",
        "AWS::CloudFront::ResponseHeadersPolicy",
        "AWS::DynamoDB::Table",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::KMS::Alias",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::Logs::LogGroup",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
    }
)
COUNTED = frozenset(
    {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Events::Rule",
        "AWS::KMS::Key",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::SecretsManager::Secret",
        "AWS::WAFv2::WebACL",
    }
)


@dataclass(frozen=True, slots=True)
class Beat:
    """One run of the sweeper that finds nothing.

    Attributes:
        seconds: how long it would last on Lambda.
    """

    seconds: float
    calls: int
    read_units: float
    sqs_requests: int
    log_bytes: int


def beat(template: Mapping[str, Json]) -> Beat:
    """Run the sweeper over empty tables, twice: the first run opens connections and imports what is imported late."""
    with running(template) as account:
        memory_mb = account.function("process.sweep").memory_mb
        account.invoke("process.sweep", {})
        with logs() as written:
            run = account.invoke("process.sweep", {})
        cpu_ms = run.cpu_ms * FULL_CPU_MB / memory_mb
        return Beat(
            seconds=(cpu_ms + CALL_MS * len(run.calls)) / 1000,
            calls=len(run.calls),
            # A read that finds nothing costs half a unit.
            read_units=sum(max(0.5, call.read_units) for call in run.calls if call.action.startswith("dynamodb:")),
            sqs_requests=sum(call.action.startswith("sqs:") for call in run.calls),
            log_bytes=len(written.getvalue()) + PLATFORM_LOG_BYTES,
        )


def _of_type(template: Mapping[str, Json], kind: str) -> list[Json]:
    return [item["Properties"] for item in template["Resources"].values() if item["Type"] == kind]


def alarm_metrics(template: Mapping[str, Json]) -> int:
    """What alarms are charged by: the metrics that each reads."""
    alarms = _of_type(template, "AWS::CloudWatch::Alarm")
    return sum(
        sum("MetricStat" in metric for metric in alarm["Metrics"]) if "Metrics" in alarm else 1 for alarm in alarms
    )


def dashboard_metrics(template: Mapping[str, Json]) -> list[int]:
    """How many metrics each dashboard shows; the same metric in two statistics counts twice."""
    found = []
    for dashboard in _of_type(template, "AWS::CloudWatch::Dashboard"):
        widgets = json.loads(_text(dashboard["DashboardBody"]))["widgets"]
        found.append(sum(len(widget["properties"].get("metrics", ())) for widget in widgets))
    return found


def _text(value: Json) -> str:
    """A body whose references are left out."""
    if isinstance(value, str):
        return value
    parts = value["Fn::Join"][1]
    return "".join(part if isinstance(part, str) else "reference" for part in parts)


def _runs_a_month(template: Mapping[str, Json]) -> float:
    """How often schedules start a function."""
    total = 0.0
    for rule in _of_type(template, "AWS::Events::Rule"):
        number, unit = rule["ScheduleExpression"].removeprefix("rate(").removesuffix(")").split()
        total += SECONDS / (int(number) * {"minute": 60, "minutes": 60, "hour": 3600, "hours": 3600}[unit])
    return total


def dollars(template: Mapping[str, Json], sweep: Beat) -> dict[str, float]:
    """Dollars a month by what is charged; a dashboard at nothing as long as it is within the account's free ones."""
    functions = _of_type(template, "AWS::Lambda::Function")
    snapshots = sum(function["MemorySize"] for function in functions if "SnapStart" in function)
    (swept,) = [function for function in functions if function["Handler"] == "process.sweep.lambda_handler"]
    queues = [
        mapping
        for mapping in _of_type(template, "AWS::Lambda::EventSourceMapping")
        if "StartingPosition" not in mapping and mapping.get("Enabled", True)
    ]
    runs = _runs_a_month(template)
    rules = [len(acl.get("Rules", ())) for acl in _of_type(template, "AWS::WAFv2::WebACL")]
    return {
        "alarms": alarm_metrics(template) * MONTHLY["alarm_metric"],
        "SnapStart's cache": snapshots / 1024 * SECONDS * MONTHLY["snapshot_gb_s"],
        "queues' pollers": len(queues) * POLLERS * SECONDS / POLL_S * PRICES["sqs_request"],
        "secrets": len(_of_type(template, "AWS::SecretsManager::Secret")) * MONTHLY["secret"],
        "own keys": len(_of_type(template, "AWS::KMS::Key")) * MONTHLY["key"],
        "firewall": len(rules) * MONTHLY["web_acl"] + sum(rules) * MONTHLY["web_acl_rule"],
        "sweeper: Lambda": runs
        * (PRICES["lambda_request"] + sweep.seconds * swept["MemorySize"] / 1024 * PRICES["lambda_gb_s"]),
        "sweeper: reads": runs * (sweep.read_units * PRICES["read_unit"] + sweep.sqs_requests * PRICES["sqs_request"]),
        "sweeper: log": runs * sweep.log_bytes / 1e9 * PRICES["log_gb"],
        "dashboard": sum(
            MONTHLY["dashboard"] for shown in dashboard_metrics(template) if shown > FREE_DASHBOARD_METRICS
        ),
    }


def _given(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        name, _, value = argument.partition("=")
        yield name, value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--context", "-c", action="append", default=[], metavar="NAME=VALUE", help="as for a deployment"
    )
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/idle.json")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        path = synth(Path(directory), {"bundle": False, **dict(_given(given.context))})
        template = json.loads(path.read_text())
    swept = beat(template)
    lines = dollars(template, swept)
    for name, amount in lines.items():
        print(f"{name:20} {amount:6.2f}")
    print(f"{'total':20} {sum(lines.values()):6.2f} dollars a month")
    print(f"metrics: {alarm_metrics(template)} in alarms, {dashboard_metrics(template)} on dashboards")
    print(
        f"a sweeper's run takes {1000 * swept.seconds:.0f} ms, {swept.calls} calls, {swept.read_units:g} read units, "
        f"{swept.log_bytes} B of log"
    )
    if given.json:
        machine.record("idle", {"dollars": lines, "prices": {**MONTHLY, "hours": HOURS}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
