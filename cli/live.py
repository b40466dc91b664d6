"""Orders as they move, in a terminal: one with all its steps, or many with one line each."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli import render
from cli.client import Client
from cli.events import OrderEvent
from cli.stream import StreamState
from cli.tables import Cell, Column, Records
from order_engine.domain.order import Status
from order_engine.domain.venues import VENUES
from order_engine.wire.times import to_text

_DIGITS = 7


def event_json(event: OrderEvent) -> str:
    """One event as one line of JSON, with the names of the wire."""
    head = {
        "orderId": event.order_id,
        "seq": event.seq,
        "status": event.status.value,
        "at": to_text(round(event.at.timestamp() * 1000)),
        "attempt": event.attempt,
    }
    return json.dumps(head | dict(event.detail), ensure_ascii=False)


@dataclass
class Watch:
    """One order. With ``as_json`` it writes a line of JSON per event; elsewhere than on a terminal, a line of text."""

    console: Console
    title: str
    as_json: bool = False
    events: list[OrderEvent] = field(default_factory=list)
    note: str = ""

    async def run(self, stream: Callable[[Callable[[StreamState], None]], AsyncGenerator[OrderEvent]]) -> Status | None:
        """Show the events as they come; the last status, or None if nothing came."""
        with self._display():
            async with aclosing(stream(self._state)) as events:
                async for event in events:
                    self.events.append(event)
                    self._show(event)
        return self.events[-1].status if self.events else None

    def __rich__(self) -> RenderableType:
        if not self.events and not self.note:
            return render.spinner().append(f" Connecting to follow {self.title} …")
        return render.timeline(self.title, self.events, self.note)

    def _display(self) -> AbstractContextManager[object]:
        if self.as_json or not self.console.is_terminal:
            return nullcontext()
        return Live(self, console=self.console, refresh_per_second=12)

    def _show(self, event: OrderEvent) -> None:
        if self.as_json:
            print(event_json(event), flush=True)
        elif not self.console.is_terminal:
            self.console.print(render.event_line(event, self.events[0].at), soft_wrap=True, highlight=False)

    def _state(self, state: StreamState) -> None:
        self.note = lost_text(state)


def lost_text(state: StreamState) -> str:
    if state.connected:
        return ""
    return f"Connection lost: {state.reason}. Trying again in {render.duration(state.retry_in_s * 1000)}."


@dataclass
class Row:
    """One of many orders.

    Attributes:
        swap: what it swaps.
        order_id: None until it is accepted.
        refused: why it was not accepted.
    """

    swap: str
    order_id: str | None = None
    refused: str = ""
    events: list[OrderEvent] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return bool(self.refused) or (bool(self.events) and self.events[-1].terminal)

    @property
    def status(self) -> Status | None:
        return self.events[-1].status if self.events else None

    def last(self, status: Status) -> OrderEvent | None:
        return next((event for event in reversed(self.events) if event.status is status), None)


@dataclass
class Board:
    """Many orders at once, each a line with its stages and the routing decision."""

    console: Console
    rows: list[Row]
    as_json: bool = False
    note: str = ""

    async def run(self, client: Client, since: datetime) -> None:
        """Follow the orders of all rows to their ends."""
        by_id = {row.order_id: row for row in self.rows if row.order_id}
        if all(row.ended for row in self.rows):
            return
        async with aclosing(client.follow_all(since=since, on_state=self._state)) as events:
            async for event in events:
                row = by_id.get(event.order_id)
                if row is None:
                    continue
                row.events.append(event)
                self._show(row, event)
                if all(row.ended for row in self.rows):
                    return

    def display(self) -> AbstractContextManager[object]:
        if self.as_json or not self.console.is_terminal:
            return nullcontext()
        return Live(self, console=self.console, refresh_per_second=12)

    def _show(self, row: Row, event: OrderEvent) -> None:
        if self.as_json:
            print(event_json(event), flush=True)
        elif not self.console.is_terminal:
            self.console.print(render.event_line(event, row.events[0].at), soft_wrap=True, highlight=False)

    def _state(self, state: StreamState) -> None:
        self.note = lost_text(state)

    def __rich__(self) -> RenderableType:
        """The table, and below it what went wrong, in whole sentences."""
        table = Records(_COLUMNS, [_cells(row) for row in self.rows], rule=False)
        notes = [note for row in self.rows if (note := _note(row)) is not None]
        return Group(table, *notes, *([Text(self.note, style="yellow")] if self.note else []))

    def summary(self) -> str:
        """How many were confirmed, and how long that took."""
        took = sorted(
            render.ms_between(row.events[0].at, row.events[-1].at)
            for row in self.rows
            if row.status is Status.CONFIRMED
        )
        text = f"{len(took)} of {len(self.rows)} confirmed"
        if not took:
            return f"{text}."
        if len(took) == 1:
            return f"{text} in {render.duration(took[0])}."
        return f"{text} in {render.duration(took[0])} to {render.duration(took[-1])}."


# What has no room is left out, the greatest rank first: 80 columns hold the decision and the result.
_COLUMNS = (
    Column(" ", least=1),
    Column("Order", 4, least=9),
    Column("Swap"),
    Column("Stages", 6, least=6),
    Column("Status", least=9),
    Column("Time", 3, right=True, least=7),
    *(Column(venue, 5, right=True, least=10) for venue in VENUES),
    Column("Route", 1, least=15),
    Column("Gain", 2, right=True, least=10),
    Column("Result", right=True, least=10),
)


def _cells(row: Row) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"Swap": row.swap, "Order": render.short(row.order_id or "…")}
    if row.refused:
        return cells | {" ": Text("✘", style="red"), "Status": Text("refused", style="red"), "Result": "-"}
    if not row.events:
        return cells | {" ": render.spinner()}
    first, last = row.events[0], row.events[-1]
    style = render.STYLES[last.status]
    end = last.at if last.terminal else max(last.at, datetime.now(UTC))
    before = next((event.status for event in reversed(row.events) if not event.terminal), None)
    mark = Text("✔" if last.status is Status.CONFIRMED else "✘", style=style)
    cells |= {
        " ": mark if last.terminal else render.spinner(style),
        "Stages": render.stage_bar(last.status, before),
        "Status": render.status_text(last.status),
        "Time": render.duration(render.ms_between(first.at, end)),
        "Result": _result(last),
    }
    decided = row.last(Status.BUILDING)
    if decided is not None:
        quotes = render.best_quotes(decided.detail["quotes"], _DIGITS)
        gain = decided.detail.get("improvementOverOtherBps")
        cells |= {venue: quotes.get(venue, "-") for venue in VENUES}
        cells["Route"] = Text(decided.detail["venue"], style="bold")
        cells["Gain"] = "-" if gain is None else _gain(gain)
    return cells


def _gain(bps: str) -> Text:
    lost = bps.startswith("-")
    return Text(f"{'' if lost else '+'}{render.number(bps, 4)} bps", style="" if lost else "green")


def _result(last: OrderEvent) -> Text:
    if last.status is Status.CONFIRMED:
        return Text(f"+{render.number(last.detail['amountOut'], _DIGITS)}", style=render.STYLES[last.status])
    return Text("-" if last.terminal else "")


def _note(row: Row) -> Text | None:
    """Why a row failed, was refused, or is tried again."""
    if row.refused:
        return Text(f"✘ {row.swap}: {row.refused}", style="red")
    if row.status is Status.FAILED:
        return Text(f"✘ {row.swap}: {render.detail_text(row.events[-1])}", style=render.STYLES[Status.FAILED])
    if row.ended:
        return None
    tried = next((event for event in reversed(row.events) if "error" in event.detail), None)
    return None if tried is None else Text(f"↻ {row.swap}: {tried.detail['error']['message']}", style="yellow")
