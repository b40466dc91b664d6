"""What mutmut planted, and what became of each: read from its own files in the copy."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.mutation.stage import PLANTED

# Exit codes of a mutant's test run, as mutmut keeps them.
_KILLED = {1, 3}
_TIMED_OUT = {-24, 24, 36, 152, 255}
_SURVIVED = {0}
_UNTESTED = {5, 33}
# A sentence for a person: its wording is nobody's promise. DynamoDB's expressions are no sentences.
_SENTENCE = re.compile(r"^[^:#=<>]*\w+ [^:#=<>]*\w+ [^:#=<>]*$")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted slip.

    Attributes:
        name: mutmut's name for it.
        module: the file in the copy.
        function: where it is.
        change: the lines taken out and put in.
        wording: it changes a sentence for a person and nothing else.
        outcome: killed, timeout, survived, no tests, or None while it was not tried.
    """

    name: str
    module: str
    function: str
    change: str
    wording: bool
    outcome: str | None


def read_all(modules: Sequence[str] = ("",)) -> list[Mutant]:
    """All mutants in the copy, or those of some modules, in their order."""
    metas = sorted(PLANTED.rglob("*.py.meta"))
    ordered = [[meta for meta in metas if str(meta.relative_to(PLANTED)).startswith(module)] for module in modules]
    return [mutant for meta in dict.fromkeys(chain(*ordered)) for mutant in _read(meta)]


def _read(meta: Path) -> Iterator[Mutant]:
    codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    if not codes:
        return
    mutated = meta.with_suffix("")
    text = mutated.read_text().splitlines(keepends=True)
    functions = {
        node.name: "".join(text[node.lineno - 1 : node.end_lineno])
        for node in ast.walk(ast.parse("".join(text)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for name, code in codes.items():
        short = name.rpartition(".")[2]
        stem = short.rpartition("__mutmut_")[0]
        before, after = (_plain(functions[key], stem) for key in (f"{stem}__mutmut_orig", short))
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
        change = "\n".join(line[0] + " " + line[1:].strip() for line in lines if line[0] in "-+")
        function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        module = str(mutated.relative_to(PLANTED))
        yield Mutant(name, module, function, change, _wording(before, after), _outcome(code))


def _plain(source: str, stem: str) -> str:
    return re.sub(rf"{re.escape(stem)}__mutmut_\w+", "f", source, count=1)


def _wording(before: str, after: str) -> bool:
    """Whether all that differs is the text of a sentence, or of what an error says."""
    trees = [ast.parse(_dedent(text)) for text in (before, after)]
    old, new = ([node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)] for tree in trees)
    if len(old) == len(new):
        differing = [(one, other) for one, other in zip(old, new, strict=True) if one != other]
        if differing and all(isinstance(one, str) and _SENTENCE.match(one) for one, _ in differing):
            return True
    first, second = (ast.dump(_Mute().visit(tree)) for tree in trees)
    return first == second


class _Mute(ast.NodeTransformer):
    """Takes out what errors say; which error it is stays."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call) and node.exc.args:
            said = node.exc.args[0]
            if isinstance(said, ast.JoinedStr) or (
                isinstance(said, ast.Constant) and isinstance(said.value, str | None)
            ):
                node.exc.args.pop(0)
        return node


def _dedent(source: str) -> str:
    indent = len(source) - len(source.lstrip())
    return "\n".join(line[indent:] if line[:indent].isspace() else line for line in source.splitlines())


def _outcome(code: int | None) -> str | None:
    if code is None:
        return None
    for codes, outcome in (
        (_KILLED, "killed"),
        (_TIMED_OUT, "timeout"),
        (_SURVIVED, "survived"),
        (_UNTESTED, "no tests"),
    ):
        if code in codes:
            return outcome
    return f"exit code {code}"
