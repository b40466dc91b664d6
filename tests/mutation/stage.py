"""A copy of the tree that mutmut can work on.

mutmut names a module by its path, so that the import roots (the layer's and the functions') have to be one. It mutates
the bodies of undecorated functions only: here a property is written as a method and an assignment, which is the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra import synth

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "build" / "mutants"
# Where mutmut writes the mutated modules, beside a copy of everything else.
PLANTED = STAGE / "mutants"
# Where the parts of the tree lie in the copy.
_ROOTS = {"layers/common/python/": "", "functions/": ""}
# What is mutated. The router has proofs of its own; the infrastructure is held by the template's tests.
PARTS: tuple[str, ...] = (
    "order_engine/domain",
    "order_engine/engine",
    "order_engine/aws",
    "process",
    "notify",
)
_LEFT_OUT = ("order_engine/engine/routing/", "order_engine/engine/ports.py")
_BUT_THESE = tuple(f"order_engine/engine/routing/{name}.py" for name in ("breaker", "gather", "router"))
# What runs against the mutants: everything that is quick and in one process.
_TESTS = (
    "tests/unit",
    "tests/contract",
    "tests/integration/test_http_api.py",
    "tests/integration/test_keys.py",
    "tests/integration/test_statistics.py",
)
_NOT_THESE = (
    "tests/unit/test_cli*",
    "tests/unit/test_route*",
    "tests/unit/test_observability.py",
    "tests/unit/solana/test_[!b]*",
    "tests/unit/venues",
    "tests/unit/test_docs.py",
    "tests/unit/test_keeping_releases.py",
    "tests/unit/test_market.py",
    "tests/unit/test_paper.py",
    "tests/unit/test_version.py",
)
# These read the tree itself, which lies otherwise here.
_DESELECTED = (
    "tests/unit/test_failures.py::test_every_code_that_an_order_may_fail_with_is_in_the_catalogue",
    "tests/unit/test_failures.py::test_the_paper_chains_errors_have_codes_of_the_catalogue",
)
_DECORATORS = {"property", "cache"}


def in_stage(path: str) -> str:
    """Where a file of the tree lies in the copy."""
    for prefix, place in _ROOTS.items():
        if path.startswith(prefix):
            return place + path.removeprefix(prefix)
    return path


def prepare() -> None:
    """Bring the copy up to date, and tell mutmut what to mutate: everything, since it plants a file only once."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=-1, text=True, check=True
    )
    files = {in_stage(path): ROOT / path for path in listed.stdout.splitlines() if (ROOT / path).is_file()}
    wanted = sorted(
        place
        for place in files
        if place.endswith(".py")
        and place.startswith(PARTS)
        and (place in _BUT_THESE or not place.startswith(_LEFT_OUT))
    )
    for place, source in files.items():
        text = source.read_bytes()
        if place.startswith(PARTS) and place.endswith(".py"):
            text = undecorated(text.decode()).encode()
        target = STAGE / place
        if not target.exists() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
    for root in (STAGE, PLANTED):
        for place in set(_copied(root)):
            if place.removesuffix(".meta") not in files:
                (root / place).unlink()
    (STAGE / "pyproject.toml").write_text(_config(wanted, files))
    # No template can be synthesised where the parts lie elsewhere: the tests get the tree's.
    build = PLANTED / "build"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    (build / f"template-{synth.fingerprint(STAGE)}.json").write_text(json.dumps(synth.template(ROOT / "build")))


def _copied(root: Path) -> Iterator[str]:
    for part in (*PARTS, "order_engine", "tests"):
        for pattern in ("*.py", "*.py.meta"):
            for path in (root / part).rglob(pattern):
                yield str(path.relative_to(root))


def state() -> dict[str, str]:
    """A digest of every test file, and one of everything that they rest on."""
    digests: dict[str, str] = {}
    rest = hashlib.sha256()
    for place in sorted(set(_copied(STAGE))):
        content = (STAGE / place).read_bytes()
        if Path(place).name.startswith("test_"):
            digests[place] = hashlib.sha256(content).hexdigest()
        elif not place.startswith("tests/mutation/"):
            rest.update(place.encode() + content)
    return digests | {"": rest.hexdigest()}


def pytest_arguments() -> list[str]:
    """What pytest collects in the copy, and how."""
    left_out = [f"--ignore-glob={path}" for path in _NOT_THESE]
    left_out += [f"--deselect={test}" for test in _DESELECTED]
    return ["-s", "-q", "-m", "not slow and not long", "-p", "no:cacheprovider", "-p", "no:xdist", *left_out, *_TESTS]


def undecorated(source: str) -> str:
    """The same module with ``@property def x`` written as ``def x`` and ``x = property(x)``."""
    lines = source.splitlines(keepends=True)
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and len(node.decorator_list) == 1
        and isinstance(node.decorator_list[0], ast.Name)
        and node.decorator_list[0].id in _DECORATORS
    ]
    for node in sorted(found, key=lambda node: node.lineno, reverse=True):
        (decorator,) = node.decorator_list
        assert isinstance(decorator, ast.Name)
        assert node.end_lineno is not None
        indent = " " * node.col_offset
        lines.insert(node.end_lineno, f"{indent}{node.name} = {decorator.id}({node.name})\n")
        del lines[decorator.lineno - 1]
    return "".join(lines)


def _config(wanted: Sequence[str], files: dict[str, Path]) -> str:
    also = sorted(
        {place.split("/")[0] for place in files} - {part.split("/")[0] for part in PARTS} - {"pyproject.toml"}
    )
    return f"""[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
markers = ["slow: installs or builds for real", "long: searches for minutes"]

[tool.mutmut]
source_paths = ["order_engine", "process", "notify"]
only_mutate = {list(wanted)}
also_copy = {also}
do_not_mutate_patterns = ['logger\\.', '^from ', '^import ']
"""
