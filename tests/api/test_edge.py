"""Where CloudFront stands in front, nothing is taken that does not show its key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from order_engine.aws import secrets
from order_engine.engine.accounts import Ticket, new_key, sign_ticket
from order_engine.runtime import event_loop
from submit.authorizer import lambda_handler as authorize
from tests.support import cloud
from tests.support.clock import StandingClock
from tests.support.cloud import Resources, deployed, engine, new_engine, ticket_secret
from tests.support.events import Context
from tests.support.http import Reply, request

KEY, FORMER, NEXT = "current" * 7, "former" * 8, "next" * 12
EVERYTHING = [
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/web/app.js"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("HEAD", "/health"),
    ("GET", "/nothing"),
    ("GET", "/api/orders"),
    ("GET", "/oidc/api/orders"),
    ("POST", "/api/orders/execute"),
    ("POST", "/api/stream-tickets"),
    ("DELETE", "/api/orders/one"),
]


class Time:
    """The monotonic clock of the kept secret."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    standing = Time()
    monkeypatch.setattr(secrets, "time", standing)
    return standing


@pytest.fixture
def edge(clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resources]:
    """A deployment behind CloudFront, whose key was rotated once."""
    with deployed() as made:
        arn = boto3.client("secretsmanager").create_secret(Name="origin", SecretString=FORMER)["ARN"]
        boto3.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=KEY)
        os.environ["ORIGIN_KEY_ARN"] = arn
        monkeypatch.setattr(cloud, "_engine", new_engine())
        yield made


def ask(method: str, path: str, shown: str | None, **more: Any) -> Reply:
    return request(method, path, headers={} if shown is None else {"x-origin-key": shown}, **more)


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_nothing_is_answered_without_the_key(edge: Resources, method: str, path: str) -> None:
    for shown in (None, "", "wrong", KEY[:-1], f"{KEY} {KEY}", KEY.upper(), "kéy" * 16):
        reply = ask(method, path, shown)
        assert reply.status == 403, shown
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.json is None if method == "HEAD" else reply.json["code"] == "edge_required"
        assert KEY not in reply.text


@pytest.mark.parametrize("shown", [KEY, FORMER])
def test_with_the_key_everything_is_as_ever(edge: Resources, shown: str) -> None:
    for method, path in EVERYTHING:
        assert ask(method, path, shown).status != 403, path
    assert ask("GET", "/health", shown).json["status"] == "ok"
    body = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
    assert ask("POST", "/api/orders/execute", shown, body=body).status == 202


def test_where_nothing_stands_in_front_nothing_is_asked_for(clock: StandingClock) -> None:
    with deployed():
        for shown in (None, "anything"):
            assert ask("GET", "/health", shown).status == 200
        assert engine().stores.origin_keys is None


def test_a_rotation_is_seen_without_a_refusal_and_the_one_before_ends(edge: Resources, time: Time) -> None:
    assert ask("GET", "/health", KEY).status == 200
    boto3.client("secretsmanager").put_secret_value(SecretId=os.environ["ORIGIN_KEY_ARN"], SecretString=NEXT)
    assert ask("GET", "/health", KEY).status == 200
    time.now += 11
    # CloudFront shows the new one the moment that it was deployed.
    assert [ask("GET", "/health", shown).status for shown in (NEXT, KEY, FORMER)] == [200, 200, 403]


def test_what_strangers_make_up_does_not_become_calls(
    edge: Resources, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = secrets.RotatedSecret._version

    async def counted(self: secrets.RotatedSecret, stage: str) -> str | None:
        asked.append(stage)
        return await read(self, stage)

    monkeypatch.setattr(secrets.RotatedSecret, "_version", counted)
    for _ in range(100):
        assert ask("GET", "/", "made up").status == 403
    assert len(asked) == 2
    time.now += 11
    for _ in range(100):
        assert ask("GET", "/", "made up").status == 403
    assert len(asked) == 4


def test_it_stays_closed_where_the_key_cannot_be_read(edge: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    def out(**_: object) -> None:
        raise ClientError({"Error": {"Code": "InternalServiceError"}}, "GetSecretValue")

    monkeypatch.setattr(engine().stores.clients.secrets, "get_secret_value", out)
    reply = ask("GET", "/health", KEY)
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert ask("GET", "/health", None).status == 403


# --- the authorizers -----------------------------------------------------------------------------------------------


def _key(now: int) -> str:
    key, stored = new_key("alice", now)
    event_loop().run_until_complete(engine().stores.keys.add_key(stored))
    return key


def _http(headers: dict[str, str]) -> str:
    answer = authorize.over(engine())({"version": "2.0", "headers": headers}, Context())
    assert answer["isAuthorized"] is True
    return str(answer["context"]["userId"])


def _socket(headers: dict[str, str], query: dict[str, str] | None = None) -> str:
    event = {"methodArn": "arn:aws:execute-api:us-east-1:000000000000:ws/live/$connect", "headers": headers}
    answer = authorize.over(engine())({**event, "queryStringParameters": query}, Context())
    return str(answer["policyDocument"]["Statement"][0]["Effect"])


def test_the_authorizers_know_nobody_without_the_key(edge: Resources, clock: StandingClock) -> None:
    bearer = {"Authorization": f"Bearer {_key(clock.now)}"}
    ticket = sign_ticket(Ticket("alice", None, clock.now + 60_000, "k1", None, None), ticket_secret())
    for shown in ({}, {"X-Origin-Key": "wrong"}, {"x-origin-key": ""}, {"x-origin-key": "\ud800"}):
        assert _http(bearer | shown) == ""
        assert _socket(bearer | shown) == "Deny"
        assert _socket(shown, {"ticket": ticket}) == "Deny"
    for shown in ({"X-Origin-Key": KEY}, {"x-origin-key": FORMER}):
        assert _http(bearer | shown) == "alice"
        assert _socket(bearer | shown) == "Allow"
        assert _socket(shown, {"ticket": ticket}) == "Allow"
    assert _http({"x-origin-key": KEY}) == ""
    assert _socket({"x-origin-key": KEY}) == "Deny"


def test_the_key_is_in_no_log(edge: Resources, clock: StandingClock, caplog: pytest.LogCaptureFixture) -> None:
    bearer = {"Authorization": f"Bearer {_key(clock.now)}"}
    for shown in (KEY, "made-up-by-a-stranger"):
        ask("GET", "/health", shown)
        _http(bearer | {"x-origin-key": shown})
        _socket(bearer | {"x-origin-key": shown})
    said = caplog.text
    assert "edge_required" in said
    assert KEY not in said
    assert "made-up-by-a-stranger" not in said
