"""The doctor sees what is wrong, says what to do, and calls nothing wrong that is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli import main, terminal
from cli.doctor.account import Account
from cli.doctor.finding import Finding, State, well
from cli.doctor.service import Service, clock
from cli.operate import NotFound, Place

ORIGIN = "https://desk.example"


# --- the service -----------------------------------------------------------------------------------------------------


def answering(**answers: httpx.Response) -> httpx.MockTransport:
    """An API by what it answers: ``health``, ``preflight``, ``read``, ``place``."""

    def handle(request: httpx.Request) -> httpx.Response:
        name = {"/health": "health", "/api/orders": "read", "/api/orders/execute": "place"}[request.url.path]
        if request.method == "OPTIONS":
            name = "preflight"
        found = answers.get(name, httpx.Response(200, json={"status": "ok", "orders": []}))
        found.headers.setdefault("Date", format_datetime(datetime.now(UTC), usegmt=True))
        return found

    return httpx.MockTransport(handle)


async def looks(
    transport: httpx.AsyncBaseTransport, *, origin: str | None = None, order: bool = False
) -> dict[str, Finding]:
    service = Service("http://engine.example", "oek_key", origin, order, transport)
    return {finding.about: finding async for finding in service.looks()}


def allowing(origin: str) -> httpx.Response:
    return httpx.Response(204, headers={"Access-Control-Allow-Origin": origin})


async def test_a_service_that_is_well() -> None:
    found = await looks(answering(preflight=allowing(ORIGIN)), origin=ORIGIN)
    assert {about: finding.state for about, finding in found.items()} == {
        "reachable": State.OK,
        "clock": State.OK,
        "cors": State.OK,
        "key": State.OK,
        "order": State.SKIPPED,
    }
    assert well(list(found.values()))


async def test_where_nothing_answers_nothing_else_is_looked_at() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    found = await looks(httpx.MockTransport(refuse))
    assert list(found) == ["reachable"]
    assert found["reachable"].state is State.WRONG
    assert "HttpUrl" in found["reachable"].remedy


@pytest.mark.parametrize(
    ("answers", "about", "says"),
    [
        ({"health": httpx.Response(500)}, "reachable", "500"),
        ({"preflight": httpx.Response(401)}, "cors", "no origin"),
        ({"preflight": allowing("https://another.example")}, "cors", "https://another.example"),
        ({"read": httpx.Response(401, json={})}, "key", "401"),
        ({"read": httpx.Response(403, json={})}, "key", "403"),
        ({"read": httpx.Response(429, json={})}, "key", "limit"),
        ({"read": httpx.Response(502, text="bad")}, "key", "502"),
        (
            {"place": httpx.Response(403, json={"code": "insufficient_scope", "detail": "No."})},
            "order",
            "insufficient_scope",
        ),
        ({"place": httpx.Response(422, json={"code": "no_route", "detail": "No."})}, "order", "no_route"),
    ],
)
async def test_what_is_wrong_is_said_with_what_to_do(answers: dict[str, httpx.Response], about: str, says: str) -> None:
    given = {"preflight": allowing(ORIGIN), **answers}
    found = await looks(answering(**given), origin=ORIGIN, order="place" in answers)
    assert found[about].state is State.WRONG
    assert says in found[about].seen
    assert found[about].remedy
    assert not well(list(found.values()))


@pytest.mark.parametrize(
    ("ahead_s", "state"), [(0, State.OK), (4, State.OK), (-4, State.OK), (7, State.WRONG), (-300, State.WRONG)]
)
def test_the_clock_is_compared_to_the_second(ahead_s: int, state: State) -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    found = clock({"Date": format_datetime(now, usegmt=True)}, (now + timedelta(seconds=ahead_s)).timestamp())
    assert found.state is state
    if state is State.WRONG:
        assert ("ahead" in found.seen) is (ahead_s > 0)


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
def test_a_service_that_does_not_tell_its_time_is_not_called_wrong(headers: dict[str, str]) -> None:
    assert clock(headers, 0).state is State.SKIPPED


# --- the account -----------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """A stage's resources, as far as the doctor asks for them."""

    waiting: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int | None] = field(default_factory=lambda: {"/one": 30, "/two": 30})
    concurrency: int = 1000
    alarms: dict[str, str] = field(default_factory=lambda: {"s-MonitoringOrderLatency1": "OK", "s-Other": "OK"})
    actions: list[str] = field(default_factory=lambda: ["arn:aws:sns:r:1:alarms"])
    subscriptions: list[str] = field(default_factory=lambda: ["arn:aws:sns:r:1:alarms:2"])
    history: list[str] = field(default_factory=lambda: ["Successfully executed action arn:aws:sns:r:1:alarms"])
    refused: set[str] = field(default_factory=set)
    raised: list[str] = field(default_factory=list)

    # The calls, by their names in boto3.

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:  # noqa: N803
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.waiting.get(QueueUrl, 0))}}

    def describe_log_groups(self, logGroupNamePrefix: str) -> Any:  # noqa: N803
        found = [name for name in ("/one", "/two", "/one-more") if name.startswith(logGroupNamePrefix)]
        known = [name for name in found if name in self.groups]
        return {
            "logGroups": [
                {"logGroupName": name, **({"retentionInDays": days} if (days := self.groups[name]) else {})}
                for name in known
            ]
        }

    def get_account_settings(self) -> Any:
        return {"AccountLimit": {"ConcurrentExecutions": self.concurrency}}

    def describe_alarms(self, AlarmNames: list[str]) -> Any:  # noqa: N803
        assert set(AlarmNames) == set(self.alarms)
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "StateValue": state,
                    "AlarmActions": self.actions,
                    "TreatMissingData": "missing" if "Sweeper" in name else "notBreaching",
                }
                for name, state in self.alarms.items()
            ]
        }

    def list_subscriptions_by_topic(self, TopicArn: str) -> Any:  # noqa: N803
        return {
            "Subscriptions": [{"Endpoint": "ops@example.com", "SubscriptionArn": arn} for arn in self.subscriptions]
        }

    def set_alarm_state(self, AlarmName: str, StateValue: str, StateReason: str) -> None:  # noqa: N803
        assert StateValue == "ALARM"
        assert "Nothing is wrong" in StateReason
        self.raised.append(AlarmName)

    def describe_alarm_history(self, AlarmName: str, **asked: Any) -> Any:  # noqa: N803
        old = {"Timestamp": datetime.now(UTC) - timedelta(hours=1), "HistorySummary": "Failed to execute action"}
        new = [{"Timestamp": datetime.now(UTC), "HistorySummary": summary} for summary in self.history]
        return {"AlarmHistoryItems": [*new, old]}


