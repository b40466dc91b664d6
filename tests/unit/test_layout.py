"""How the tree is laid out, where no import contract can say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 400
TESTS = ROOT / "tests"


def sources(*patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        found = list(ROOT.glob(pattern))
        assert found, pattern
        yield from found


def test_every_module_can_be_read_at_one_sitting() -> None:
    modules = sources("layers/**/*.py", "functions/**/*.py", "local/**/*.py", "cli/**/*.py", "infra/*.py", "web/*.js")
    long = {str(path.relative_to(ROOT)): count for path in modules if (count := lines_of(path)) > MOST_LINES}
    assert long == {}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("forbidden", "allowed"),
    [
        # What tests share is in tests/support, tests/fakes, or a module beside them that is no test.
        (r"^\s*from tests\.(\w+\.)*test_\w+ import|^\s*from tests\.(\w+\.)*\w+ import test_", "nowhere"),
        # The simulated services are made in one place.
        (r"^\s*(from|import) moto\b", "local/cloud/"),
    ],
    ids=["from test modules", "moto"],
)
def test_it_is_imported_where_it_may_be(forbidden: str, allowed: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in sources("tests/**/*.py", "bench/*.py", "local/**/*.py", "cli/**/*.py")
        if TESTS / "released" not in path.parents
        and re.search(forbidden, path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {path for path in found if not path.startswith(allowed)} == set()
