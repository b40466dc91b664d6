"""What would stop a deployment half-way is said before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import bootstrap, deploy
from infra.config import Config
from infra.preflight import UNRESERVABLE, Facts, check
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack

# An account in which nothing stands in the way of a first deployment.
READY = Facts(
    "111122223333", "eu-central-1", concurrency=1000, unreserved=1000, log_role="arn:aws:iam::1:role/x", stack_status=""
)
DEV, PROD = Config.from_context({}), Config.from_context({"stage": "prod", "alarmEmail": "ops@example.com"})
SMALL = Config.from_context({"reservedConcurrency": "none"})


def stops(config: Config, facts: Facts, **options: bool) -> list[str]:
    return [finding.what for finding in check(config, facts, **options) if finding.stops]


def test_a_fresh_account_with_room_is_ready() -> None:
    assert check(DEV, READY) == []
    assert check(PROD, READY) == []


def test_what_could_not_be_looked_at_stops_nothing() -> None:
    assert check(DEV, Facts("1", "eu-central-1")) == []


@pytest.mark.parametrize("limit", [10, 50, 100, 110])
def test_an_account_with_little_concurrency_is_told_what_to_do(limit: int) -> None:
    """New accounts start with ten: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    (finding,) = check(DEV, replace(READY, concurrency=limit, unreserved=limit))
    assert finding.stops
    assert "reserves 11" in finding.what
    assert "reservedConcurrency=none" in finding.remedy
    assert "request-service-quota-increase --service-code lambda" in finding.remedy
    assert stops(SMALL, replace(READY, concurrency=limit, unreserved=limit)) == []


@given(st.integers(10, 3000), st.integers(0, 3000), st.integers(2, 1000))
def test_what_is_let_through_leaves_what_aws_keeps_free(limit: int, elsewhere: int, reserved: int) -> None:
    config = Config.from_context({"reservedConcurrency": reserved})
    unreserved = max(0, limit - elsewhere)
    if not stops(config, replace(READY, concurrency=limit, unreserved=unreserved)):
        assert unreserved - config.reserved_in_all >= UNRESERVABLE


def test_what_the_stage_has_reserved_already_is_not_asked_for_twice() -> None:
    deployed = replace(READY, stack_status="UPDATE_COMPLETE", concurrency=111, unreserved=100, reserved_here=11)
    assert check(DEV, deployed) == []
    assert stops(replace(DEV, reserved=20), deployed) != []


def test_what_is_asked_of_the_account_is_what_the_template_reserves(
    stack: Stack, prod: Stack, synthesise: Synthesise
) -> None:
    for deployed, config in (
        (stack, DEV),
        (prod, SMALL),
        (synthesise(reservedConcurrency="25", batchSize="3"), Config.from_context({"reservedConcurrency": 25})),
    ):
        reserved = sum(
            item["Properties"].get("ReservedConcurrentExecutions", 0)
            for item in deployed.of_type("AWS::Lambda::Function").values()
        )
        assert reserved == config.reserved_in_all


def test_without_a_role_for_logs_a_stage_would_fail() -> None:
    (finding,) = check(DEV, replace(READY, log_role=""))
    assert finding.stops
    assert "make bootstrap" in finding.remedy


@pytest.mark.parametrize(
    ("status", "protected", "says"),
    [
        ("ROLLBACK_COMPLETE", True, "--no-enable-termination-protection"),
        ("ROLLBACK_COMPLETE", False, None),
        ("REVIEW_IN_PROGRESS", False, None),
        ("UPDATE_IN_PROGRESS", False, "Wait"),
        ("DELETE_IN_PROGRESS", False, "Wait"),
        ("UPDATE_ROLLBACK_FAILED", True, "continue-update-rollback"),
        ("DELETE_FAILED", False, "delete-stack"),
        ("CREATE_COMPLETE", True, None),
        ("UPDATE_ROLLBACK_COMPLETE", True, None),
    ],
)
def test_a_stack_that_cannot_be_deployed_onto_is_named_with_its_remedy(
    status: str, protected: bool, says: str | None
) -> None:
    findings = check(PROD, replace(READY, stack_status=status, protected=protected))
    assert [finding.stops for finding in findings] == ([True] if says else [])
    assert all(says is not None and says in finding.remedy for finding in findings)


