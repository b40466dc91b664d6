"""Synthesis without the CDK's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import synth
from infra.tree import ROOT


def _run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.synth", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_assembly_is_written_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert synth.main(["--out", str(tmp_path), "--no-bundle", "-c", "stage=bare"]) == 0
    written = Path(capsys.readouterr().out.strip())
    assert written == tmp_path / "order-engine-bare.template.json"
    assert json.loads(written.read_text())["Resources"]


def test_what_is_wrong_with_the_context_is_said_without_a_traceback(tmp_path: Path) -> None:
    done = _run(["--out", str(tmp_path), "--no-bundle", "-c", "stage=UP", "-c", "batchSize=99"])
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["stage", "batchSize"]


def test_the_local_template_is_made_once_and_read_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "template-0000.json").write_text("{}")  # of other sources
    announced: list[str] = []
    monkeypatch.setenv("PATH", "/nonexistent")  # the environment brings the node that the CDK needs
    first = synth.template(tmp_path, lambda: announced.append("about to be made"))
    assert first["Outputs"]["HttpUrl"]
    assert capfd.readouterr() == ("", "")  # whoever waits for it says so in their own words
    (kept,) = tmp_path.glob("template-*.json")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("synthesised again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert synth.template(tmp_path, lambda: announced.append("about to be made")) == first
    assert announced == ["about to be made"]

    # Other settings may mean another template.
    monkeypatch.setattr(synth, "_SOURCES", ("infra/**/*.py", "cdk.json"))
    with pytest.raises(AssertionError, match="synthesised again"):
        synth.template(tmp_path)
    assert kept.exists()


def test_a_cached_template_costs_no_import_of_the_cdk(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from infra import synth\n"
        "path = pathlib.Path(sys.argv[1]); (path / f'template-{synth.fingerprint()}.json').write_text('{}')\n"
        "assert synth.template(path) == {}; assert not any(m.startswith(('aws_cdk', 'jsii')) for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
