"""Least privilege, measured: what the functions call against what their roles allow.

The calls are recorded where boto3 would send them, over flows that use everything (tests/infra/flows.py), and held
against the policies (tests/infra/grants.py). A live stage has the same done to it in tests/infra/test_live.py.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

import pytest

from tests.infra.flows import Recorded, record
from tests.infra.grants import Grant, grants, handlers, refused, unused, wanted


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        yield record(patch)


@pytest.fixture(scope="module")
def granted(recorded: Recorded) -> list[Grant]:
    return sorted(grants(recorded.template))


def test_every_call_is_allowed(recorded: Recorded, granted: list[Grant]) -> None:
    assert refused(recorded, granted) == []


def test_every_grant_is_used(recorded: Recorded, granted: list[Grant]) -> None:
    assert unused(recorded, granted) == []


def test_every_key_pattern_of_a_grant_is_used(recorded: Recorded, granted: list[Grant]) -> None:
    calls = {triple for call in recorded.calls for triple in wanted(call)}

    idle = [
        (grant.function, grant.action, pattern)
        for grant in granted
        for pattern in grant.keys
        if not any(grant.covers(*call) and any(fnmatch.fnmatchcase(key, pattern) for key in call[3]) for call in calls)
    ]

    assert idle == []


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
