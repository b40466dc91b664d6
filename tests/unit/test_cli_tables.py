"""What the command line shows on terminals of any width: whole ids and whole figures, or none."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.text import Text

from cli.events import OrderEvent
from cli.live import Board, Row
from cli.render import number
from cli.tables import Column, Records, orders_table, quote_table
from cli.trials import DEMO_SWAPS
from order_engine.domain.order import Status
from tests.unit.cli_engine import ORDER, OTHER, ROUTE

START = datetime(2026, 1, 1, tzinfo=UTC)
WIDTHS = st.integers(20, 200)


def screen(shown: RenderableType, width: int) -> list[str]:
    """The lines on a terminal of this width."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False).print(shown)
    lines = out.getvalue().splitlines()
    assert all(Text(line).cell_len <= width for line in lines)
    return lines


def order(n: int, **changes: Any) -> Any:
    return ORDER | {"orderId": f"{n:08x}-561e-5542-bbcd-dbcd8fc27228"} | changes


ORDERS = [
    order(1),
    order(2, status="open", limitPrice="1000", amountOut=None, executedPrice=None, venue=None),
    order(3, tokenIn="BONK", tokenOut="SOL", amountIn="5000000", amountOut="0.6777481", venue="raydium+meteora"),
]


@given(WIDTHS)
def test_a_list_of_orders_never_cuts_an_id(width: int) -> None:
    lines = screen(orders_table(ORDERS), width)
    for shown in ORDERS:
        # Only where not even the id has room is it broken, and then over whole lines.
        assert shown["orderId"] in ("".join(line.strip() for line in lines) if width < 36 else "\n".join(lines))
    assert "…" not in "".join(lines)


def test_a_list_of_orders_has_what_matters_first() -> None:
    assert "Swap" in screen(orders_table(ORDERS), 80)[1]
    assert "Received" in screen(orders_table(ORDERS), 90)[1]
    assert "Price" in screen(orders_table(ORDERS), 180)[1]
    # How long an order took is known once it has ended.
    took = [line.split("SOL → USDC")[1].split() for line in screen(orders_table(ORDERS), 180)[3:5]]
    assert "2.50" in took[0]
    assert "2.50" not in took[1]
    # Where there is no room for columns, nothing is left out.
    assert "  Received 0.6777481" in screen(orders_table(ORDERS), 40)


@given(WIDTHS)
def test_a_quote_never_cuts_a_figure(width: int) -> None:
    quotes: list[Any] = [ROUTE | {"netOut": "117492.350841"}, OTHER | {"priceImpactBps": "2448.69"}]
    quote: Any = {"route": quotes[0], "quotes": quotes, "reason": "It gives most.", "leftOut": []}
    text = "\n".join(screen(quote_table(quote, "SOL", "USDC", "800"), width))
    assert "117,492.35" in text
    assert "219.5" in text
    # Every figure of the table that is shown is shown whole.
    known = {number(q[name]) for q in quotes for name in ("amountOut", "netOut", "price")}
    known |= {"800", "5", "2448.69", "1.5"}
    for figure in re.findall(r"(?<![\w.,])[\d,]*\d\.?\d*(?=\s|$)", text):
        assert figure in known, (figure, text)


def event(row: Row, seq: int, status: Status, **detail: Any) -> OrderEvent:
    assert row.order_id is not None
    return OrderEvent(row.order_id, seq, status, START + timedelta(seconds=seq), 1, detail)


def demonstration(*, failed: bool = False) -> Board:
    """A board whose orders have all ended."""
    rows = []
    for n, (source, target, amount) in enumerate(DEMO_SWAPS):
        row = Row(f"{number(amount)} {source} → {target}", f"{n:08x}-561e-5542-bbcd-dbcd8fc27228")
        quotes: list[Any] = [ROUTE | {"netOut": "117515.31"}, OTHER | {"netOut": "117528.27"}]
        decided = {"venue": "raydium+meteora", "quotes": quotes, "improvementOverOtherBps": "10.07"}
        row.events += [event(row, 1, Status.PENDING), event(row, 2, Status.BUILDING, **decided)]
        if failed:
            row.events.append(event(row, 3, Status.FAILED, failureReason="The price moved beyond the tolerance."))
        else:
            row.events.append(event(row, 3, Status.CONFIRMED, amountOut="117470.912345"))
        rows.append(row)
    return Board(Console(), rows)


@given(WIDTHS)
def test_a_demonstration_shows_every_result_whole(width: int) -> None:
    lines = screen(demonstration(), width)
    assert sum("+117,470.9" in line for line in lines) == len(DEMO_SWAPS)
    assert "…" not in re.sub(r"\b[0-9a-f]{8}…", "", "\n".join(lines))


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, ["Swap", "Status", "Route", "Gain", "Result"]),
        (100, ["Order", "Swap", "Status", "Time", "Route", "Gain", "Result"]),
        (132, ["Order", "Swap", "Stages", "Status", "Time", "raydium", "meteora", "Route", "Gain", "Result"]),
    ],
)
def test_a_demonstration_has_the_decision_and_the_result_at_eighty_columns(width: int, shown: list[str]) -> None:
    assert screen(demonstration(), width)[0].split() == shown


def test_a_demonstrations_columns_stay_while_orders_move() -> None:
    waiting = Board(Console(), [Row(row.swap) for row in demonstration().rows])
    for width in (60, 80, 100, 120, 132):
        assert screen(waiting, width)[0].split() == screen(demonstration(), width)[0].split()


def test_a_demonstration_says_why_an_order_failed_in_a_sentence_of_its_own() -> None:
    lines = screen(demonstration(failed=True), 80)
    assert "✘ 800 SOL → USDC: The price moved beyond the tolerance." in lines
    assert demonstration(failed=True).summary() == f"0 of {len(DEMO_SWAPS)} confirmed."
    assert demonstration().summary() == f"{len(DEMO_SWAPS)} of {len(DEMO_SWAPS)} confirmed in 2.00 s to 2.00 s."


@given(
    st.lists(st.lists(st.text("abc ", min_size=0, max_size=12), min_size=3, max_size=3), min_size=1, max_size=4),
    WIDTHS,
)
def test_cells_that_do_not_fold_are_whole_or_absent(rows: list[list[str]], width: int) -> None:
    columns = (Column("A"), Column("B", 1), Column("C", 2))
    table = Records(columns, [dict(zip("ABC", map(str.strip, row), strict=True)) for row in rows])
    lines = screen(table, width)
    if lines[1].split()[:1] == ["A"]:
        for row, line in zip(rows, lines[3:], strict=False):
            assert line.strip().startswith(row[0].strip())
