"""The documentation's programs and commands, run as they stand against the local stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.terminal import AWS_FAILED, OK
from local import Running, running
from tests.unit.commands import ROOT, Block, Command, blocks, commands

FAST = {"QUOTE_DELAY_MS": "20", "LANDING_MIN_MS": "50", "LANDING_MAX_MS": "200", "RETRY_BASE_MS": "50"}
SURE = {"FAILURE_RATE": "0", "ORDERS_PER_MINUTE": "10000", "ORDERS_BURST": "10000"}
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]
LOCAL_HTTP = "http://127.0.0.1:8000"
PROGRAMS = [block for block in blocks() if block.language == "python"]
OWN = [command for command in commands() if command.words[0] == ".venv/bin/order-engine"]
POSTS = [command for command in commands() if command.words[0] == "curl"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    with running(environment={**FAST, **SURE}) as started:
        yield started


def environment(**more: str) -> dict[str, str]:
    """Without anything of this machine that a command could lean on."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORDER_ENGINE_", "AWS_", "PYTHON"))
    }
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return own | nowhere | {"AWS_EC2_METADATA_DISABLED": "true"} | more


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda block: block.page)
def test_a_program_follows_an_order_to_its_end(stack: Running, program: Block, tmp_path: Path) -> None:
    """As a person runs it: saved to a file, anywhere, with the project's interpreter."""
    assert LOCAL_HTTP in program.text
    script = tmp_path / "follow.py"
    script.write_text(program.text.replace(LOCAL_HTTP, stack.http_url), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "follow.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{seq} {status}" for seq, status in enumerate(LIFE, start=1)]


@pytest.mark.parametrize("command", POSTS, ids=str)
def test_a_request_is_accepted(stack: Running, command: Command) -> None:
    shell = command.text.replace("\\\n", " ").replace(LOCAL_HTTP, stack.http_url)
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shell} --silent --show-error"],
        env=environment(HTTP_URL=stack.http_url, KEY="oek_alice"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)["orderId"]


@pytest.mark.parametrize("command", OWN, ids=str)
def test_a_command_does_something(stack: Running, command: Command) -> None:
    """One for a stage gets as far as AWS, which nobody has named; every other one succeeds."""
    words = [re.sub("^<.*>$", "dev", word) for word in command.words]
    if words[1:] in (["keys", "create"], ["keys", "revoke"], ["keys", "list"], ["redrive"], ["show"]):
        return  # The name of a command, in a sentence.
    if words[1] == "load":
        words[words.index("--seconds") + 1] = "1"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words[1:]],
        cwd=ROOT,
        env=environment(ORDER_ENGINE_URL=stack.http_url, AWS_REGION="us-east-1"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "--stage" in words:
        assert (done.returncode, done.stdout) == (AWS_FAILED, ""), done.stderr
        assert "There are no AWS credentials" in done.stderr
    else:
        assert done.returncode == OK, done.stderr
        assert done.stdout
