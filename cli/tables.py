"""Tables that show whole cells at any width: what has no room is left out by rank, or everything is stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from cli import render
from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.order import Status
from order_engine.wire.schema import OrderSummaryView, QuoteView, TokensView

type Cell = str | Text

_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``Records``.

    Attributes:
        rank: the greatest is left out first; one of rank 0 never is.
        least: the width that it keeps whatever its cells hold, so that a table that moves keeps its columns.
        fold: its cells may be broken over lines, down to ``least``. All others are never broken or shortened.
    """

    name: str
    rank: int = 0
    right: bool = False
    least: int = 0
    fold: bool = False


@dataclass(slots=True)
class Records:
    """Rows of cells, by the columns' names.

    Where even the columns of rank 0 have no room, each row is written as lines of names and values, with all columns.

    Attributes:
        styles: by row; "" where there is none.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    styles: Sequence[str] = ()
    rule: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._fitting(options.max_width)
        yield self._table(shown) if shown else self._stacked()

    def _fitting(self, width: int) -> list[Column]:
        """The columns that have room together; none if those of rank 0 have not."""
        # The rule's box has a space at each end.
        room = width - (2 if self.rule else 0)
        for rank in sorted({column.rank for column in self.columns}, reverse=True):
            shown = [column for column in self.columns if column.rank <= rank]
            if sum(map(self._least, shown)) + _GAP * (len(shown) - 1) <= room:
                return shown
        return []

    def _least(self, column: Column) -> int:
        whole = max([len(column.name), *(_width(row.get(column.name, "")) for row in self.rows)])
        return min(whole, max(column.least, len(column.name))) if column.fold else max(whole, column.least)

    def _table(self, shown: Sequence[Column]) -> Table:
        if self.rule:
            table = Table(box=box.SIMPLE_HEAD, header_style="bright_black", padding=(0, _GAP - 1, 0, 0))
        else:
            table = Table(box=None, header_style="bright_black", padding=(0, _GAP, 0, 0), pad_edge=False)
        for column in shown:
            table.add_column(
                column.name.strip(),
                justify="right" if column.right else "left",
                no_wrap=not column.fold,
                overflow="fold",
                min_width=self._least(column),
            )
        for number, row in enumerate(self.rows):
            style = self.styles[number] if self.styles else ""
            table.add_row(*(row.get(column.name, "") for column in shown), style=style)
        return table

    def _stacked(self) -> Group:
        lines: list[RenderableType] = []
        first, *others = [column for column in self.columns if column.name.strip()]
        for row in self.rows:
            lines.append(Text(str(row.get(first.name, "")), style="bold", overflow="fold"))
            for column in others:
                value = row.get(column.name, "")
                if str(value):
                    text = Text("  ", overflow="fold").append(f"{column.name} ", style="bright_black")
                    lines.append(text.append_text(value if isinstance(value, Text) else Text(value)))
        return Group(*lines)


def _width(cell: Cell) -> int:
    return (cell if isinstance(cell, Text) else Text(cell)).cell_len


def orders_table(orders: Sequence[OrderSummaryView]) -> Records:
    """Orders as lines, or each as several lines; the id is always whole."""
    columns = (
        Column("Order"),
        Column("Status"),
        Column("Swap", fold=True, least=20),
        Column("Received", 1, right=True),
        Column("Placed", 2),
        Column("Took", 3, right=True),
        Column("Venue", 4),
        Column("Price", 5, right=True),
    )
    rows: list[dict[str, Cell]] = []
    for order in orders:
        created, updated = (datetime.fromisoformat(order[name]) for name in ("createdAt", "updatedAt"))
        status = Status(order["status"])
        rows.append(
            {
                "Order": order["orderId"],
                "Status": render.status_text(status),
                "Swap": render.order_title(order),
                "Received": render.number(order["amountOut"]),
                "Placed": f"{created.astimezone():%m-%d %H:%M:%S}",
                "Took": render.duration(render.ms_between(created, updated)) if status in TERMINAL else "-",
                "Venue": order["venue"] or "-",
                "Price": render.number(order["executedPrice"]),
            }
        )
    return Records(columns, rows)


def tokens_table(found: TokensView) -> Records:
    columns = (Column("Token"), Column("Decimals", 1, right=True), Column("Mint", fold=True, least=44))
    rows: list[dict[str, Cell]] = [
        {"Token": token["symbol"] or "-", "Decimals": str(token["decimals"]), "Mint": token["mint"]}
        for token in found["tokens"]
    ]
    return Records(columns, rows)


def quote_table(quote: QuoteView, token_in: str, token_out: str, amount: str) -> Group:
    """All candidates with the chosen one marked, and the reason."""
    out = f"Out ({token_out})"
    columns = (
        Column(" "),
        Column("Venue"),
        Column("Route", 2, fold=True, least=20),
        Column(out, 4, right=True),
        Column("Net of fees", right=True),
        Column("Price", 3, right=True),
        Column("Impact", 1, right=True),
    )
    chosen = quote["route"]
    rows: list[dict[str, Cell]] = [
        {
            " ": Text("▶" if candidate == chosen else "", style="green"),
            "Venue": candidate["venue"],
            "Route": f"{candidate['kind']}: {render.legs_text(candidate)}",
            out: render.number(candidate["amountOut"]),
            "Net of fees": render.number(candidate["netOut"]),
            "Price": render.number(candidate["price"]),
            "Impact": f"{candidate['priceImpactBps']} bps",
        }
        for candidate in quote["quotes"]
    ]
    styles = ["bold" if candidate == chosen else "" for candidate in quote["quotes"]]
    lines: list[RenderableType] = [
        Text(f"{render.number(amount, 20)} {token_in} → {token_out}", style="bold"),
        Records(columns, rows, styles),
        Text(quote["reason"], style="italic"),
    ]
    lines += [Text(f"{left['venue']} left out: {left['reason']}", style="yellow") for left in quote["leftOut"]]
    return Group(*lines)
