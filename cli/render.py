"""How orders, quotes and figures look in a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.events import OrderEvent
from order_engine.domain.numerals import NotANumeral, read_decimal
from order_engine.domain.order import Status
from order_engine.wire.schema import CandidateView, OrderSummaryView, StatsView

STAGES = (Status.PENDING, Status.ROUTING, Status.BUILDING, Status.SUBMITTED, Status.CONFIRMED)
STYLES: dict[Status, str] = {
    Status.OPEN: "yellow",
    Status.PENDING: "bright_black",
    Status.ROUTING: "cyan",
    Status.BUILDING: "blue",
    Status.SUBMITTED: "magenta",
    Status.CONFIRMED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.EXPIRED: "yellow",
}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = 28
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def short(name: str, head: int = 8, tail: int = 0) -> str:
    """The beginning of an id or signature, and where it helps its end."""
    if len(name) <= head + tail + 1:
        return name
    return f"{name[:head]}…{name[-tail:] if tail else ''}"


def duration(ms: float) -> str:
    """Milliseconds as a person reads them."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    if ms < 3_600_000:
        return f"{ms / 60_000:.1f} min"
    return f"{ms / 3_600_000:.1f} h"


def number(text: str | None, digits: int = 8) -> str:
    """A decimal string with thousands' marks and at most ``digits`` significant digits; a dash for None."""
    if text is None:
        return "-"
    try:
        value = read_decimal(text)
    except NotANumeral:
        # Whatever answers in the engine's place: writing such a number out could take a gigabyte.
        return short(text, digits)
    decimals = max(0, digits - 1 - value.adjusted()) if value else 0
    shown = f"{value:,.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def spinner(style: str = "") -> Text:
    """The frame of a spinner that belongs to this moment, so that a view that is made anew each time goes on."""
    return Text(_SPINNER[int(time.monotonic() * 12.5) % len(_SPINNER)], style=style)


def status_text(status: Status) -> Text:
    return Text(status, style=STYLES[status])


def ms_between(first: datetime, second: datetime) -> float:
    return (second - first).total_seconds() * 1000


def venue_quotes(quotes: Sequence[CandidateView]) -> str:
    """Each venue's own best net output: ``raydium 341.92 · meteora 341.71``."""
    return " · ".join(f"{venue} {out}" for venue, out in best_quotes(quotes).items())


def best_quotes(quotes: Sequence[CandidateView], digits: int = 8) -> dict[str, str]:
    """Each venue's own best net output."""
    best: dict[str, str] = {}
    for quote in quotes:
        if "+" not in quote["venue"]:
            best.setdefault(quote["venue"], number(quote["netOut"], digits))
    return best


def detail_text(event: OrderEvent) -> str:
    """What a step adds, in one line."""
    detail = event.detail
    match event.status:
        case Status.BUILDING:
            return f"{venue_quotes(detail['quotes'])} → {detail['venue']} (at least {number(detail['minOut'])})"
        case Status.SUBMITTED:
            return f"signature {short(detail['txHash'], 8, 8)}"
        case Status.CONFIRMED:
            return f"received {number(detail['amountOut'])} at {number(detail['executedPrice'])}"
        case Status.FAILED:
            return str(detail["failureReason"])
        case Status.PENDING | Status.OPEN if "error" in detail:
            wait_ms = ms_between(event.at, datetime.fromisoformat(detail["retryAt"]))
            return f"{detail['error']['message']} Next try in {duration(max(0.0, wait_ms))}."
        case Status.ROUTING if event.attempt > 1:
            return f"attempt {event.attempt}"
    return ""


def event_line(event: OrderEvent, since: datetime | None) -> Text:
    """One event as one line, for output that is not a terminal and for logs."""
    passed = "" if since is None else f"+{duration(ms_between(since, event.at))}"
    line = Text.assemble(
        (f"{event.at.astimezone():%H:%M:%S}.{event.at.microsecond // 1000:03d}", "bright_black"),
        f"  {short(event.order_id)}  ",
        (f"{event.status:<9}", STYLES[event.status]),
        f"  {passed:>10}  ",
        detail_text(event),
    )
    line.rstrip()
    return line


def timeline(title: str, events: Sequence[OrderEvent], note: str = "", now: datetime | None = None) -> Panel:
    """An order's steps so far, the running one with a spinner.

    Args:
        note: shown below, for example that the connection is lost.
        now: for the running step's time; the present if None.
    """
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=9)
    grid.add_column(justify="right", width=9)
    grid.add_column(overflow="fold")
    for event, following in zip(events, [*events[1:], None], strict=True):
        style = STYLES[event.status]
        if event.terminal:
            mark, took = Text("✔" if event.status is Status.CONFIRMED else "✘", style=style), ""
        elif following is None:
            mark = spinner(style)
            took = duration(max(0.0, ms_between(event.at, now or datetime.now(UTC))))
        else:
            mark, took = Text("✔" if "error" not in event.detail else "↻", style=style), ""
            took = duration(ms_between(event.at, following.at))
        grid.add_row(mark, status_text(event.status), Text(took, style="bright_black"), Text(detail_text(event)))
    content: list[RenderableType] = [grid]
    decided = next((e.detail for e in reversed(events) if e.status is Status.BUILDING), None)
    if decided is not None:
        content.append(Text(f"\n{decided['reason']}", style="italic"))
    if note:
        content.append(Text(note, style="yellow"))
    return Panel(Group(*content), title=title, title_align="left", border_style="bright_black", box=box.ROUNDED)


