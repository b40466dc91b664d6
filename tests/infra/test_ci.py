"""What the public host runs: pinned by commit, with no more rights than it needs."""

from __future__ import annotations

import re

import yaml

from infra.tree import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps() -> list[dict[str, object]]:
    assert WORKFLOWS
    jobs = [job for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values()]
    return [step for job in jobs for step in job["steps"]]


def test_actions_are_pinned_by_commit() -> None:
    """A tag can be moved: https://docs.github.com/en/actions/reference/security/secure-use#using-third-party-actions"""
    used = [str(step["uses"]) for step in steps() if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", name)] == []


def test_a_workflow_may_read_the_repository_and_no_more() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    checkouts = [step for step in steps() if str(step.get("uses", "")).startswith("actions/checkout@")]
    assert all(step.get("with", {}).get("persist-credentials") is False for step in checkouts)  # type: ignore[attr-defined]


def test_only_the_package_manager_runs_as_root() -> None:
    commands = [str(step["run"]) for step in steps() if "run" in step]
    assert not any("sudo" in command for command in commands)
    script = (ROOT / ".ci" / "run").read_text()
    rooted = re.findall(r"^\s*as_root (.*)$", script, re.MULTILINE)
    assert rooted
    assert all("apt-get" in command for command in rooted)
    assert script.count("sudo") == 1
