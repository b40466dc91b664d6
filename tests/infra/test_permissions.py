"""Least privilege, measured: what the functions call against what their roles allow.

The calls are recorded where boto3 would send them, over flows that use everything (tests/infra/flows.py). The
policies are those of the synthesised template, evaluated here as IAM does: an action, a resource and the partition keys
of the items that are named must match one Allow statement, and no Deny.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from bench.account import Call
from local.cloud.template import Function, Template, functions
from tests.infra.flows import Recorded, record

# What the Lambda service does under a function's role, without any call of ours. For event sources see
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions and
# https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html#events-dynamodb-permissions
_EVERY_FUNCTION = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
_QUEUE_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
_STREAM_SOURCE = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}

type Wanted = tuple[str, str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one resource, as a function's role allows it.

    Attributes:
        keys: patterns of the only partition keys that it is for; empty for all.
    """

    function: str
    action: str
    resource: str
    keys: tuple[str, ...] = ()

    def covers(self, function: str, action: str, resource: str, keys: tuple[str, ...] = ()) -> bool:
        return (
            function == self.function
            and fnmatch.fnmatchcase(action.lower(), self.action.lower())
            and fnmatch.fnmatchcase(resource, self.resource)
            and (not self.keys or self._names_only(keys))
        )

    def _names_only(self, keys: tuple[str, ...]) -> bool:
        # A call that names no key is not for a grant that is bound to some.
        return bool(keys) and all(any(fnmatch.fnmatchcase(key, wanted) for wanted in self.keys) for key in keys)


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        yield record(patch)


@pytest.fixture(scope="module")
def granted(recorded: Recorded) -> list[Grant]:
    return sorted(grants(recorded.template))


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def handlers(template: Template) -> dict[str, tuple[Function, str]]:
    """Handler module to the function and its role's logical id."""
    by_name = {function.name: function for function in functions(template)}
    found = {}
    for resource in template.of_type("AWS::Lambda::Function"):
        function = by_name[template.name(resource)]
        role, _ = resource.properties["Role"]["Fn::GetAtt"]
        found[function.handler.rpartition(".")[0]] = (function, role)
    return found


def grants(template: Template) -> Iterator[Grant]:
    roles = {role: handler for handler, (_, role) in handlers(template).items()}
    for policy in template.of_type("AWS::IAM::Policy"):
        names = [reference["Ref"] for reference in policy.properties["Roles"]]
        for statement in template.value(policy.properties["PolicyDocument"])["Statement"]:
            # Not used; one that came would have to be evaluated here.
            assert statement["Effect"] == "Allow"
            keys = _leading_keys(statement.get("Condition", {}))
            for role in set(names) & set(roles):
                for action in _listed(statement["Action"]):
                    for resource in _listed(statement["Resource"]):
                        yield Grant(roles[role], action, resource, keys)