def order_title(order: Mapping[str, Any]) -> str:
    """``1.5 SOL → USDC``, with the limit where there is one."""
    text = f"{number(order['amountIn'], 20)} {order['tokenIn']} → {order['tokenOut']}"
    if order.get("limitPrice"):
        text += f" at {number(order['limitPrice'])} or better"
    return text


def order_summary(order: OrderSummaryView) -> Table:
    """An order as it stands, as names and values."""
    status = Status(order["status"])
    created, updated = (datetime.fromisoformat(order[name]) for name in ("createdAt", "updatedAt"))
    rows: list[tuple[str, str | Text]] = [
        ("Order", order["orderId"]),
        ("Status", status_text(status)),
        (order["type"].capitalize(), order_title(order)),
    ]
    if order["amountOut"] is not None:
        rows.append(("Received", Text(f"{number(order['amountOut'], 20)} {order['tokenOut']}", style="bold")))
    if order["executedPrice"] is not None:
        rows.append(("Price", _against_quote(order)))
    if order["venue"] is not None:
        rows += [("Route", _route_text(order)), ("Why", order["reason"] or "")]
    if order["txHash"] is not None:
        rows.append(("Signature", order["txHash"]))
    if order["failureReason"] is not None:
        rows.append(("Failed", Text(order["failureReason"], style="red")))
    rows.append(("Slippage", f"at most {Decimal(order['slippageBps']) / 100:f} %"))
    rows.append(("Took", f"{duration(ms_between(created, updated))}, {_attempts(order['attempts'])}"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _attempts(count: int) -> str:
    return "not attempted" if count == 0 else "1 attempt" if count == 1 else f"{count} attempts"


def _against_quote(order: OrderSummaryView) -> str:
    text = f"{number(order['executedPrice'])} {order['tokenOut']} per {order['tokenIn']}"
    route = order["route"]
    if route is None or order["amountOut"] is None or not Decimal(route["amountOut"]):
        return text
    change = (Decimal(order["amountOut"]) / Decimal(route["amountOut"]) - 1) * 10_000
    return f"{text} ({change:+.2f} bps against the quote)"


def _route_text(order: OrderSummaryView) -> str:
    route = order["route"]
    if route is None:
        return order["venue"] or ""
    return f"{route['venue']}: {legs_text(route)}"


def legs_text(candidate: CandidateView) -> str:
    """The swaps of a candidate in a line."""
    legs = candidate["legs"]
    if candidate["kind"] == "path":
        return " → ".join([legs[0]["tokenIn"], *(leg["tokenOut"] for leg in legs)])
    if len(legs) == 1:
        return f"pool {short(legs[0]['pool'], 4, 4)}"
    return ", ".join(f"{number(leg['amountIn'], 4)} {leg['tokenIn']} in {leg['venue']}" for leg in legs)


def stats_table(stats: StatsView) -> Group:
    queue, latency = stats["queue"], stats["latencyMs"]
    rows = {
        "Queue": f"{queue['waiting']} waiting, {queue['inFlight']} in flight, {queue['dead']} given up",
        "Finished": f"{stats['finished']:,} orders",
        "Latency": " · ".join(f"{name} {_bucket(value)}" for name, value in latency.items() if name.startswith("p")),
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bright_black")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, value)
    shares = [shares_table(title, counts) for title, counts in _shares(stats) if counts]
    return Group(table, *shares)


def _bucket(value: object) -> str:
    return f"≤ {duration(value)}" if isinstance(value, int) else "-"


def _shares(stats: StatsView) -> list[tuple[str, Mapping[str, int]]]:
    return [("By status", stats["byStatus"]), ("By venue", stats["byVenue"])]


def shares_table(title: str, counts: Mapping[str, int]) -> Table:
    """Counts with their share of all, as bars."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), title=f"\n{title}", title_justify="left")
    table.title_style = "bright_black"
    whole, most = sum(counts.values()) or 1, max(counts.values(), default=1) or 1
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        style = STYLES[Status(name)] if name in set(Status) else "cyan"
        table.add_row(name, f"{count:,}", f"{count / whole:.1%}", Text(_bar(count / most), style=style))
    return table


def _bar(share: float, width: int = _BAR) -> str:
    eighths = round(share * width * 8)
    return _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def stage_bar(status: Status, failed_at: Status | None = None) -> Text:
    """Five marks: the stages that an order has passed."""
    text = Text()
    if status in STAGES:
        reached = STAGES.index(status)
        for n, stage in enumerate(STAGES):
            text.append("●" if n <= reached else "○", style=STYLES[stage if n <= reached else Status.PENDING])
        return text
    reached = STAGES.index(failed_at) if failed_at in STAGES else 0
    text.append("●" * (reached + 1) + "✘", style=STYLES[status])
    return text.append("○" * (len(STAGES) - reached - 2), style=STYLES[Status.PENDING])


def histogram(values_ms: Sequence[float], rows: int = 12) -> Table:
    """How many values lie in each of ``rows`` equal steps between the least and the greatest."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(justify="right", style="bright_black")
    table.add_column(justify="right")
    table.add_column()
    if not values_ms:
        return table
    low, high = min(values_ms), max(values_ms)
    step = (high - low) / rows or 1.0
    counts = [0] * rows
    for value in values_ms:
        counts[min(rows - 1, int((value - low) / step))] += 1
    most = max(counts)
    for n, count in enumerate(counts):
        table.add_row(f"≤ {duration(low + step * (n + 1))}", str(count), Text(_bar(count / most, 40), style="cyan"))
    return table
