"""Orders at a steady rate, and what became of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import render
from cli.client import Client
from cli.errors import ApiError, ClientError

MOST_ORDERS = 20_000
_SHARES = (50, 90, 99)
# The engine's clock may be a little behind this one.
_SKEW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: ``rate`` orders a second for ``seconds``, all alike."""

    token_in: str
    token_out: str
    amount: str
    rate: float
    seconds: float

    @property
    def orders(self) -> int:
        return max(1, round(self.rate * self.seconds))


@dataclass
class Result:
    """What came back. Times are milliseconds from the moment that an order was due, so a wait to send it counts.

    Attributes:
        accepted_ms: until the 202.
        ended_ms: until the last event was seen.
        refused: by the error's code.
        ended: by the last status.
    """

    sent: int = 0
    accepted_ms: list[float] = field(default_factory=list)
    ended_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    lasted_s: float = 0.0

    @property
    def accepted(self) -> int:
        return len(self.accepted_ms)

    @property
    def unfinished(self) -> int:
        return self.accepted - sum(self.ended.values())


def quantile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank quantile: the least value that ``percent`` of all do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


@dataclass
class Load:
    """One run.

    Args:
        wait_s: how long to wait for the last orders to end.
        progress: is called whenever a figure has changed.
    """

    client: Client
    plan: Plan
    wait_s: float
    progress: Callable[[Result], None]
    result: Result = field(default_factory=Result)
    _due: dict[str, float] = field(default_factory=dict)
    _early: dict[str, tuple[float, str]] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Result:
        """Send all orders and wait for their ends.

        Raises:
            ClientError: the stream of statuses cannot be had.
        """
        following = asyncio.create_task(self._follow())
        try:
            ready = asyncio.create_task(self._ready.wait())
            await asyncio.wait({following, ready}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                ready.cancel()
                await following
            started = time.monotonic()
            await self._send_all(started)
            await self._wait(following)
            self.result.lasted_s = time.monotonic() - started
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        return self.result

    async def _send_all(self, started: float) -> None:
        async with asyncio.TaskGroup() as group:
            for n in range(self.plan.orders):
                due = started + n / self.plan.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._send(due))

    async def _send(self, due: float) -> None:
        self.result.sent += 1
        try:
            accepted = await self.client.place(self.plan.token_in, self.plan.token_out, self.plan.amount)
        except ApiError as error:
            self.result.refused[error.code] += 1
        except ClientError:
            self.result.refused["no answer"] += 1
        else:
            self.result.accepted_ms.append((time.monotonic() - due) * 1000)
            self._due[accepted.order_id] = due
            if accepted.order_id in self._early:
                self._end(accepted.order_id, *self._early.pop(accepted.order_id))
        self.progress(self.result)

    async def _follow(self) -> None:
        since = datetime.now(UTC) - _SKEW
        async with aclosing(self.client.follow_all(since=since, on_state=lambda state: self._ready.set())) as events:
            async for event in events:
                if not event.terminal:
                    continue
                if event.order_id in self._due:
                    self._end(event.order_id, time.monotonic(), event.status)
                else:
                    # Its 202 has not come back yet, or somebody else placed it.
                    self._early[event.order_id] = (time.monotonic(), event.status)

    def _end(self, order_id: str, at: float, status: str) -> None:
        self.result.ended_ms.append((at - self._due[order_id]) * 1000)
        self.result.ended[status] += 1
        self._changed.set()
        self.progress(self.result)

    async def _wait(self, following: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + self.wait_s
        while self.result.unfinished and not following.done() and time.monotonic() < deadline:
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait())
            left_s = max(0.0, deadline - time.monotonic())
            await asyncio.wait({changed, following}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        if following.done():
            await following


def report_json(plan: Plan, result: Result) -> dict[str, Any]:
    """The figures as one JSON document; times in milliseconds."""

    def quantiles(values: Sequence[float]) -> dict[str, float | None]:
        found = {f"p{share}": quantile(values, share) for share in _SHARES} | {"max": max(values, default=None)}
        return {name: None if value is None else round(value, 1) for name, value in found.items()}

    return {
        "ratePerSecond": plan.rate,
        "seconds": plan.seconds,
        "sent": result.sent,
        "accepted": result.accepted,
        "refused": dict(result.refused),
        "ended": dict(result.ended),
        "unfinished": result.unfinished,
        "lastedSeconds": round(result.lasted_s, 2),
        "acceptedMs": quantiles(result.accepted_ms),
        "endedMs": quantiles(result.ended_ms),
    }


def report(result: Result) -> Group:
    """The figures for a person."""
    table = Table(box=None, header_style="bright_black", padding=(0, 2, 0, 0))
    table.add_column("")
    for name in (*(f"p{share}" for share in _SHARES), "max"):
        table.add_column(name, justify="right")
    for title, values in (("Until accepted", result.accepted_ms), ("Until the end", result.ended_ms)):
        found = [*(quantile(values, share) for share in _SHARES), max(values, default=None)]
        table.add_row(title, *("-" if value is None else render.duration(value) for value in found))
    lines: list[RenderableType] = [
        Text(f"{result.sent:,} sent, {result.accepted:,} accepted in {result.lasted_s:.1f} s", style="bold"),
        table,
    ]
    if result.ended:
        lines.append(render.shares_table("By status", result.ended))
    if result.refused:
        lines.append(render.shares_table("Refused", result.refused))
    if result.refused["rate_limited"]:
        lines.append(Text("The engine admits each user a number of orders a minute (ORDERS_PER_MINUTE).", "yellow"))
    if result.unfinished:
        lines.append(Text(f"{result.unfinished:,} had not ended when the time was up.", "yellow"))
    if len(result.ended_ms) > 1:
        lines += [Text("\nUntil the end", style="bright_black"), render.histogram(result.ended_ms)]
    return Group(*lines)
