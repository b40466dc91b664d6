"""docs/deploy.md says what a deployment may choose, and the app agrees."""

from __future__ import annotations

import json
import re

import pytest

from infra.config import Config, ConfigError
from infra.tree import ROOT
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
# Name, what it may be, default.
ROWS = [
    (name, may_be, default)
    for names, may_be, default in re.findall(r"^\| (`[^|]*) \| ([^|]*) \| ([^|]*) \| [^|]* \|$", PAGE, re.MULTILINE)
    for name, default in zip(re.findall(r"`(\w+)`", names), default.split(", "), strict=False)
]


def known() -> set[str]:
    with pytest.raises(ConfigError) as refused:
        Config.from_context({"qqq": "is none"})
    return set(re.findall(r"\w+", str(refused.value).partition("Known are ")[2]))


def switched_on(name: str) -> dict[str, str]:
    """What a value is refused without."""
    if name.startswith("priorityFee") or name == "maxSlippageBps":
        secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:one-AbCdEf"
        pools = str(ROOT / "docs" / "pools.example.json")
        named = {"nodesSecret": secret, "walletSecret": secret}
        return {"market": "solana", "pools": pools, "wallet": "11111111111111111111111111111111", **named}
    return {"edge": "true"} if name.startswith("edge") and name != "edge" else {}


def test_every_context_value_is_described_and_no_other() -> None:
    assert "stage" in known()
    assert {name for name, _, _ in ROWS} == known()


def test_defaults_are_as_described() -> None:
    described = {name: default.strip("`") for name, _, default in ROWS if re.fullmatch(r"`[^`]+`", default)}
    assert len(described) > 10
    for name, default in described.items():
        with_it = switched_on(name)
        plain, given = Config.from_context(with_it), Config.from_context({**with_it, name: default})
        # A setting of the paper market that is given is passed on, also where it is the default.
        assert given == plain or given.paper, name
    for name, value in json.loads((ROOT / "cdk.json").read_text())["context"].items():
        assert described.get(name, str(value)) == str(value), name


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        (name, int(found[1]), int(found[2]))
        for name, may_be, _ in ROWS
        if (found := re.match(r"(\d+) to (\d+)$", may_be))
    ],
)
def test_ranges_are_as_described(name: str, low: int, high: int) -> None:
    for allowed in (low, high):
        Config.from_context({**switched_on(name), name: str(allowed)})
    for refused in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=name):
            Config.from_context({**switched_on(name), name: str(refused)})


def test_outputs_are_described(stack: Stack, synthesise: Synthesise) -> None:
    for output in {**stack.content["Outputs"], **synthesise(edge="true").content["Outputs"]}:
        assert f"`{output}`" in PAGE, output
