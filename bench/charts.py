"""Draws the recorded results: ``python -m bench.charts`` writes docs/images/bench-*.svg.

Plain SVG: the text can be selected, and the colours follow the reader's light or dark mode.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench import machine
from bench.cost import TITLES
from infra.tree import ROOT

type Json = Any

IMAGES = ROOT / "docs" / "images"
_WIDTH, _BAR, _GAP, _EDGE = 760, 22, 14, 10
# A reader's font may be wider than ours: a character of 13 pixels in the widest of the usual ones.
_CHARACTER = 8.3
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#eeca3b", "#9d755d", "#8a8a8a")
_STYLE = """text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:15px}
.m{stroke:#1f2328;stroke-dasharray:4 3}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{stroke:#e6edf3}}"""


def _width(text: str) -> float:
    """How much room a text may take, in pixels."""
    return len(text) * _CHARACTER


def bars(title: str, rows: Mapping[str, Mapping[str, float]], unit: str, mark: float | None = None) -> str:
    """Horizontal bars, each of the parts that it is made of. ``mark`` draws a line at a target."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    totals = {name: f"{sum(row.values()):.4g} {unit}" for name, row in rows.items()}
    left = _EDGE + max(map(_width, rows)) + 10
    right = max(map(_width, totals.values())) + 6 + _EDGE
    most = max([sum(row.values()) for row in rows.values()] + ([mark] if mark is not None else []))
    scale = (_WIDTH - left - right) / most
    top = 40
    legend = top + len(rows) * (_BAR + _GAP) + 8
    columns = max(1, int((_WIDTH - _EDGE) // (max(map(_width, parts)) + 34)))
    height = legend + (22 * -(-len(parts) // columns) + 8 if len(parts) > 1 else 0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="t" x="10" y="22">{escape(title)}</text>',
    ]
    for number, (name, row) in enumerate(rows.items()):
        y = top + number * (_BAR + _GAP)
        out.append(f'<text x="{left - 10:.1f}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        x = left
        for part, value in row.items():
            colour = _COLOURS[parts.index(part) % len(_COLOURS)]
            out.append(
                f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{_BAR}" fill="{colour}">'
                f"<title>{escape(f'{part}: ' if part else '')}{value:.2f} {escape(unit)}</title></rect>"
            )
            x += value * scale
        out.append(f'<text x="{x + 6:.1f}" y="{y + 16}">{escape(totals[name])}</text>')
    if mark is not None:
        x = left + mark * scale
        out.append(f'<line class="m" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{legend - 10}"/>')
    if len(parts) > 1:
        for number, part in enumerate(parts):
            x, y = _EDGE + (number % columns) * (_WIDTH - _EDGE) // columns, legend + 14 + (number // columns) * 22
            out.append(f'<rect x="{x}" y="{y - 11}" width="13" height="13" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
            out.append(f'<text x="{x + 20}" y="{y}">{escape(part)}</text>')
    return "\n".join([*out, "</svg>", ""])


def _result(name: str) -> Json:
    return json.loads((machine.RESULTS / f"{name}.json").read_text())


def charts() -> dict[str, str]:
    """File name to drawing, of everything that has been recorded."""
    cost, cold, capacity = _result("cost"), _result("cold_start"), _result("capacity")
    starts = {"naive handler": cold["naive"], **cold["handlers"]}
    return {
        "bench-cost.svg": bars(
            "Dollars per million market orders (line: target)",
            {TITLES[name]: lines for name, lines in cost["dollars_per_million"].items()},
            "$",
            20,
        ),
        "bench-cold-start.svg": bars(
            "Import and first use, processor time",
            {name: {"": found["cpu_ms"]} for name, found in starts.items()},
            "ms",
        ),
        "bench-cold-start-steps.svg": bars(
            "process.handler, step by step",
            {name: {"": found["cpu_ms"]} for name, found in cold["steps"].items()},
            "ms",
        ),
        "bench-capacity.svg": bars(
            "Orders per minute on the local stack",
            {
                f"batch {case['batch_size']}, {case['concurrency']} concurrent": {"": case["per_minute"]}
                for case in capacity["cases"]
            },
            "a minute",
        ),
    }


def main(arguments: Sequence[str] = ()) -> int:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, drawing in charts().items():
        (IMAGES / name).write_text(drawing)
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
