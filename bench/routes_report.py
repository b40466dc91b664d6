"""What routing is worth: a day of the paper market as a page to look at.

``python -m bench.routes_report [--seed N] [--every MINUTES] [--out FILE]``

Every few minutes of a day an order of each size is routed for each pair. Its net output is compared with the better
of one quote per venue, each venue's best pool or path without dividing the order, which is what an engine does that
asks both venues and takes the better answer. Each route is then filled at the market of 2.5 seconds later, to see
how often a slippage tolerance would have been missed. No dice are involved: all that happens is the market's doing.

The page stands alone (inline SVG, no request to anywhere) and follows the reader's light or dark setting.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.networks import all_pools
from order_engine.domain.amounts import slippage_min_out
from order_engine.domain.errors import NoRoute, QuoteRefused
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT, Token
from order_engine.domain.venues import VENUES
from order_engine.engine.routing.decide import decide
from order_engine.venues.paper.chain import fill
from order_engine.venues.paper.market import PaperMarket

DAY_START_MS = 1_790_035_200_000  # 2026-09-22, midnight UTC
DAY_MS = 86_400_000
LANDING_MS = 2_500
PAIRS: tuple[tuple[Token, Token], ...] = ((SOL, USDC), (BONK, SOL), (JUP, USDC), (JUP, RAY), (BONK, USDT))
SIZES_USD = (100, 1_000, 10_000, 100_000)
TOLERANCES_BPS = (10, 25, 50, 100)


@dataclass(frozen=True, slots=True)
class Sample:
    """One routed order. ``missed`` are the tolerances (basis points) that its fill would have missed."""

    pair: str
    usd: int
    stormy: bool
    venue: str
    kind: str
    improvement_bps: float
    missed: frozenset[int]


def sample_day(seed: int, every_minutes: int) -> tuple[list[Sample], int]:
    """Route every pair and size through a day. Returns the samples, and how many orders had no route."""
    market = PaperMarket(seed)
    samples: list[Sample] = []
    refused = 0
    for at in range(DAY_START_MS, DAY_START_MS + DAY_MS, every_minutes * 60_000):
        stormy = market.storm(at) >= 500
        for x, y in PAIRS:
            for usd in SIZES_USD:
                amount = int(usd / market.price(x.mint, at) * x.unit)
                try:
                    decision = decide(
                        all_pools(market, x, y, at),
                        mint_in=x.mint,
                        mint_out=y.mint,
                        amount_in=amount,
                        max_price_impact_bps=10_000,
                    )
                except NoRoute:
                    refused += 1
                    continue
                chosen = decision.chosen
                try:
                    landed = fill(market, chosen.legs, x.mint, y.mint, at + LANDING_MS)
                except QuoteRefused:
                    landed = 0
                missed = frozenset(t for t in TOLERANCES_BPS if landed < slippage_min_out(chosen.amount_out, t))
                pair = f"{x.symbol}/{y.symbol}"
                gain = float(decision.improvement_bps)
                samples.append(Sample(pair, usd, stormy, chosen.venue, chosen.kind, gain, missed))
    return samples, refused


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of them lies, nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def _money(usd: int) -> str:
    return f"${usd:,}".replace(",", " ")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = "".join(f"<th scope='col'>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _ranges(rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Per row the range from the 10th to the 90th percentile, the middle half, and the median."""
    top = max(1.0, *(quantile(values, 0.9) for _, values in rows))
    left, width, step = 90, 560, 34
    height = step * len(rows) + 34

    def x(value: float) -> float:
        return left + width * min(value, top) / top

    parts = []
    for tick in range(5):
        at, value = x(top * tick / 4), top * tick / 4
        parts.append(f"<line class='grid' x1='{at:.1f}' x2='{at:.1f}' y1='4' y2='{height - 26}'/>")
        parts.append(f"<text x='{at:.1f}' y='{height - 8}' text-anchor='middle'>{value:.3g}</text>")
    for number, (name, values) in enumerate(rows):
        middle = 4 + step * number + step / 2
        p10, p25, p50, p75, p90 = (quantile(values, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
        parts.append(f"<text x='{left - 10}' y='{middle + 4}' text-anchor='end'>{escape(name)}</text>")
        parts.append(f"<line class='range' x1='{x(p10):.1f}' x2='{x(p90):.1f}' y1='{middle}' y2='{middle}'/>")
        parts.append(
            f"<rect class='a' x='{x(p25):.1f}' y='{middle - 8}' width='{max(1.0, x(p75) - x(p25)):.1f}' height='16'/>"
        )
        parts.append(
            f"<line class='median' x1='{x(p50):.1f}' x2='{x(p50):.1f}' y1='{middle - 11}' y2='{middle + 11}'/>"
        )
    label = "Improvement in basis points: median, middle half, 10th to 90th percentile"
    return f"<svg viewBox='0 0 680 {height}' role='img' aria-label='{label}'>{''.join(parts)}</svg>"


def _shares(rows: Sequence[tuple[str, Counter[str]]], keys: Sequence[str]) -> str:
    """Per row one bar, divided by how often each key occurred."""
    left, width, step = 90, 560, 30
    height = step * len(rows) + 30
    parts = []
    for number, (name, counts) in enumerate(rows):
        top, at, total = 2 + step * number, float(left), sum(counts.values())
        parts.append(f"<text x='{left - 10}' y='{top + 17}' text-anchor='end'>{escape(name)}</text>")
        for key, style in zip(keys, "abc", strict=False):
            share = counts[key] / total
            size = width * share
            parts.append(f"<rect class='{style}' x='{at:.1f}' y='{top}' width='{size:.1f}' height='24'>")
            parts.append(f"<title>{escape(key)}: {share:.0%}</title></rect>")
            if size > 44:
                parts.append(
                    f"<text class='on' x='{at + size / 2:.1f}' y='{top + 16}' text-anchor='middle'>{share:.0%}</text>"
                )
            at += size
    for number, (key, style) in enumerate(zip(keys, "abc", strict=False)):
        at = left + 190 * number
        parts.append(f"<rect class='{style}' x='{at}' y='{height - 18}' width='12' height='12'/>")
        parts.append(f"<text x='{at + 18}' y='{height - 8}'>{escape(key)}</text>")
    label = "Shares of " + escape(", ".join(keys))
    return f"<svg viewBox='0 0 680 {height}' role='img' aria-label='{label}'>{''.join(parts)}</svg>"


def _weather(seed: int) -> str:
    """SOL's price through the day; storms are shaded."""
    market = PaperMarket(seed)
    step, width, height, left = 300_000, 590, 150, 60
    times = range(DAY_START_MS, DAY_START_MS + DAY_MS + 1, step)
    prices = [float(market.price(SOL.mint, at)) for at in times]
    low, high = min(prices), max(prices)

    def x(at: int) -> float:
        return left + width * (at - DAY_START_MS) / DAY_MS

    parts = [
        f"<rect class='storm' x='{x(at):.1f}' y='4' width='{width * step / DAY_MS + 0.3:.2f}' height='{height}'/>"
        for at in times[:-1]
        if market.storm(at + step // 2) >= 500
    ]
    points = " ".join(
        f"{x(at):.1f},{4 + height * (high - price) / (high - low):.1f}" for at, price in zip(times, prices, strict=True)
    )
    parts.append(f"<polyline points='{points}'/>")
    for price, y in ((high, 14), (low, height + 4)):
        parts.append(f"<text x='{left - 8}' y='{y}' text-anchor='end'>{price:.1f}</text>")
    for hour in range(0, 25, 6):
        at = x(DAY_START_MS + hour * 3_600_000)
        parts.append(f"<text x='{at:.1f}' y='{height + 22}' text-anchor='middle'>{hour:02}:00</text>")
    return f"<svg viewBox='0 0 680 {height + 30}' role='img' aria-label='Price of SOL in USDC'>{''.join(parts)}</svg>"


_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#fbfbf9;--line:#d9dde3;--a:#2f6fb7;--b:#c26a1b;
--c:#3d8a5a;--storm:#c9415533}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b4;--paper:#14181e;--line:#2f3742;--a:#6aa6ea;
--b:#e39a52;--c:#6cc08c;--storm:#e2606f44}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:46rem;margin:2rem auto;
padding:0 1rem}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}p.note{color:var(--soft)}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}svg text.on{fill:var(--paper)}
.a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.storm{fill:var(--storm)}.grid{stroke:var(--line)}
.range{stroke:var(--soft);stroke-width:2}.median{stroke:var(--ink);stroke-width:2.5}
polyline{fill:none;stroke:var(--a);stroke-width:1.5}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
"""


def _gains_table(samples: Sequence[Sample]) -> str:
    rows = []
    for pair in dict.fromkeys(s.pair for s in samples):
        for usd in SIZES_USD:
            gains = [s.improvement_bps for s in samples if s.pair == pair and s.usd == usd]
            if gains:
                better = sum(g > 0 for g in gains) / len(gains)
                mean = statistics.fmean(gains)
                rows.append(
                    (
                        pair,
                        _money(usd),
                        f"{better:.0%}",
                        f"{quantile(gains, 0.5):.2f}",
                        f"{quantile(gains, 0.9):.2f}",
                        f"{mean:.2f}",
                        f"${mean * usd / 10_000:.2f}",
                    )
                )
    return _table(("Pair", "Order", "Improved", "Median bps", "90 % bps", "Mean bps", "Mean gain"), rows)


def _slippage_table(samples: Sequence[Sample]) -> str:
    rows = []
    for pair in dict.fromkeys(s.pair for s in samples):
        for stormy in (False, True):
            of = [s for s in samples if s.pair == pair and s.stormy is stormy]
            if of:
                missed = [f"{sum(t in s.missed for s in of) / len(of):.1%}" for t in TOLERANCES_BPS]
                rows.append((pair, "stormy" if stormy else "calm", str(len(of)), *missed))
    return _table(("Pair", "Market", "Orders", *(f"{t} bps" for t in TOLERANCES_BPS)), rows)


def page(samples: Sequence[Sample], refused: int, seed: int) -> str:
    """The report as one HTML document."""
    sizes = [usd for usd in SIZES_USD if any(s.usd == usd for s in samples)]
    pairs = list(dict.fromkeys(s.pair for s in samples))
    gains = [(_money(usd), [s.improvement_bps for s in samples if s.usd == usd]) for usd in sizes]
    kinds = [(_money(usd), Counter(s.kind for s in samples if s.usd == usd)) for usd in sizes]
    venues = [(pair, Counter(s.venue for s in samples if s.pair == pair)) for pair in pairs]
    several = sorted({s.venue for s in samples}.difference(VENUES))
    summary = ", ".join(f"{statistics.fmean(values):.2f} bps at {name}" for name, values in gains)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What routing is worth</title><style>{_STYLE}</style></head><body>
<h1>What routing is worth</h1>
<p>{len(samples)} orders through one day of the paper market (seed {seed}; {refused} more had no route). Against the
better of one quote per venue, paths and splits over both venues gave on average {summary}, after all fees.</p>
<h2>Improvement over the better of two single venues, by order size</h2>
<p class="note">Basis points of net output. Bar: the middle half of the orders; line: 10th to 90th percentile; mark:
the median. Where one pool is best, the improvement is zero.</p>
{_ranges(gains)}
<div class="scroll">{_gains_table(samples)}</div>
<h2>How orders were filled</h2>{_shares(kinds, ("single", "path", "split"))}
<h2>Which venues filled them</h2>{_shares(venues, (*VENUES, *several))}
<h2>Fills that would have missed a slippage tolerance</h2>
<p class="note">The chosen route, filled {LANDING_MS / 1000} s after the quote. Only the market moves: no dice.</p>
<div class="scroll">{_slippage_table(samples)}</div>
<h2>The day</h2><p class="note">SOL in USDC; storms are shaded.</p>{_weather(seed)}
</body></html>
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="A day of the paper market: what paths and splits are worth.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=7, help="minutes between two samples")
    parser.add_argument("--out", type=Path, default=Path("routes.html"))
    given = parser.parse_args()
    samples, refused = sample_day(given.seed, given.every)
    given.out.write_text(page(samples, refused, given.seed))
    print(f"{len(samples)} orders -> {given.out}")


if __name__ == "__main__":
    main()
