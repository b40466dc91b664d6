"""The committed OpenAPI document: ``python -m tests.api.openapi --write`` makes it anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def text() -> str:
    """The document as the API serves it, in the form in which it is committed."""
    from submit.app import create_app

    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PATH.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