def _leading_keys(condition: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """The one condition that is used and evaluated here: which partition keys a call may name."""
    if not condition:
        return ()
    assert set(condition) == {"ForAllValues:StringLike"}
    [(name, patterns)] = condition["ForAllValues:StringLike"].items()
    assert name == "dynamodb:LeadingKeys"
    return tuple(_listed(patterns))


def by_the_platform(grant: Grant, template: Template) -> bool:
    """Whether the Lambda service itself needs a grant, for this function's log, trace or event source."""
    if grant.action in _EVERY_FUNCTION:
        return True
    function, _ = handlers(template)[grant.function]
    for mapping in template.of_type("AWS::Lambda::EventSourceMapping"):
        properties = template.properties(mapping)
        source = properties["EventSourceArn"]
        if properties["FunctionName"] != function.name:
            continue
        if ":sqs:" in source and grant.action in _QUEUE_SOURCE and grant.resource == source:
            return True
        if ":sqs:" not in source and grant.action in _STREAM_SOURCE and grant.resource in (source, "*"):
            return True
    return False


def wanted(call: Call) -> Iterator[Wanted]:
    for resource in call.resources:
        yield call.function, call.action, resource, call.leading_keys


def test_every_call_is_allowed(recorded: Recorded, granted: list[Grant]) -> None:
    calls = {triple for call in recorded.calls for triple in wanted(call)}

    refused = [call for call in sorted(calls) if not any(grant.covers(*call) for grant in granted)]

    assert refused == []


def test_every_grant_is_used(recorded: Recorded, granted: list[Grant]) -> None:
    calls = {triple for call in recorded.calls for triple in wanted(call)}

    unused = [
        grant
        for grant in granted
        if not by_the_platform(grant, recorded.template) and not any(grant.covers(*call) for call in calls)
    ]

    assert unused == []


def test_every_key_pattern_of_a_grant_is_used(recorded: Recorded, granted: list[Grant]) -> None:
    calls = {triple for call in recorded.calls for triple in wanted(call)}

    unused = [
        (grant.function, grant.action, pattern)
        for grant in granted
        for pattern in grant.keys
        if not any(grant.covers(*call) and any(fnmatch.fnmatchcase(key, pattern) for key in call[3]) for call in calls)
    ]

    assert unused == []


def test_credentials_are_read_by_the_authorizer_and_written_by_nobody(recorded: Recorded, granted: list[Grant]) -> None:
    """Whoever takes over a function can make no key, lift no revocation and read no list of keys."""
    tables = {
        table.logical_id: recorded.template.value({"Fn::GetAtt": [table.logical_id, "Arn"]})
        for table in recorded.template.of_type("AWS::DynamoDB::Table")
    }
    (keys,) = (arn for name, arn in tables.items() if name.startswith("StorageKeys"))
    (accounts,) = (arn for name, arn in tables.items() if name.startswith("StorageAccounts"))
    actions = [f"dynamodb:{verb}Item" for verb in ("Put", "Update", "Delete", "BatchWrite", "Get", "BatchGet")]
    actions += ["dynamodb:Query", "dynamodb:Scan", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"]
    a_key = "key#" + "0" * 64

    def may(resource: str, *named: str) -> set[tuple[str, str]]:
        return {
            (function, action)
            for function in handlers(recorded.template)
            for action in actions
            if any(grant.covers(function, action, resource, named) for grant in granted)
        }

    assert may(keys, "0" * 64) == {("submit.authorizer", "dynamodb:GetItem")}
    assert may(keys) <= {("submit.authorizer", "dynamodb:GetItem")}
    # Where version 0.1 kept its keys, and an upgraded stage may still have some.
    assert may(accounts, a_key) == {("submit.authorizer", "dynamodb:GetItem")}
    assert may(accounts) == set()
    # And none may touch what is another's there.
    counting = {(function, "dynamodb:UpdateItem") for function in ("submit.handler", "notify.socket")}
    assert may(accounts, "rate#alice") == counting
    assert may(accounts, "stats#alice") == {
        ("submit.handler", "dynamodb:Query"),
        ("notify.handler", "dynamodb:UpdateItem"),
    }
    assert may(accounts, "rate#alice", a_key) == set()


def test_every_function_was_seen_at_work(recorded: Recorded) -> None:
    assert {call.function for call in recorded.calls} == set(handlers(recorded.template))


def test_no_action_is_a_pattern_and_no_resource_is_everything_without_need(granted: list[Grant]) -> None:
    assert [grant for grant in granted if "*" in grant.action] == []
    # X-Ray has no resources, and a stream cannot be listed by name.
    assert {grant.action for grant in granted if grant.resource == "*"} == {
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "dynamodb:ListStreams",
    }


def test_a_call_outside_a_role_would_be_noticed(granted: list[Grant]) -> None:
    orders = next(g.resource for g in granted if g.function == "process.handler" and g.action == "dynamodb:GetItem")

    assert any(grant.covers("process.handler", "dynamodb:GetItem", orders) for grant in granted)
    for call in (
        ("process.handler", "dynamodb:DeleteItem", orders),
        ("process.handler", "dynamodb:GetItem", orders + "s"),
        ("notify.handler", "dynamodb:GetItem", orders),
    ):
        assert not any(grant.covers(*call) for grant in granted)


def test_no_secret_is_written_to_a_log(recorded: Recorded) -> None:
    kinds = {name.split(" of ")[0].rstrip("0123456789 ") for name in recorded.secrets}
    assert kinds == {"API key", "unknown API key", "ticket", "ticket for all", "ticket key", "signed transaction"}
    assert all(len(secret) >= 16 for secret in recorded.secrets.values())
    # The log was really caught: it tells of orders and carries the metrics.
    assert recorded.log.count('"status":"confirmed"') >= 2
    assert '"_aws"' in recorded.log

    found = [name for name, secret in recorded.secrets.items() if secret in recorded.log]

    assert found == []
