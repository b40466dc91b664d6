"""The commands that try an engine: several orders at once, and a steady load."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli import numerals
from cli.errors import ApiError
from cli.terminal import (
    LOCAL_URL,
    OK,
    ORDER_FAILED,
    REFUSED,
    AsJson,
    Key,
    Url,
    console,
    errors,
    run_client,
    show_result,
)
from order_engine.domain.order import Status

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer()

DEMO_SWAPS = (
    ("SOL", "USDC", "1.5"),
    ("USDC", "SOL", "250"),
    ("SOL", "USDC", "800"),
    ("JUP", "USDC", "1000"),
    ("BONK", "SOL", "5000000"),
    ("SOL", "USDC", "0.25"),
    ("USDC", "JUP", "75.5"),
    ("SOL", "BONK", "12"),
)


@app.command()
def demo(
    count: Annotated[
        int,
        typer.Option(
            "--count", "-n", parser=numerals.whole(1, 50), metavar="NUMBER", help="How many orders at once, 1 to 50."
        ),
    ] = 5,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Place several orders at once and watch them being routed and executed."""

    async def run(client: Client) -> int:
        from cli import render
        from cli.live import Board, Row

        swaps = [DEMO_SWAPS[n % len(DEMO_SWAPS)] for n in range(count)]
        rows = [Row(f"{render.number(amount)} {source} → {target}") for source, target, amount in swaps]
        board = Board(console, rows, as_json)
        refusals: list[ApiError] = []

        async def place(row: Row, source: str, target: str, amount: str) -> str | None:
            try:
                accepted = await client.place(source, target, amount)
            except ApiError as error:
                row.refused = error.detail
                refusals.append(error)
                return None
            row.order_id = accepted.order_id
            return accepted.created_at

        with board.display():
            placed = await asyncio.gather(*(place(row, *swap) for row, swap in zip(rows, swaps, strict=True)))
            times = [datetime.fromisoformat(at) for at in placed if at is not None]
            if not times:
                raise refusals[0]
            await board.run(client, min(times))
        confirmed = sum(row.status is Status.CONFIRMED for row in rows)
        if not as_json:
            console.print(f"\n{board.summary()}")
        return OK if confirmed == count else REFUSED if refusals else ORDER_FAILED

    run_client(run, url, key, as_json=as_json)


@app.command()
def load(
    rate: Annotated[
        float,
        typer.Option("--rate", parser=numerals.number(0.1, 500), metavar="NUMBER", help="Orders a second, 0.1 to 500."),
    ] = 1.5,
    seconds: Annotated[
        float,
        typer.Option("--seconds", parser=numerals.number(1, 3600), metavar="NUMBER", help="For how long, 1 to 3600."),
    ] = 20,
    source: Annotated[str, typer.Option("--in", help="Token that the orders give.")] = "SOL",
    target: Annotated[str, typer.Option("--out", help="Token that they get.")] = "USDC",
    amount: Annotated[
        str, typer.Option("--amount", parser=numerals.amount, metavar="AMOUNT", help="How much each gives.")
    ] = "0.1",
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            parser=numerals.number(0, 3600),
            metavar="NUMBER",
            help="Seconds to wait for the last ends, 0 to 3600.",
        ),
    ] = 60,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Place orders at a steady rate and measure how long they take."""
    from cli.load import MOST_ORDERS, Load, Plan, Result, report, report_json

    plan = Plan(source, target, amount, rate, seconds)
    if plan.orders > MOST_ORDERS:
        raise typer.BadParameter(f"That is {plan.orders:,} orders; at most {MOST_ORDERS:,} are sent.")

    async def run(client: Client) -> int:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=errors, transient=True, disable=as_json or not errors.is_terminal) as bars:
            names = ("sent", "accepted", "ended")
            tasks = {name: bars.add_task(name, total=plan.orders) for name in names}

            def progress(result: Result) -> None:
                done = (result.sent, result.accepted, sum(result.ended.values()))
                for name, count in zip(names, done, strict=True):
                    bars.update(tasks[name], completed=count)

            result = await Load(client, plan, wait, progress).run()
        show_result(report_json(plan, result), report(result), as_json=as_json)
        if not result.accepted:
            return REFUSED
        return ORDER_FAILED if result.unfinished else OK

    run_client(run, url, key, as_json=as_json)
