"""Which release is deployed."""

from __future__ import annotations

import re
from pathlib import Path

_FILE = Path(__file__).resolve().parent.parent / "layers" / "common" / "python" / "order_engine" / "version.py"


def version() -> str:
    """The version of the sources, read and not imported: the app imports nothing of the engine but its settings."""
    found = re.search(r'^VERSION = "([^"]+)"$', _FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]
