"""The documentation: what it asks people to type exists, and what it draws and lists is what the code says."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest
import typer
from botocore.session import Session
from typer.testing import CliRunner

from cli.main import app
from order_engine.domain.lifecycle import FIRST, TERMINAL, TRANSITIONS
from tests.unit.commands import PAGES, ROOT, Command, blocks, commands

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = commands()


def of(program: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[0] == program]


def test_every_command_can_be_typed_as_it_stands() -> None:
    """Nothing is installed for the whole machine: what ``make setup`` brings is in .venv."""
    # The last two are Solana's own, for whoever has a wallet.
    known = {"make", "curl", "aws", "solana-keygen", "spl-token"}
    for command in COMMANDS:
        program = command.words[0]
        assert program in known or program.startswith(".venv/bin/"), command
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_a_target_exists(command: Command) -> None:
    arguments = [re.sub("<.*>", "dev", word) for word in command.words[1:]]
    done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in (word.partition("=")[0] for word in arguments if "=" in word):
        assert f"$({name})" in makefile, f"{command}: nothing reads {name}"


def test_every_target_of_the_makefile_has_its_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    assert phony == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


@pytest.mark.parametrize("command", of(".venv/bin/order-engine"), ids=str)
def test_a_command_of_the_command_line_is_understood(command: Command) -> None:
    """Its words name a command and options that it has. That it does what it says is tested end to end."""
    node = typer.main.get_command(app)
    words = [word for word in command.words[1:] if word not in ("…", "...")]
    while words and not words[0].startswith("-") and isinstance(node, typer.core.TyperGroup):
        assert words[0] in node.commands, command
        node = node.commands[words.pop(0)]
    options = {name for parameter in node.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in words:
        assert not word.startswith("-") or word.partition("=")[0] in options, f"{command}: no option {word}"


@pytest.mark.parametrize("command", of(".venv/bin/python"), ids=str)
def test_a_module_that_is_run_exists_and_has_the_options(command: Command) -> None:
    if command.words[1] != "-m":
        assert any(block.language == "python" for block in blocks(ROOT / command.page)), "a program of that page"
        return
    module = command.words[2]
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    origin = Path(found.origin)
    source = (origin.with_name("__main__.py") if origin.name == "__init__.py" else origin).read_text(encoding="utf-8")
    assert "__main__" in source, f"{command}: nothing happens"
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    for word in command.words[3:]:
        assert not word.startswith("-") or word in texts, f"{command}: no option {word}"


@pytest.mark.parametrize("command", [*of(".venv/bin/pytest"), *of(".venv/bin/node")], ids=str)
def test_the_files_that_a_command_names_exist(command: Command) -> None:
    named = [word for word in command.words[1:] if "/" in word and "=" not in word and "://" not in word]
    assert named
    for name in named:
        assert (ROOT / name.partition("::")[0]).exists() or name.startswith("tools/node_modules/"), command


@pytest.mark.parametrize("command", of("aws"), ids=str)
def test_a_call_of_awss_own_command_line_exists(command: Command) -> None:
    """Held against the service's description: the operation, every parameter, and those that are required."""
    service, operation = command.words[1:3]
    model = Session().get_service_model(service)

    def dashed(name: str) -> str:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()

    name = next((name for name in model.operation_names if dashed(name) == operation), None)
    assert name is not None, command
    shape = model.operation_model(name).input_shape
    assert shape is not None
    given = {word.removeprefix("--") for word in command.words[3:] if word.startswith("--")}
    assert given <= {dashed(member) for member in shape.members} | {"region", "query", "output"}, command
    assert {dashed(member) for member in shape.required_members} <= given, command


def test_programs_are_whole_scripts() -> None:
    programs = [block for block in blocks() if block.language == "python"]
    assert {block.page for block in programs} >= {"README.md", "docs/api.md"}
    for block in programs:
        compile(block.text, block.page, "exec")


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
                assert anchor in anchors, f"{page.name}: {target}"


def test_no_section_is_there_twice() -> None:
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        headings = re.findall(r"^## .*$|^### `.*$", text, re.MULTILINE)
        assert sorted(headings) == sorted(set(headings)), page.name


def test_the_diagram_of_an_orders_life_is_the_table_of_transitions() -> None:
    (diagram,) = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("stateDiagram")]
    drawn = [(before, after) for before, after in re.findall(r"^  (\S+) --> ([^\s:]+)", diagram, re.MULTILINE)]
    assert len(drawn) == len(set(drawn)) == diagram.count("-->")

    steps = {(before.value, after.value) for before, then in TRANSITIONS.items() for after in then}
    begins = {("[*]", status.value) for status in FIRST}
    ends = {(status.value, "[*]") for status in TERMINAL}
    assert set(drawn) == steps | begins | ends


def test_the_table_of_the_api_is_the_api() -> None:
    described = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))["paths"]
    for page in ("README.md", "docs/api.md"):
        rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        named = set(re.findall(r"`(GET|POST|DELETE) (/[^`?]*)", "\n".join(rows)))
        assert named == {(method.upper(), path) for path, methods in described.items() for method in methods}, page


def test_the_readme_names_every_command_of_the_command_line() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    (block,) = [b.text for b in blocks(ROOT / "README.md") if "order-engine submit" in b.text]
    assert set(group.commands) <= set(re.findall(r"[\w-]+", block))
    assert "--version" in block
    # And nothing that does not exist.
    (listed,) = re.findall(r"--help +# (.*)", block)
    assert set(re.findall(r"[\w-]+", listed)) <= set(group.commands)


def test_the_help_says_what_the_readme_says_of_exit_codes() -> None:
    assert "the exit\ncodes are in `--help`" in README
    assert "Exit codes" in CliRunner().invoke(app, ["--help"]).stdout
