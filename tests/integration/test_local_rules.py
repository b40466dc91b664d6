"""The local stack's pure rules: delivering a batch, filters, routes, intrinsics, schedules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local import patterns, schedules
from local.cloud.provision import generated
from local.cloud.template import Template, TemplateError
from local.event_sources import BadReport, reported_failures
from local.functions import Functions, InvocationError, Throttled
from local.gateway import Bucket, Route
from local.http_api import RouteTable
from local.schedules import interval
from local.stream_delivery import Discarded, Policy, deliver

# --- delivering a batch ------------------------------------------------------------------------------------------


def record(number: int, at: float = 0.0) -> dict[str, Any]:
    return {"dynamodb": {"SequenceNumber": str(number), "ApproximateCreationDateTime": at}}


def number_of(item: dict[str, Any]) -> int:
    return int(item["dynamodb"]["SequenceNumber"])


class Function:
    """A function that raises for batches with a number in ``crashes`` and reports those in ``fails``, each only for
    so many invocations."""

    def __init__(self, crashes: dict[int, int], fails: dict[int, int]) -> None:
        self.crashes, self.fails = dict(crashes), dict(fails)
        self.calls: list[list[int]] = []
        self.done: list[int] = []
        self.given_up: list[int] = []
        self.conditions: set[str] = set()

    async def invoke(self, records: Sequence[dict[str, Any]]) -> int:
        numbers = [number_of(item) for item in records]
        self.calls.append(numbers)
        for number in numbers:
            if self.crashes.get(number, 0) > 0:
                self.crashes[number] -= 1
                raise InvocationError("Error", "as asked")
        for place, number in enumerate(numbers):
            if self.fails.get(number, 0) > 0:
                self.fails[number] -= 1
                self.done += numbers[:place]
                return place
        self.done += numbers
        return len(numbers)

    async def discard(self, given_up: Discarded) -> None:
        self.given_up += [number_of(item) for item in given_up.records]
        self.conditions.add(given_up.condition)


async def no_wait(_: float) -> None:
    return None


def run(function: Function, count: int, policy: Policy, now: float = 0.0, at: Sequence[float] = ()) -> None:
    records = [record(n, at[n] if at else 0.0) for n in range(count)]
    work = deliver(records, function.invoke, policy, function.discard, sleep=no_wait, now=lambda: now)
    asyncio.run(asyncio.wait_for(work, 30))


_COUNTS = st.dictionaries(st.integers(0, 9), st.integers(1, 4), max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 10), _COUNTS, _COUNTS, st.integers(0, 4), st.booleans())
def test_every_record_is_delivered_or_given_up_once_and_in_order(
    count: int, crashes: dict[int, int], fails: dict[int, int], retries: int, bisect: bool
) -> None:
    function = Function(crashes, fails)
    run(function, count, Policy(retries, None, bisect))
    assert sorted(function.done + function.given_up) == list(range(count))
    assert function.done == sorted(function.done)
    assert function.given_up == sorted(function.given_up)
    assert function.conditions <= {"RetryAttemptsExhausted"}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10), _COUNTS, _COUNTS, st.booleans())
def test_without_a_limit_nothing_is_given_up(
    count: int, crashes: dict[int, int], fails: dict[int, int], bisect: bool
) -> None:
    function = Function(crashes, fails)
    run(function, count, Policy(None, None, bisect))
    assert function.done == list(range(count))
    assert not function.given_up


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10), st.integers(0, 9), st.integers(0, 3))
def test_bisecting_gives_up_the_culprit_alone(count: int, culprit: int, retries: int) -> None:
    function = Function({culprit: 1000}, {})
    run(function, count, Policy(retries, None, bisect=True))
    assert function.given_up == ([culprit] if culprit < count else [])
    # Alone it was tried once, and as often again as allowed.
    alone = [call for call in function.calls if call == [culprit]]
    assert len(alone) == (retries + 1 if culprit < count else 0)


def test_without_bisecting_the_whole_batch_is_given_up() -> None:
    function = Function({1: 1000}, {})
    run(function, 3, Policy(2, None, bisect=False))
    assert function.given_up == [0, 1, 2]
    assert len(function.calls) == 3


def test_what_is_too_old_is_given_up_without_an_invocation() -> None:
    function = Function({}, {})
    run(function, 3, Policy(None, 10, bisect=False), now=20, at=[5, 9, 11])
    assert function.given_up == [0, 1]
    assert function.calls == [[2]]
    assert function.conditions == {"RecordAgeExceeded"}


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}])
def test_an_answer_without_failures_means_success(answer: Any) -> None:
    assert reported_failures(answer, ["a"]) == set()


def test_reported_failures_are_named() -> None:
    report = {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert reported_failures(report, ["a", "b"]) == {"b"}


@pytest.mark.parametrize(
    "failures", [[{"itemIdentifier": ""}], [{"itemIdentifier": None}], [{"bad": "a"}], [{"itemIdentifier": "c"}], "a"]
)
def test_a_report_that_cannot_be_read_is_refused(failures: Any) -> None:
    with pytest.raises(BadReport):
        reported_failures({"batchItemFailures": failures}, ["a", "b"])


# --- filters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": "z"}, False),
        ({"a": ["x"]}, {}, False),
        ({"a": ["x"], "b": [1]}, {"a": "x", "b": 2}, False),
        ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a": "x"}, False),
        ({"a": [None]}, {"a": None}, True),
        ({"a": [None]}, {}, False),
        ({"a": [{"exists": True}]}, {"a": 0}, True),
        ({"a": [{"exists": False}]}, {"b": 0}, True),
        ({"a": [{"exists": False}]}, {"a": 0}, False),
        ({"a": [{"prefix": "x"}]}, {"a": "xy"}, True),
        ({"a": [{"suffix": "x"}]}, {"a": "xy"}, False),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "z"}, True),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": "y"}, False),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": "xy"}, False),
        ({"a": [{"anything-but": "x"}]}, {}, False),
        ({"a": [{"equals-ignore-case": "X"}]}, {"a": "x"}, True),
        ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 5}, True),
        ({"a": [{"numeric": [">", 0]}]}, {"a": "5"}, False),
        ({"a": [True]}, {"a": 1}, False),
        ({"a": ["x"]}, {"a": ["w", "x"]}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {"b": "x"}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["x"]}]}, {"b": "y"}, False),
    ],
)
def test_a_pattern_matches_what_it_says(pattern: dict[str, Any], event: dict[str, Any], expected: bool) -> None:
    patterns.check(pattern)
    assert patterns.matches(pattern, event) is expected


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(TemplateError, match="cidr"):
        patterns.check({"a": {"b": [{"cidr": "10.0.0.0/8"}]}})


# --- routes ------------------------------------------------------------------------------------------------------


def table(*keys: str) -> RouteTable:
    return RouteTable([Route(key, "function", None, responds=False) for key in keys])


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/a/b", "GET /a/b", {}),
        ("GET", "/a/c", "GET /a/{x}", {"x": "c"}),
        ("POST", "/a/b", "ANY /a/b", {}),
        ("POST", "/a/c", "$default", {}),
        ("GET", "/a/b/c", "GET /{all+}", {"all": "a/b/c"}),
        ("GET", "/a/", "$default", {}),
        ("GET", "/", "$default", {}),
        ("GET", "/caf%C3%A9", "GET /{all+}", {"all": "café"}),
    ],
)
def test_the_route_of_a_request(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    routes = table("$default", "GET /{all+}", "GET /a/{x}", "ANY /a/b", "GET /a/b")
    if path == "/a/":
        routes = table("$default", "GET /a/{x}")
    found = routes.find(method, path)
    assert found is not None
    assert (found[0].key, found[1]) == (key, parameters)


def test_without_a_default_an_unknown_path_has_no_route() -> None:
    assert table("GET /a").find("GET", "/b") is None


# --- the template ------------------------------------------------------------------------------------------------


def template(**resources: Any) -> Template:
    body = {"Parameters": {"Size": {"Default": "10"}, "Bare": {}}, "Resources": resources}
    return Template(body, account="1", region="r")


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "AWS::Region"}, "r"),
        ({"Ref": "Size"}, "10"),
        ({"Ref": "Queue"}, "https://sqs.r.amazonaws.com/1/Queue"),
        ({"Ref": "Table"}, "named"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:aws:sqs:r:1:Queue"),
        ({"Fn::GetAtt": "Table.Arn"}, "arn:aws:dynamodb:r:1:table/named"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Size"}, "b"]]}, "a-10-b"),
        ({"Fn::Sub": "${AWS::Region}/${Table}/${Queue.Arn}/${!kept}"}, "r/named/arn:aws:sqs:r:1:Queue/${kept}"),
        ({"Fn::Sub": ["${x}", {"x": {"Ref": "Size"}}]}, "10"),
        ({"Fn::Select": [1, {"Fn::Split": [":", "a:b:c"]}]}, "b"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
    ],
)
def test_an_intrinsic_is_resolved(node: Any, value: Any) -> None:
    resources = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "named"}},
    }
    assert template(**resources).value(node) == value


@pytest.mark.parametrize(
    ("node", "named"),
    [
        ({"Ref": "Nobody"}, "Nobody"),
        ({"Ref": "Bare"}, "Bare"),
        ({"Ref": "Topic"}, "AWS::SNS::Topic"),
        ({"Fn::GetAtt": ["Topic", "TopicName"]}, "TopicName"),
        ({"Fn::ImportValue": "x"}, "Fn::ImportValue"),
        ({"Fn::GetAtt": ["Table", "StreamArn"]}, "StreamArn"),
    ],
)
def test_what_cannot_be_resolved_is_named(node: Any, named: str) -> None:
    resources = {"Topic": {"Type": "AWS::SNS::Topic"}, "Table": {"Type": "AWS::DynamoDB::Table"}}
    with pytest.raises(TemplateError, match=named):
        template(**resources).value(node)


def test_a_function_is_found_behind_its_alias() -> None:
    found = template(
        Main={"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "main"}},
        V1={"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Main"}}},
        Live={"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Main"}, "Name": "live"}},
    )
    assert found.value({"Ref": "Live"}) == "arn:aws:lambda:r:1:function:main:live"
    for node in ({"Ref": "Live"}, {"Ref": "V1"}, {"Fn::GetAtt": ["Main", "Arn"]}):
        assert found.function_of(node) == "main"
    with pytest.raises(TemplateError):
        found.function_of("arn:aws:sqs:r:1:Queue")


# --- throttles ---------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=20),
)
def test_a_bucket_lets_through_its_burst_and_then_its_rate(
    rate: int, burst: int, arrivals: list[tuple[float, int]]
) -> None:
    now = 0.0
    bucket = Bucket(rate, burst, clock=lambda: now)
    let_through = 0
    for wait, number in arrivals:
        now += wait
        before = let_through
        let_through += sum(bucket.take() for _ in range(number))
        # Never more at once than it holds, and never more in all than it held and has been given.
        assert let_through - before <= burst
        assert let_through <= burst + rate * now + 1e-6
    now += burst / rate + 1e-6
    assert [bucket.take() for _ in range(burst + 1)] == [True] * burst + [False]


# --- secrets and schedules ---------------------------------------------------------------------------------------


def test_a_secret_is_made_as_wished() -> None:
    plain = generated({"PasswordLength": 64, "ExcludePunctuation": True})
    assert len(plain) == 64
    assert plain.isalnum()
    assert generated({}) != generated({})
    wish = {"SecretStringTemplate": '{"user": "a"}', "GenerateStringKey": "password", "ExcludeCharacters": '"'}
    made = json.loads(generated(wish))
    assert made["user"] == "a"
    assert len(made["password"]) == 32


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("rate(1 minute)", 60),
        ("rate(5 minutes)", 300),
        ("rate(1 day)", 86_400),
        ("cron(* * * * ? *)", 60),
        ("cron(0/5 * * * ? *)", 300),
    ],
)
def test_a_schedules_interval(expression: str, seconds: float) -> None:
    assert interval(expression) == seconds


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(TemplateError, match="MON"):
        interval("cron(0 10 ? * MON *)")


class Busy:
    """A function that is busy for its first so many invocations."""

    def __init__(self, times: int) -> None:
        self.times, self.invoked = times, 0

    async def invoke(self, name: str, event: Any, *, wait: bool = True) -> None:
        assert not wait
        if self.times > 0:
            self.times -= 1
            raise Throttled(name)
        self.invoked += 1


@pytest.mark.parametrize(("busy", "patience_s", "invoked"), [(0, 60, 1), (2, 60, 1), (1000, 0.05, 0)])
def test_a_run_whose_function_is_busy_waits_as_long_as_its_event_may_be_old(
    busy: int, patience_s: float, invoked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "_FIRST_WAIT_S", 0.001)
    function = Busy(busy)
    schedule = schedules.Schedule("EveryMinute", "Sweep", 60, {}, patience_s)
    asyncio.run(asyncio.wait_for(schedules._once(schedule, cast(Functions, function)), 30))
    assert function.invoked == invoked


def test_a_functions_oldest_event_is_read_from_the_template() -> None:
    found = template(
        Sweep={"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "sweep"}},
        Async={
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": {"Ref": "Sweep"}, "MaximumEventAgeInSeconds": 60, "Qualifier": "$LATEST"},
        },
        Rule={
            "Type": "AWS::Events::Rule",
            "Properties": {
                "ScheduleExpression": "rate(1 minute)",
                "Targets": [{"Id": "T", "Arn": {"Fn::GetAtt": ["Sweep", "Arn"]}}],
            },
        },
    )
    assert [schedule.patience_s for schedule in schedules.schedules(found)] == [60]
