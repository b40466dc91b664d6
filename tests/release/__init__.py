"""What is kept of released versions, and how it is made: ``make release``.

``tests/released/<version>`` holds samples of every form that the release wrote (orders, messages, frames), up to which
form it reads, and its source, as far as it deploys. Nothing in it is ever changed.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from order_engine.engine.accounts import ApiKey

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "tests" / "released"
# The functions, their layer, and the app that deploys them.
PARTS = ("functions", "layers", "infra", "cdk.json", "requirements/layer.txt")
# The web page and whatever else is large is not in it.
MOST_BYTES = 300_000


def versions() -> list[str]:
    """The releases of which something is kept, oldest first."""
    found = (directory.name for directory in RELEASED.iterdir() if directory.is_dir())
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


def archive(version: str) -> Path:
    return RELEASED / version / "source.tar.xz"


def unpack(version: str, target: Path) -> Path:
    """The source of a release, as it was; the directory that it is in."""
    with tarfile.open(archive(version)) as packed:
        packed.extractall(target, filter="data")
    return target


def import_roots(source: Path) -> tuple[Path, Path]:
    """Where the release's functions are imported from."""
    return source / "functions", source / "layers" / "common" / "python"


def former_key_item(key: ApiKey) -> dict[str, Any]:
    """A key as 0.1.0 kept it among the accounts, where it is found until it is moved."""
    return {
        "pk": {"S": f"key#{key.key_hash}"},
        "sk": {"S": "key"},
        "user_id": {"S": key.user_id},
        "scopes": {"SS": sorted(key.scopes)},
        "created_at": {"N": str(key.created_at)},
    }
