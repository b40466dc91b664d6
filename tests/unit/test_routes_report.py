"""The report on routing is one page that needs nothing else."""

from __future__ import annotations

import re

from bench.routes_report import PAIRS, SIZES_USD, page, sample_day


def test_the_report_stands_alone_and_tells_what_it_measured() -> None:
    samples, refused = sample_day(seed=1, every_minutes=360)
    assert len(samples) + refused == 4 * len(PAIRS) * len(SIZES_USD)
    large = [s.improvement_bps for s in samples if s.usd == max(SIZES_USD)]
    small = [s.improvement_bps for s in samples if s.usd == min(SIZES_USD)]
    assert min(large + small) >= 0
    assert sum(large) > sum(small)
    # Whoever misses a tolerance misses every smaller one too.
    assert all(50 in s.missed for s in samples if 100 in s.missed)
    html = page(samples, refused, seed=1)
    assert f"{len(samples)} orders" in html
    assert not re.search(r"https?:|src=|url\(|@import", html)
    assert "prefers-color-scheme:dark" in html
    assert html.count("<svg") == html.count("</svg>") == 4
    assert "nan" not in html
