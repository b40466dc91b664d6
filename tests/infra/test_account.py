"""The account's own stack, and that no stage touches what is the account's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.account import STACK, build
from tests.infra.template import Stack


def synthesised(outdir: Path, role: str | None = None) -> dict[str, Any]:
    build(outdir, role).synth()
    template: dict[str, Any] = json.loads((outdir / f"{STACK}.template.json").read_text())["Resources"]
    return template


def test_a_role_is_made_that_api_gateway_accepts(tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"""
    resources = synthesised(tmp_path)
    kinds = {item["Type"]: (name, item["Properties"]) for name, item in resources.items()}
    name, role = kinds["AWS::IAM::Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert "AmazonAPIGatewayPushToCloudWatchLogs" in json.dumps(role["ManagedPolicyArns"])
    assert kinds["AWS::ApiGateway::Account"][1] == {"CloudWatchRoleArn": {"Fn::GetAtt": [name, "Arn"]}}


def test_a_given_role_is_taken_and_none_made(tmp_path: Path) -> None:
    resources = synthesised(tmp_path, "arn:aws:iam::111122223333:role/logs")
    assert [item["Type"] for item in resources.values() if item["Type"].startswith("AWS::IAM")] == []
    (account,) = [item for item in resources.values() if item["Type"] == "AWS::ApiGateway::Account"]
    assert account["Properties"] == {"CloudWatchRoleArn": "arn:aws:iam::111122223333:role/logs"}


def test_a_stage_leaves_the_accounts_role_alone(stack: Stack, prod: Stack) -> None:
    """It would overwrite another API's, and leave one behind with each removal."""
    for deployed in (stack, prod):
        assert deployed.of_type("AWS::ApiGateway::Account") == {}


def test_the_explanation_answers_a_finding(tmp_path: Path) -> None:
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    app = build(tmp_path)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    assert json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"] == []
