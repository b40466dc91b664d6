"""What ``python -m local`` shows: one line per step of each order, read from the orders' stream."""

from __future__ import annotations

import time
from typing import IO

from rich.console import Console
from rich.text import Text

from local.cloud.template import Json
from order_engine.aws import codec
from order_engine.domain.errors import TooNew
from order_engine.domain.order import Event, Order, Retry, Status
from order_engine.wire import views

_COLOURS = {
    Status.OPEN: "cyan",
    Status.PENDING: "yellow",
    Status.ROUTING: "blue",
    Status.BUILDING: "blue",
    Status.SUBMITTED: "magenta",
    Status.CONFIRMED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.EXPIRED: "yellow",
}


class Steps:
    """Writes the new events of each stream record. Colours only where ``out`` is a terminal."""

    def __init__(self, out: IO[str]) -> None:
        self._console = Console(file=out, highlight=False, markup=False, soft_wrap=True)

    def observe(self, record: Json) -> None:
        """Take one stream record in Lambda's form; records that are not orders' are passed over."""
        change = record["dynamodb"]
        try:
            order = codec.from_item(change.get("NewImage", {}))
        except (codec.Corrupt, TooNew):
            return
        known = len(change["OldImage"]["events"]["L"]) if "OldImage" in change else 0
        for event in order.events[known:]:
            self._console.print(line(order, event))


def line(order: Order, event: Event) -> Text:
    """Time, order, status and what there is to say about the step."""
    seconds, milliseconds = divmod(event.at, 1000)
    at = time.strftime("%H:%M:%S", time.localtime(seconds))
    text = Text(f"{at}.{milliseconds:03d}  {order.ref.order_id[:8]}  ")
    text.append(f"{event.status.value:<9}", style=_COLOURS[event.status])
    return text.append(f"  {describe(order, event)}")


def describe(order: Order, event: Event) -> str:
    """One step in words."""
    detail = views.detail_view(order.request, event)
    symbol_in, symbol_out = order.request.token_in.name, order.request.token_out.name
    match event.status:
        case Status.OPEN | Status.PENDING if "error" in detail:
            wait = max(0, _retry_at(event) - event.at) / 1000
            return f"attempt {event.attempt} failed: {detail['error']['message']} Again in {wait:.1f} s."
        case Status.OPEN | Status.PENDING if event.seq == 1:
            view = views.summary_view(order)
            limit = f", limit {view['limitPrice']} {symbol_out}" if view["limitPrice"] else ""
            slippage = f"{view['slippageBps'] / 100:g} %"
            return f"{view['type']} {view['amountIn']} {symbol_in} to {symbol_out}{limit}, slippage {slippage}"
        case Status.ROUTING:
            return f"attempt {event.attempt}: asking the venues"
        case Status.BUILDING:
            # The candidates come best first, and a venue has several: show each venue's best.
            best: dict[str, str] = {}
            for quote in detail["quotes"]:
                best.setdefault(quote["venue"], quote["netOut"])
            parts = [f"{venue} {net} {symbol_out} net" for venue, net in best.items()]
            parts += [f"{out['venue']} left out: {out['reason']}" for out in detail["leftOut"]]
            return f"{', '.join(parts)}. {detail['reason']} At least {detail['minOut']} {symbol_out}."
        case Status.SUBMITTED:
            return str(detail["txHash"])
        case Status.CONFIRMED:
            took = (event.at - order.created_at) / 1000
            price = f"{detail['executedPrice']} {symbol_out} per {symbol_in}"
            return f"{detail['amountOut']} {symbol_out} at {price} after {took:.2f} s, {detail['txHash']}"
        case Status.FAILED:
            return f"{detail['failureReason']} ({detail['error']['code']})"
        case _:
            return ""


def _retry_at(event: Event) -> int:
    return event.detail.retry_at if isinstance(event.detail, Retry) else event.at
