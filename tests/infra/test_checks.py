"""What outside judges say of the template: cfn-lint and cdk-nag."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.tree import ROOT
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack

EVERYTHING = {
    "bundle": False,
    "oidcIssuer": "https://id.example.com/",
    "oidcAudience": "order-engine",
    "alarmEmail": "ops@example.com",
    "corsOrigins": "https://desk.example.com",
    "edge": "true",
}


def test_cfn_lint_has_nothing_to_say(stack: Stack, prod: Stack, synthesise: Synthesise) -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    configuration = ["--config-file", str(ROOT / "infra" / "cfnlint.yaml")]
    # All at once: reading its rules takes the linter longer than a template does.
    command = [str(linter), *configuration, "--"]
    command += [str(one.path) for one in (stack, prod, synthesise(edge="true"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_cdk_nag_finds_nothing_that_is_not_explained(stage: str, tmp_path: Path) -> None:
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.app import build

    app, _ = build({**EVERYTHING, "stage": stage}, tmp_path)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()  # fails with the findings; the next test shows that it does
    assert json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"] == []


def test_every_explanation_answers_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement that nothing needs any more would hide the next mistake."""
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks
    from constructs import IConstruct

    from infra import app as infra_app
    from infra import edge, http_api, python_function, queues, storage, websocket_api, workers

    explained: set[tuple[str, str]] = set()

    def note(construct: IConstruct, rule: str, reason: str) -> None:
        assert len(reason) > 20
        if rule.startswith("AwsSolutions-"):
            explained.add((construct.node.path, rule))

    for module in (edge, http_api, python_function, queues, storage, websocket_api, workers):
        monkeypatch.setattr(module, "acknowledge", note)
    app, _ = infra_app.build({**EVERYTHING, "stage": "dev"}, tmp_path)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(Exception, match="Acknowledge with"):
        app.synth()
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    found = {
        (construct["constructPath"], violation["ruleName"])
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    }
    unneeded = {
        (path, rule)
        for path, rule in explained
        if not any(rule == finding and place.startswith(path) for place, finding in found)
    }
    assert explained
    assert unneeded == set()
