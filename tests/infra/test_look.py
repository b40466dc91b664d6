"""What is known of an account before it is deployed into."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra import adopt, look
from infra.adopt import Ambiguous, mapping, unlike
from infra.config import Config
from infra.look import Look, Unreachable
from tests.infra.template import Stack

PROD = Config.from_context({"stage": "prod"})
type Answer = dict[str, Any] | Exception


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Operation")


def backups(status: str) -> dict[str, Any]:
    recovery = {"PointInTimeRecoveryStatus": status}
    return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": recovery}}


class Aws:
    """Clients of an account in which there is nothing but what it is told to answer, by operation."""

    def __init__(self, **answers: Answer | Callable[..., Answer]) -> None:
        limits = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
        self.answers: dict[str, Answer | Callable[..., Answer]] = {
            "get_caller_identity": {"Account": "111122223333"},
            "describe_stacks": error("ValidationError"),
            "get_account_settings": {"AccountLimit": limits},
            "get_account": {},
            "get_resources": {"ResourceTagMappingList": []},
            # Every table as the stack makes them, with a stream and an end of items more than some need.
            "describe_table": {"Table": {"StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"}}},
            "describe_time_to_live": lambda TableName: {  # noqa: N803 - boto3's name
                "TimeToLiveDescription": {
                    "TimeToLiveStatus": "ENABLED",
                    "AttributeName": "expires_at" if "Connections" in TableName else "delete_at",
                }
            },
            "describe_continuous_backups": backups("ENABLED"),
            **answers,
        }

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        def call(**arguments: Any) -> dict[str, Any]:
            answer = self.answers[operation]
            found = answer(**arguments) if callable(answer) else answer
            if isinstance(found, Exception):
                raise found
            return found

        return call

    def get_paginator(self, operation: str) -> SimpleNamespace:
        return SimpleNamespace(paginate=lambda **arguments: [getattr(self, operation)(**arguments)])


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Look]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def make(**answers: Answer | Callable[..., Answer]) -> Look:
        account = Aws(**answers)
        monkeypatch.setattr(Look, "client", lambda self, service: account)
        return Look(None)

    return make


def tables(*found: tuple[str, str | None, str]) -> Callable[..., Answer]:
    """Tables with the tags of a stage: name, part (None for no such tag), stage."""

    def get_resources(TagFilters: Any, ResourceTypeFilters: Any) -> Answer:  # noqa: N803 - boto3's names
        assert ResourceTypeFilters == ["dynamodb:table"]
        wanted = {item["Key"]: item["Values"] for item in TagFilters}
        assert wanted["application"] == ["order-engine"]
        return {
            "ResourceTagMappingList": [
                {
                    "ResourceARN": f"arn:aws:dynamodb:eu-central-1:111122223333:table/{name}",
                    "Tags": [{"Key": "part", "Value": part}] if part else [],
                }
                for name, part, stage in found
                if wanted["stage"] == [stage]
            ]
        }

    return get_resources


def test_a_fresh_account_is_seen_as_it_is(aws: Callable[..., Look]) -> None:
    facts = aws().facts(PROD)
    assert (facts.account, facts.region, facts.stack_status, facts.first) == ("111122223333", "eu-central-1", "", True)
    assert (facts.concurrency, facts.unreserved, facts.reserved_here) == (10, 10, 0)
    assert facts.log_role == ""
    assert list(facts.kept_tables) == []


def test_what_may_not_be_looked_at_is_unknown_and_not_an_error(aws: Callable[..., Look]) -> None:
    no = error("AccessDeniedException")
    facts = aws(get_account_settings=no, get_account=no, get_resources=no, describe_stacks=no).facts(PROD)
    assert (facts.concurrency, facts.unreserved, facts.log_role, facts.stack_status) == (None, None, None, None)
    assert not facts.first


def test_without_credentials_or_region_it_is_said_that_aws_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Unreachable):
        Look("eu-central-1")


def test_what_a_deployed_stage_reserves_is_counted(aws: Callable[..., Look]) -> None:
    parts = [("AWS::Lambda::Function", "process"), ("AWS::SQS::Queue", "orders"), ("AWS::Lambda::Function", "sweep")]
    summaries = [{"ResourceType": kind, "PhysicalResourceId": name} for kind, name in parts]
    reserved = {"process": {"ReservedConcurrentExecutions": 10}, "sweep": {"ReservedConcurrentExecutions": 1}}
    facts = aws(
        describe_stacks={"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "EnableTerminationProtection": True}]},
        list_stack_resources={"StackResourceSummaries": summaries},
        get_function_concurrency=lambda FunctionName: reserved.get(FunctionName, {}),  # noqa: N803 - boto3's name
    ).facts(PROD)
    assert (facts.stack_status, facts.protected, facts.first) == ("UPDATE_COMPLETE", True, False)
    assert facts.reserved_here == 11


def test_tables_that_a_stage_has_left_are_found_by_their_tags(aws: Callable[..., Look]) -> None:
    found = tables(("prod-orders", "Orders", "prod"), ("dev-orders", "Orders", "dev"), ("other", None, "prod"))
    assert list(aws(get_resources=found).kept_tables("prod")) == [("prod-orders", "Orders")]
    assert aws(get_resources=found).facts(PROD).kept_tables == ["prod-orders"]


def test_the_tags_are_those_that_the_stack_gives_its_tables(prod: Stack) -> None:
    for name, item in prod.of_type("AWS::DynamoDB::Table").items():
        tags = {tag["Key"]: tag["Value"] for tag in item["Properties"]["Tags"]}
        assert (tags["application"], tags["stage"]) == ("order-engine", "prod")
        assert name.startswith("Storage" + tags["part"])


# --- taking tables over --------------------------------------------------------------------------------------------


def test_each_table_of_the_stack_is_made_of_the_one_that_was_its_part(prod: Stack) -> None:
    parts = {"Orders", "Connections", "Accounts", "Keys"}
    chosen = mapping(prod.content, [(f"old-{part}", part) for part in parts])
    tables = prod.of_type("AWS::DynamoDB::Table")
    assert set(chosen) == set(tables)
    for logical_id, name in chosen.items():
        assert logical_id.startswith("Storage" + name["TableName"].removeprefix("old-"))


@pytest.mark.parametrize("found", [[], [("a", "Orders"), ("b", "Orders")]])
def test_a_part_with_no_table_or_with_two_must_be_named(prod: Stack, found: list[tuple[str, str]]) -> None:
    others = [(f"old-{part}", part) for part in ("Connections", "Accounts", "Keys")]
    with pytest.raises(Ambiguous, match="one table Orders"):
        mapping(prod.content, [*found, *others])


def test_tables_are_imported_into_a_stack_that_is_not_there(
    aws: Callable[..., Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(*arguments: str) -> int:
        asked.extend(arguments)
        return 0

    monkeypatch.setattr(adopt, "cdk", run)
    others = [(f"old-{part}", part, "prod") for part in ("Connections", "Accounts", "Keys")]
    aws(get_resources=tables(*others))
    assert adopt.main(["prod"]) == 1  # no orders
    two = tables(*others, ("old-orders", "Orders", "prod"), ("older-orders", "Orders", "prod"))
    aws(get_resources=two)
    assert adopt.main(["prod"]) == 1  # two of them
    assert asked == []
    assert adopt.main(["prod", "--table", "Orders=old-orders"]) == 0
    assert asked[:3] == ["import", "order-engine-prod", "--resource-mapping"]
    names = {entry["TableName"] for entry in json.loads(Path(asked[3]).read_text()).values()}
    assert names == {"old-orders", "old-Connections", "old-Accounts", "old-Keys"}
    # CloudFormation takes the template's word for what a table is like, and changes later only what differs from it:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    # Imported as protected, a table whose protection was switched off would never be protected again.
    assert asked[-2:] == ["-c", "protect=false"]
    aws(get_resources=two, describe_stacks={"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]})
    assert adopt.main(["prod", "--table", "Orders=old-orders"]) == 1


def test_what_a_restored_table_lacks_is_said_before_it_is_imported(
    aws: Callable[..., Look], prod: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A restore leaves out stream, TTL and point-in-time recovery, and an import changes nothing of a table.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_RestoreTableToPointInTime.html
    """
    monkeypatch.setattr(adopt, "cdk", lambda *_: pytest.fail("imported"))
    parts = ("Orders", "Connections", "Accounts", "Keys")
    restored: dict[str, Any] = {
        "get_resources": tables(*((f"new-{part}", part, "prod") for part in parts)),
        "describe_table": {"Table": {}},
        "describe_time_to_live": {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
        "describe_continuous_backups": backups("DISABLED"),
    }
    look = aws(**restored)
    assert adopt.main(["prod"]) == 1
    said = capsys.readouterr().err
    assert "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES" in said
    wanted = mapping(prod.content, [(f"new-{part}", part) for part in parts])
    remedies = unlike(prod.content, wanted, look.client("dynamodb"))
    told = sorted((text.split()[2], text.split()[4]) for text in remedies)
    assert told == [
        *(("update-continuous-backups", f"new-{part}") for part in sorted(parts)),
        ("update-table", "new-Orders"),
        ("update-time-to-live", "new-Connections"),
        ("update-time-to-live", "new-Orders"),
    ]
    assert unlike(prod.content, wanted, aws().client("dynamodb")) == []


# --- an issuer's discovery document --------------------------------------------------------------------------------


@contextmanager
def issuer(body: str, status: int = 200) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/.well-known/openid-configuration" else 404)
            self.end_headers()
            self.wfile.write(body.replace("ISSUER", f"https://{self.headers['Host']}").encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ('{"issuer": "ISSUER", "jwks_uri": "https://x/keys"}', 200, ""),
        ('{"issuer": "https://other", "jwks_uri": "https://x/keys"}', 200, "names another issuer"),
        ('{"issuer": "ISSUER"}', 200, "no keys"),
        ("not json", 200, "Expecting value"),
        ("[]", 200, "names another issuer"),
        ("{}", 503, "503"),
    ],
)
def test_a_discovery_document_is_read_as_api_gateway_will(
    body: str, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = urllib.request.urlopen
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda url, timeout: real(url.replace("https", "http"), timeout=timeout)
    )
    with issuer(body, status) as address:
        problem = look.issuer_problem(f"https://{address}")
    assert says in problem
    assert bool(problem) == bool(says)


def test_an_issuer_that_does_not_answer_or_is_no_https_is_a_problem() -> None:
    assert "refused" in look.issuer_problem("https://127.0.0.1:1")
    assert "not https" in look.issuer_problem("http://127.0.0.1:1")