@dataclass(frozen=True, slots=True)
class FakePlace(Place):
    to: Stage = field(default_factory=Stage)

    def client(self, service: str, endpoint: str | None = None) -> Any:
        if service in self.to.refused:
            error: Any = {"Error": {"Code": "AccessDenied", "Message": f"no {service} for you"}}
            raise ClientError(error, "Anything")
        return self.to

    def queue(self, name: str) -> str:
        return f"{name}Queue"

    def resources(self, kind: str) -> list[str]:
        return {"AWS::Logs::LogGroup": ["/one", "/two"], "AWS::CloudWatch::Alarm": list(self.to.alarms)}[kind]


def examined(stage: Stage, *, alarm: bool = True, local: bool = False) -> dict[str, Finding]:
    place = FakePlace(None if local else "dev", "http://services" if local else None, None, stage)
    return {finding.about: finding for finding in Account(place, alarm, lambda seconds: None).looks()}


def test_a_stage_that_is_well_is_told_of_one_trial() -> None:
    stage = Stage()
    found = examined(stage)
    assert {finding.state for finding in found.values()} == {State.OK}
    assert set(found) == {"dead letters", "quarantine", "stream failures", "logs", "quota", "alarms", "mailbox"}
    assert stage.raised == ["s-MonitoringOrderLatency1"]


