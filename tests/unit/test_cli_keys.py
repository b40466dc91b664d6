"""``order-engine keys``: what an operator sees of keys, and what is kept of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from cli import main, operate, terminal
from order_engine.aws.connections import DynamoConnections
from order_engine.aws.keys import DynamoKeyUse
from order_engine.engine.ports import Connection
from tests.support.cloud import deployed, resources, stored

runner = CliRunner()


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDER_ENGINE_STAGE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


def run(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(main.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def client() -> Any:
    return boto3.client("dynamodb", region_name="us-east-1")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A stage whose tables are in simulated services."""
    with deployed() as made:
        outputs = {
            "KeysTable": made.keys_table,
            "AccountsTable": made.accounts_table,
            "ConnectionsTable": made.connections_table,
            "WebSocketUrl": "wss://socket.example/live",
        }
        monkeypatch.setattr(operate.Place, "output", lambda place, name: outputs[name])
        yield "dev"


def test_a_key_is_created_shown_once_listed_and_revoked(stage: str) -> None:
    asked = ("alice", "--scope", "read", "--expires-in", "1d", "--max-sockets", "3", "--max-open-orders", "7")
    code, stdout, stderr = run("keys", "create", *asked, "--stage", stage)
    assert code == terminal.OK
    key = stdout.strip()
    assert key.startswith("oek_")
    assert "not shown again" in stderr

    _, stdout, _ = run("keys", "list", "--stage", stage, "--json")
    (listed,) = json.loads(stdout)
    assert (listed["userId"], listed["scopes"], listed["state"]) == ("alice", ["read"], "valid")
    assert (listed["maxSockets"], listed["maxOpenOrders"], listed["lastUsedAt"]) == (3, 7, None)
    assert key not in stdout
    assert key not in json.dumps(stored("keys"))

    assert run("keys", "revoke", listed["keyId"], "--stage", stage)[0] == terminal.OK
    _, stdout, _ = run("keys", "list", "--stage", stage)
    assert "revoked" in stdout
    assert run("keys", "revoke", "nothing", "--stage", stage)[0] == terminal.AWS_FAILED


def test_the_list_of_keys_says_who_did_what_and_when(stage: str) -> None:
    _, stdout, _ = run("keys", "create", "alice", "--stage", stage, "--json")
    key_id = json.loads(stdout)["keyId"]
    asyncio.run(DynamoKeyUse(client(), resources().accounts_table).note(key_id, 1_800_000_000_000))
    run("keys", "revoke", key_id, "--stage", stage)

    _, stdout, _ = run("keys", "list", "--stage", stage, "--json")
    (listed,) = json.loads(stdout)
    assert listed["createdBy"].startswith("arn:aws:sts::")
    assert listed["revokedBy"] == listed["createdBy"]
    assert listed["createdAt"] < listed["revokedAt"]
    assert listed["lastUsedAt"] == "2027-01-15T08:00:00.000Z"
    _, stdout, _ = run("keys", "list", "--stage", stage)
    assert "2027-01-15 08h" in stdout


def test_the_first_command_after_an_upgrade_moves_the_former_keys(stage: str) -> None:
    client().put_item(
        TableName=resources().accounts_table,
        Item={
            "pk": {"S": "key#" + "ab" * 32},
            "sk": {"S": "key"},
            "user_id": {"S": "alice"},
            "scopes": {"SS": ["read"]},
            "created_at": {"N": "1700000000000"},
        },
    )
    _, stdout, stderr = run("keys", "list", "--stage", stage, "--json")
    assert "Moved to the table of keys: abababababab of alice." in stderr
    assert [key["keyId"] for key in json.loads(stdout)] == ["ab" * 6]
    _, stdout, stderr = run("keys", "list", "--stage", stage, "--json")
    assert stderr == ""
    assert [key["keyId"] for key in json.loads(stdout)] == ["ab" * 6]


def test_keys_without_a_deployment_say_what_is_missing() -> None:
    code, _, stderr = run("keys", "list")
    assert code == terminal.USAGE
    assert "--stage" in stderr


def test_what_cannot_be_done_is_said(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("keys", "create", "bob", "--scope", "rule", "--stage", stage)[0] == terminal.USAGE
    monkeypatch.setattr(operate.Place, "output", lambda place, name: "no-such-table")
    assert run("keys", "list", "--stage", stage)[0] == terminal.AWS_FAILED


class Management:
    """The management API of the stage's sockets."""

    def __init__(self, *, denied: bool = False) -> None:
        self.denied = denied
        self.closed: list[str] = []

    def delete_connection(self, *, ConnectionId: str) -> None:  # noqa: N803 - as boto3 names it
        if self.denied:
            error: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(error, "DeleteConnection")
        self.closed.append(ConnectionId)
        if ConnectionId == "b":
            gone: Any = {"Error": {"Code": "GoneException", "Message": "gone"}}
            raise ClientError(gone, "DeleteConnection")


@pytest.mark.parametrize("denied", [False, True])
def test_a_revocation_ends_and_closes_the_keys_sockets(
    stage: str, monkeypatch: pytest.MonkeyPatch, denied: bool
) -> None:
    management, real, addresses = Management(denied=denied), operate.Place.client, list[str | None]()

    def of(place: operate.Place, service: str, endpoint: str | None = None) -> Any:
        if service != "apigatewaymanagementapi":
            return real(place, service, endpoint)
        addresses.append(endpoint)
        return management

    monkeypatch.setattr(operate.Place, "client", of)
    key_id = json.loads(run("keys", "create", "alice", "--stage", stage, "--json")[1])["keyId"]
    connections = DynamoConnections(client(), resources().connections_table)
    for name, key in (("a", key_id), ("b", key_id), ("c", "another")):
        asyncio.run(connections.add(Connection("alice", name, key_id=key), expires_at=2_000_000_000_000))

    code, stdout, _ = run("keys", "revoke", key_id, "--stage", stage)

    assert code == terminal.OK
    assert addresses == ["https://socket.example/live"]
    assert [one.connection_id for one in asyncio.run(connections.of_user("alice"))] == ["c"]
    found = asyncio.run(connections.ended(2_000_000_000_000, limit=9))
    assert {one.connection_id for one in found} == {"a", "b"}
    if denied:
        assert "0 of its 2 sockets closed; the others are closed within a minute" in stdout
    else:
        assert management.closed == ["a", "b"]
        assert "2 of its 2 sockets closed" in stdout
        assert "within" not in stdout
