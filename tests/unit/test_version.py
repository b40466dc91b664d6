"""One version, wherever one is named."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml
from typer.testing import CliRunner

from cli.main import app
from order_engine.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(\.dev0)?", version)
    assert found, f"{version} is neither a release's version nor the one before it"
    return tuple(map(int, found.groups()[:3]))


def test_everything_that_names_a_version_names_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    source = ROOT / project["tool"]["hatch"]["version"]["path"]
    assert f'VERSION = "{VERSION}"' in source.read_text()
    assert json.loads((ROOT / "docs/openapi.json").read_text())["info"]["version"] == VERSION
    assert yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())["info"]["version"] == VERSION
    assert CliRunner().invoke(app, ["--version"]).stdout == f"order-engine {VERSION}\n"


def test_the_changelog_goes_down_from_this_version() -> None:
    assert SECTIONS[0] == ("Unreleased", "")
    released = [numbers(name) for name, date in SECTIONS[1:] if date]
    assert len(released) == len(SECTIONS) - 1, "every release has its date"
    assert released == sorted(set(released), reverse=True)
    if VERSION.endswith(".dev0"):
        assert numbers(VERSION) > released[0], "the next release's version comes after the last one's"
    else:
        assert numbers(VERSION) == released[0], "a release is the newest section"