@pytest.mark.parametrize(
    ("change", "about", "state", "says"),
    [
        (lambda stage: stage.waiting.update(QuarantineQueue=3), "quarantine", State.WRONG, "3 messages"),
        (lambda stage: stage.waiting.update(DeadLettersQueue=1), "dead letters", State.WRONG, "1 message"),
        (lambda stage: stage.waiting.update(StreamFailuresQueue=1), "stream failures", State.WRONG, "1 message"),
        (lambda stage: stage.groups.pop("/one"), "logs", State.WRONG, "/one"),
        (lambda stage: stage.groups.update({"/two": None}), "logs", State.NOTE, "/two"),
        (lambda stage: setattr(stage, "concurrency", 10), "quota", State.NOTE, "10 functions"),
        (lambda stage: stage.alarms.update({"s-Other": "ALARM"}), "alarms", State.WRONG, "s-Other"),
        (lambda stage: stage.alarms.update({"s-Sweeper": "INSUFFICIENT_DATA"}), "alarms", State.WRONG, "s-Sweeper"),
        (lambda stage: stage.actions.clear(), "mailbox", State.NOTE, "Nobody"),
        (lambda stage: stage.subscriptions.clear(), "mailbox", State.WRONG, "not confirmed"),
        (lambda stage: stage.subscriptions.append("PendingConfirmation"), "mailbox", State.WRONG, "ops@example.com"),
        (lambda stage: stage.history.clear(), "mailbox", State.NOTE, "not said yet"),
        (lambda stage: setattr(stage, "history", ["Failed to execute action x"]), "mailbox", State.WRONG, "Failed"),
        (lambda stage: stage.refused.add("logs"), "logs", State.SKIPPED, "no logs for you"),
        (lambda stage: stage.refused.add("cloudwatch"), "mailbox", State.SKIPPED, "no cloudwatch for you"),
    ],
)
def test_each_trouble_of_a_stage_is_seen_alone(
    change: Callable[[Stage], object], about: str, state: State, says: str
) -> None:
    stage = Stage()
    change(stage)
    found = examined(stage)
    assert found[about].state is state
    assert says in found[about].seen
    assert found[about].remedy or state is State.SKIPPED
    others = {name: finding.state for name, finding in found.items() if name != about}
    assert {name for name, other in others.items() if other is State.WRONG} == set()


@pytest.mark.parametrize(("name", "state"), [("s-Other", "INSUFFICIENT_DATA"), ("s-MonitoringSweeperStopped", "OK")])
def test_most_alarms_have_no_data_until_something_happens(name: str, state: str) -> None:
    stage = Stage()
    stage.alarms[name] = state
    assert examined(stage)["alarms"].state is State.OK


def test_no_alarm_is_raised_where_none_is_wanted() -> None:
    stage = Stage()
    assert examined(stage, alarm=False)["mailbox"].state is State.SKIPPED
    assert stage.raised == []


def test_a_local_stack_has_queues_and_nothing_else_to_look_at() -> None:
    assert set(examined(Stage(), local=True)) == {"dead letters", "quarantine", "stream failures"}


def test_a_stage_of_a_former_release_without_an_output_is_told_to_be_deployed() -> None:
    def gone(name: str) -> str:
        raise NotFound(f"no output {name}Queue")

    class Former(FakePlace):
        queue = staticmethod(gone)

    def found() -> Iterator[Finding]:
        return Account(Former("dev", None, None, Stage()), False).looks()

    first = next(found())
    assert (first.about, first.state) == ("queues", State.WRONG)
    assert "Deploy" in first.remedy


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_ends_with_its_own_code_where_something_is_wrong() -> None:
    result = CliRunner().invoke(
        main.app, ["doctor", "--url", "http://127.0.0.1:9", "--json"], env={"AWS_ENDPOINT_URL": ""}
    )
    assert result.exit_code == terminal.UNWELL
    assert '"well": false' in result.stdout
    assert "Nothing answers" in result.stdout