def test_tables_of_a_former_stack_are_not_passed_over_in_silence() -> None:
    facts = replace(READY, kept_tables=("a", "b"))
    (finding,) = check(PROD, facts)
    assert finding.stops
    assert "make adopt STAGE=prod" in finding.remedy
    assert stops(PROD, facts, fresh=True) == []


def test_an_issuer_that_cannot_be_read_stops_what_api_gateway_would_refuse() -> None:
    config = Config.from_context({"oidcIssuer": "https://id.example.com", "oidcAudience": "x"})
    assert stops(config, replace(READY, issuer_problem="no answer")) != []
    assert stops(DEV, replace(READY, issuer_problem="no answer")) == []


def test_a_key_of_another_region_stops_what_would_fail_half_way() -> None:
    key = "arn:aws:kms:{}:111122223333:key/0f0e0d0c-1111-2222-3333-444455556666"
    here, elsewhere = (Config.from_context({"kmsKey": key.format(region)}) for region in (READY.region, "us-west-2"))
    assert stops(here, READY) == []
    [finding] = stops(elsewhere, READY)
    assert "us-west-2" in finding
    assert READY.region in finding


# --- deploying and bootstrapping -----------------------------------------------------------------------------------


class Runs:
    """A command line that notes what it is asked, and ends with these codes."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.asked: list[list[str]] = []

    def __call__(self, *arguments: str) -> int:
        self.asked.append(list(arguments))
        return self.codes.pop(0) if self.codes else 0


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_a_first_deployment_is_protected_once_it_holds() -> None:
    """Protected from the start, one that fails could be neither rolled back nor deployed again."""
    run = Runs()
    assert deploy.deploy(PROD, READY, ["-c", "alarmEmail=ops@example.com"], run) == 0
    first, second = run.asked
    assert first[-2:] == ["-c", "protect=false"]
    assert "protect=false" not in second
    failing = Runs(1)
    assert deploy.deploy(PROD, READY, [], failing) == 1
    assert len(failing.asked) == 1


@pytest.mark.parametrize(
    ("config", "status"), [(PROD, "UPDATE_COMPLETE"), (DEV, ""), (replace(PROD, protect=False), "")]
)
def test_every_other_deployment_is_one(config: Config, status: str) -> None:
    run = Runs()
    deploy.deploy(config, replace(READY, stack_status=status), [], run)
    assert len(run.asked) == 1
    assert "protect=false" not in run.asked[0]


def test_whoever_can_answer_is_asked_before_permissions_widen(monkeypatch: pytest.MonkeyPatch) -> None:
    for ci, expected in (("", "broadening"), ("true", "never")):
        monkeypatch.setenv("CI", ci)
        run = Runs()
        deploy.deploy(DEV, READY, [], run)
        assert option(run.asked[0], "--require-approval") == expected


def test_an_account_with_a_role_for_logs_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = Runs()
    assert bootstrap.allow_logs("arn:aws:iam::1:role/theirs", "", [], run) == 0
    assert run.asked == []
    assert "left as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("known", "given", "role"),
    [("", "", None), ("", "arn:mine", "arn:mine"), ("arn:theirs", "arn:mine", "arn:mine")],
)
def test_a_role_is_made_where_there_is_none_and_set_where_one_is_given(
    known: str, given: str, role: str | None
) -> None:
    run = Runs()
    bootstrap.allow_logs(known, given, ["--ci"], run)
    (asked,) = run.asked
    assert asked[:2] == ["deploy", "order-engine-account"]
    assert option(asked, "--app").endswith("-m infra.account")
    assert (f"apiLogRole={role}" in asked) == (role is not None)
    assert asked[-1] == "--ci"


def test_wrong_context_ends_before_aws_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["dev", "-c", "batchSize=99"]) == 1
    assert deploy.main(["dev", "-c", "batchSize"]) == 1
    assert bootstrap.main(["UP"]) == 1
    said = capsys.readouterr().err
    assert "batchSize must be" in said
    assert "NAME=VALUE" in said
    assert "stage must be" in said
