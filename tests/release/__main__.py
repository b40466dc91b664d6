"""``python -m tests.release VERSION``, behind ``make release``: keep what the next release must get on with.

Run it on the commit that is the release: VERSION is in ``version.py`` and has its section of the changelog.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from order_engine.aws import codec
from order_engine.domain.order import Order
from order_engine.version import VERSION
from order_engine.wire import forms, messages, views
from tests.release import MOST_BYTES, PARTS, RELEASED, ROOT
from tests.support.orders import EVENTS, T0, allowed, place

_LONGEST = 10


def lives() -> Iterator[Order]:
    """An order of each type after each event that may follow on each, by the shortest way there."""
    seen = set()
    waiting = [(name, place(name)) for name in ("market", "limit")]
    while waiting:
        name, order = waiting.pop(0)
        yield order
        for event in sorted(EVENTS):
            step = (order.request.type, name, event)
            if step in seen or not allowed(order.status, event) or order.seq >= _LONGEST:
                continue
            seen.add(step)
            waiting.append((event, EVENTS[event][1](order, T0 + 1000 * order.seq)))


def samples() -> dict[str, Any]:
    """What this release writes, by the file that it is kept in."""
    orders = list(lives())
    longest = max(orders, key=lambda order: order.seq)
    frames = [views.event_frame(longest, event) for event in longest.events]
    frames += [*views.snapshot_frames(longest, 0), views.pong_frame(T0), views.subscribed_frame(None)]
    frames.append(views.error_frame("order_not_found", "There is no such order."))
    return {
        "orders": [{"item": codec.to_item(order), "shown": views.order_view(order)} for order in orders],
        "messages": [messages.encode(longest.ref)],
        "frames": [json.loads(frame) for frame in frames],
        "forms": {form.name: form.reads for form in (forms.ORDER, forms.MESSAGE, forms.FRAME)},
    }


def source(commit: str) -> bytes:
    """The deployed parts of a commit, packed.

    Raises:
        ValueError: they are more than an archive may have.
    """
    packed = subprocess.run(["git", "archive", commit, *PARTS], cwd=ROOT, check=True, capture_output=True).stdout
    compressed = lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)
    if len(compressed) > MOST_BYTES:
        raise ValueError(f"The source of a release is kept in {MOST_BYTES:,} bytes at most, not {len(compressed):,}.")
    return compressed


def keep(target: Path, commit: str = "HEAD") -> None:
    """Write all that is kept of a release into a new directory."""
    packed = source(commit)
    target.mkdir(parents=True)
    (target / "source.tar.xz").write_bytes(packed)
    for name, content in samples().items():
        (target / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def objection(version: str) -> str | None:
    """Why this tree is not that release, if it is not."""
    if version != VERSION:
        return f"version.py says {VERSION}, not {version}."
    if f"## [{version}] - " not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        return f"CHANGELOG.md has no section for {version}."
    if (RELEASED / version).exists():
        return f"{version} is kept already, and what was released is never changed."
    changed = subprocess.run(
        ["git", "status", "--porcelain"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return f"Commit first:\n{changed.stdout}" if changed.stdout else None


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("Which version? make release VERSION=1.2.3", file=sys.stderr)
        return 2
    [version] = given
    if (reason := objection(version)) is not None:
        print(reason, file=sys.stderr)
        return 1
    keep(RELEASED / version)
    print(f"Kept in tests/released/{version}: commit it, and tag that commit v{version}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
