"""The commands for orders: place, follow, show, list, cancel, quote, statistics."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli import numerals
from cli.errors import Unreachable
from cli.terminal import (
    LOCAL_URL,
    OK,
    ORDER_FAILED,
    AsJson,
    Key,
    Url,
    console,
    duration,
    errors,
    program,
    run_client,
    show_result,
)
from order_engine.domain.order import Status

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer()

TokenIn = Annotated[str, typer.Argument(help="Token that you give, by symbol or mint.", show_default=False)]
TokenOut = Annotated[str, typer.Argument(help="Token that you get.", show_default=False)]
Amount = Annotated[
    str,
    typer.Argument(parser=numerals.amount, help="How much you give, in whole tokens, such as 1.5.", show_default=False),
]


def _order_id(text: str) -> str:
    if not text.strip("… "):
        raise typer.BadParameter("Write the order's id.")
    return text


OrderId = Annotated[
    str,
    typer.Argument(
        metavar="ORDER",
        help="The order's id, or its first eight characters as they are shown elsewhere.",
        show_default=False,
        callback=_order_id,
    ),
]


@app.command()
def submit(
    token_in: TokenIn,
    token_out: TokenOut,
    amount: Amount,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit",
            metavar="PRICE",
            parser=numerals.amount,
            help="Make it a limit order: the least TOKEN_OUT per TOKEN_IN.",
        ),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option("--expires-in", metavar="DURATION", help="Limit orders: give up after 90s, 15m, 2h, 3d."),
    ] = None,
    slippage: Annotated[
        int | None,
        typer.Option(
            "--slippage",
            metavar="PERCENT",
            parser=numerals.percent,
            help="Tolerance against the quote, such as 0.5.",
        ),
    ] = None,
    wallet: Annotated[str | None, typer.Option("--wallet", help="Wallet address, recorded with the order.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Names the order: the same key never places a second one.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the order to its end.")] = False,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Place an order: [cyan]order-engine submit SOL USDC 1.5 --watch[/cyan]"""
    expires_at = None if expires_in is None else datetime.now(UTC) + duration(expires_in)
    name = idempotency_key or str(uuid.uuid4())

    async def run(client: Client) -> int:
        try:
            accepted = await client.place(
                token_in,
                token_out,
                amount,
                slippage_bps=slippage,
                limit_price=limit,
                expires_at=expires_at,
                wallet_address=wallet,
                idempotency_key=name,
            )
        except Unreachable as error:
            if error.unknown:
                errors.print(
                    "It is not known whether the order was placed. Run the same command again with "
                    f"--idempotency-key {name}: it will not be placed twice."
                )
            raise
        if watch:
            return await _watch(client, accepted.order_id, as_json=as_json, ws_url=accepted.ws_url)
        document = {
            "orderId": accepted.order_id,
            "status": accepted.status,
            "createdAt": accepted.created_at,
            "wsUrl": accepted.ws_url,
            "replayed": accepted.replayed,
        }
        again = " (placed before with this key)" if accepted.replayed else ""
        show_result(document, f"{accepted.order_id}  {accepted.status}{again}", as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command()
def watch(
    order: OrderId,
    after: Annotated[
        int,
        typer.Option(
            "--after",
            parser=numerals.whole(0, 2**31 - 1),
            metavar="SEQ",
            help="The last sequence number that you have seen.",
        ),
    ] = 0,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Follow an order to its end. With --json: one line for each event."""

    async def run(client: Client) -> int:
        return await _watch(client, await client.find(order), as_json=as_json, after=after)

    run_client(run, url, key, as_json=as_json)


async def _watch(client: Client, order_id: str, *, as_json: bool, after: int = 0, ws_url: str | None = None) -> int:
    from cli import render
    from cli.live import Watch

    before = await client.get(order_id)
    view = Watch(console, f"{render.order_title(before)} · {order_id}", as_json)
    try:
        await view.run(lambda on_state: client.follow(order_id, after=after, ws_url=ws_url, on_state=on_state))
    except asyncio.CancelledError:
        errors.print(f"The order goes on. To follow it again: {program()} watch {order_id}")
        raise
    order = await client.get(order_id)
    if not as_json:
        console.print(render.order_summary(order))
    return OK if order["status"] == Status.CONFIRMED else ORDER_FAILED


@app.command()
def show(order: OrderId, url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Show an order as it stands, with all its steps."""

    async def run(client: Client) -> int:
        from rich.console import Group

        from cli import render
        from cli.events import OrderEvent

        found = await client.get(await client.find(order))
        events = [OrderEvent.read(found["orderId"], view) for view in found.get("events", [])]
        lines = [render.event_line(event, events[0].at) for event in events]
        show_result(found, Group(*lines, "", render.order_summary(found)), as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command("list")
def list_orders(
    status: Annotated[Status | None, typer.Option("--status", help="Only orders in this status.")] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", parser=numerals.whole(1, 10_000), metavar="NUMBER", help="At most so many, 1 to 10,000."
        ),
    ] = 20,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List your orders, newest first. With --json: one line for each order."""

    async def run(client: Client) -> int:
        from cli.tables import orders_table

        found = []
        async with aclosing(client.orders(status=status)) as orders:
            async for order in orders:
                found.append(order)
                if as_json:
                    print(json.dumps(order, ensure_ascii=False))
                if len(found) == limit:
                    break
        if not as_json:
            console.print(orders_table(found) if found else "There are no such orders.")
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command()
def cancel(order: OrderId, url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Cancel an order that no worker has claimed."""

    async def run(client: Client) -> int:
        found = await client.cancel(await client.find(order))
        show_result(found, f"{found['orderId']}  {found['status']}", as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command()
def quote(
    token_in: TokenIn,
    token_out: TokenOut,
    amount: Amount,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Compare the venues' quotes and see the route that an order would take."""

    async def run(client: Client) -> int:
        from cli.tables import quote_table

        found = await client.quote(token_in, token_out, amount)
        show_result(found, quote_table(found, token_in, token_out, amount), as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command()
def tokens(url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """The tokens that can be traded, each against each."""

    async def run(client: Client) -> int:
        from cli.tables import tokens_table

        found = await client.tokens()
        show_result(found, tokens_table(found), as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)


@app.command()
def stats(url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Your orders in numbers, and the queue's depth."""

    async def run(client: Client) -> int:
        from cli import render

        found = await client.stats()
        show_result(found, render.stats_table(found), as_json=as_json)
        return OK

    run_client(run, url, key, as_json=as_json)
