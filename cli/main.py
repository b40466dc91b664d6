"""The command ``order-engine``."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from cli.errors import ApiError, ClientError, Unreachable
from order_engine.domain.order import Status

if TYPE_CHECKING:
    from cli.client import Client
    from cli.operate import Place

LOCAL_URL = "http://127.0.0.1:8000"
# The key that every local stack has, and no other.
LOCAL_KEY = "oek_alice"

OK, ORDER_FAILED, USAGE, REFUSED, NOT_REACHABLE, AWS_FAILED, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 130

_EXITS = {
    OK: "done, or a watched order was confirmed",
    ORDER_FAILED: "a watched order failed, was cancelled or expired",
    USAGE: "the command line is wrong",
    REFUSED: "the engine refused",
    NOT_REACHABLE: "the engine cannot be reached",
    AWS_FAILED: "AWS refused or cannot be reached (keys, redrive)",
    INTERRUPTED: "interrupted",
}
EPILOG = "Exit codes: " + "; ".join(f"[bold]{code}[/bold] {meaning}" for code, meaning in _EXITS.items()) + "."

app = typer.Typer(
    name="order-engine",
    help="Place, follow and manage swap orders, on a local stack or a deployed stage.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
keys = typer.Typer(help="Create, list and revoke API keys (needs AWS credentials).", no_args_is_help=True)
app.add_typer(keys, name="keys")

# What goes into a file or a pipe is not broken at a terminal's width.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 200)

Url = Annotated[
    str, typer.Option("--url", envvar="ORDER_ENGINE_URL", help="Address of the engine.", rich_help_panel="Connection")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="ORDER_ENGINE_KEY",
        help="API key; better in the environment than here. A local stack needs none.",
        show_default=False,
        rich_help_panel="Connection",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
TokenIn = Annotated[str, typer.Argument(help="Token that you give, by symbol or mint.", show_default=False)]
TokenOut = Annotated[str, typer.Argument(help="Token that you get.", show_default=False)]
Amount = Annotated[str, typer.Argument(help="How much you give, in whole tokens, such as 1.5.", show_default=False)]
OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.", show_default=False)]


def _duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``3d``."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if found is None:
        raise typer.BadParameter("Write a duration such as 90s, 15m, 2h or 3d.")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def _percent(text: str) -> int:
    """Read a percentage with at most two decimals as basis points."""
    try:
        points = Decimal(text) * 100
        if points == points.to_integral_value() and points >= 0:
            return int(points)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise typer.BadParameter("Write a percentage with at most two decimals, such as 0.5.")


@app.command()
def submit(
    token_in: TokenIn,
    token_out: TokenOut,
    amount: Amount,
    limit: Annotated[
        str | None,
        typer.Option("--limit", metavar="PRICE", help="Make it a limit order: the least TOKEN_OUT per TOKEN_IN."),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option("--expires-in", metavar="DURATION", help="Limit orders: give up after 90s, 15m, 2h, 3d."),
    ] = None,
    slippage: Annotated[
        str | None, typer.Option("--slippage", metavar="PERCENT", help="Tolerance against the quote, such as 0.5.")
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
    slippage_bps = None if slippage is None else _percent(slippage)
    expires_at = None if expires_in is None else datetime.now(UTC) + _duration(expires_in)
    name = idempotency_key or str(uuid.uuid4())

    async def run(client: Client) -> int:
        try:
            accepted = await client.place(
                token_in,
                token_out,
                amount,
                slippage_bps=slippage_bps,
                limit_price=limit,
                expires_at=expires_at,
                wallet_address=wallet,
                idempotency_key=name,
            )
        except Unreachable as error:
            if error.unknown:
                errors.print(f"It is not known whether the order was placed. To find out: --idempotency-key {name}")
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
        _show(document, f"{accepted.order_id}  {accepted.status}{again}", as_json=as_json)
        return OK

    _run(run, url, key, as_json=as_json)


@app.command()
def watch(
    order: OrderId,
    after: Annotated[int, typer.Option("--after", min=0, help="The last sequence number that you have seen.")] = 0,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Follow an order to its end. With --json: one line for each event."""

    async def run(client: Client) -> int:
        return await _watch(client, order, as_json=as_json, after=after)

    _run(run, url, key, as_json=as_json)


async def _watch(client: Client, order_id: str, *, as_json: bool, after: int = 0, ws_url: str | None = None) -> int:
    from cli import render
    from cli.live import Watch

    before = await client.get(order_id)
    view = Watch(console, f"{render.order_title(before)} · {order_id}", as_json)
    try:
        await view.run(lambda on_state: client.follow(order_id, after=after, ws_url=ws_url, on_state=on_state))
    except asyncio.CancelledError:
        errors.print(f"The order goes on. To follow it again: order-engine watch {order_id}")
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
        from cli.stream import OrderEvent

        found = await client.get(order)
        events = [OrderEvent.read(order, view) for view in found.get("events", [])]
        lines = [render.event_line(event, events[0].at) for event in events]
        _show(found, Group(*lines, "", render.order_summary(found)), as_json=as_json)
        return OK

    _run(run, url, key, as_json=as_json)


@app.command("list")
def list_orders(
    status: Annotated[Status | None, typer.Option("--status", help="Only orders in this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    url: Url = LOCAL_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List your orders, newest first. With --json: one line for each order."""

    async def run(client: Client) -> int:
        from cli import render

        found = []
        async with aclosing(client.orders(status=status)) as orders:
            async for order in orders:
                found.append(order)
                if as_json:
                    print(json.dumps(order, ensure_ascii=False))
                if len(found) == limit:
                    break
        if not as_json:
            console.print(render.orders_table(found, console.width) if found else "There are no such orders.")
        return OK

    _run(run, url, key, as_json=as_json)


@app.command()
def cancel(order: OrderId, url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Cancel an order that no worker has claimed."""

    async def run(client: Client) -> int:
        found = await client.cancel(order)
        _show(found, f"{order}  {found['status']}", as_json=as_json)
        return OK

    _run(run, url, key, as_json=as_json)


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
        from cli import render

        found = await client.quote(token_in, token_out, amount)
        _show(found, render.quote_table(found, token_in, token_out, amount), as_json=as_json)
        return OK

    _run(run, url, key, as_json=as_json)


@app.command()
def stats(url: Url = LOCAL_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Your orders in numbers, and the queue's depth."""

    async def run(client: Client) -> int:
        from cli import render

        found = await client.stats()
        _show(found, render.stats_table(found), as_json=as_json)
        return OK

    _run(run, url, key, as_json=as_json)


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
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=50, help="How many orders at once.")] = 5,
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
        confirmed = sum(bool(row.events) and row.events[-1].status is Status.CONFIRMED for row in rows)
        if not as_json:
            console.print(f"\n{confirmed} of {count} confirmed.")
        return OK if confirmed == count else REFUSED if refusals else ORDER_FAILED

    _run(run, url, key, as_json=as_json)


@app.command()
def load(
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=500, help="Orders a second.")] = 1.5,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="For how long.")] = 20,
    source: Annotated[str, typer.Option("--in", help="Token that the orders give.")] = "SOL",
    target: Annotated[str, typer.Option("--out", help="Token that they get.")] = "USDC",
    amount: Annotated[str, typer.Option("--amount", help="How much each gives.")] = "0.1",
    wait: Annotated[float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the last ends.")] = 60,
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
        _show(report_json(plan, result), report(result), as_json=as_json)
        if not result.accepted:
            return REFUSED
        return ORDER_FAILED if result.unfinished else OK

    _run(run, url, key, as_json=as_json)


Stage = Annotated[
    str | None,
    typer.Option("--stage", envvar="ORDER_ENGINE_STAGE", help="The deployed stage.", rich_help_panel="Deployment"),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--aws-endpoint",
        envvar="AWS_ENDPOINT_URL",
        help="Services of a local stack, as its ready line says.",
        rich_help_panel="Deployment",
    ),
]
Table = Annotated[
    str | None,
    typer.Option("--table", envvar="ACCOUNTS_TABLE", help="The accounts table.", rich_help_panel="Deployment"),
]


@keys.command("create")
def create_key(
    user: Annotated[str, typer.Argument(help="Whose orders the key can place and see.", show_default=False)],
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="trade or read; may be repeated. Both if absent.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "",
    expires_in: Annotated[str | None, typer.Option("--expires-in", metavar="DURATION", help="Such as 90d.")] = None,
    per_minute: Annotated[
        int | None, typer.Option("--orders-per-minute", min=1, max=100_000, help="Instead of the default limit.")
    ] = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown once and stored as a hash only."""
    from order_engine.engine.accounts import SCOPES, new_key

    now = int(time.time() * 1000)
    expires_at = None if expires_in is None else now + int(_duration(expires_in).total_seconds() * 1000)

    def run(place: Place) -> int:
        text, stored = new_key(
            user, now, scopes=scopes or SCOPES, name=name, expires_at=expires_at, orders_per_minute=per_minute
        )
        asyncio.run(_accounts(place, table).add_key(stored))
        document = {"key": text, "keyId": stored.key_id, "userId": user, "scopes": sorted(stored.scopes)}
        if not as_json:
            errors.print(f"Key {stored.key_id} of {escape(user)}. It is not shown again:")
        _show(document, text, as_json=as_json)
        return OK

    _operate(run, stage, endpoint, as_json=as_json)


@keys.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's keys.")] = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """List API keys. The keys themselves are not stored anywhere."""

    def run(place: Place) -> int:
        from cli.render import table_of
        from order_engine.engine.accounts import ApiKey
        from order_engine.wire.times import to_text

        now = int(time.time() * 1000)
        found = asyncio.run(_accounts(place, table).list_keys(user))

        def state(key: ApiKey) -> str:
            return "revoked" if key.revoked_at is not None else "valid" if key.valid(now) else "expired"

        documents = [
            {
                "keyId": key.key_id,
                "userId": key.user_id,
                "name": key.name,
                "scopes": sorted(key.scopes),
                "state": state(key),
                "createdAt": to_text(key.created_at),
                "expiresAt": None if key.expires_at is None else to_text(key.expires_at),
                "ordersPerMinute": key.orders_per_minute,
            }
            for key in found
        ]
        shown = table_of("Key", "User", "Name", "Scopes", "State", "Created", "Expires")
        for key in documents:
            cells = (key["keyId"], key["userId"], key["name"], " ".join(key["scopes"]), key["state"])
            shown.add_row(*map(escape, map(str, cells)), str(key["createdAt"])[:10], str(key["expiresAt"] or "-")[:10])
        _show(documents, shown, as_json=as_json)
        return OK

    _operate(run, stage, endpoint, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As keys list shows it.", show_default=False)],
    stage: Stage = None,
    endpoint: Endpoint = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key. It is refused within a minute, and for good."""

    def run(place: Place) -> int:
        from cli.operate import NotFound

        key = asyncio.run(_accounts(place, table).revoke_key(key_id, int(time.time() * 1000)))
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        _show({"keyId": key.key_id, "userId": key.user_id, "state": "revoked"}, f"{key_id}  revoked", as_json=as_json)
        return OK

    _operate(run, stage, endpoint, as_json=as_json)


class Source(StrEnum):
    """Where messages are set aside."""

    DEAD_LETTERS = "dead-letters"
    QUARANTINE = "quarantine"


# The stack's output, and a part of the local queue's name.
_QUEUES = {
    Source.DEAD_LETTERS: ("DeadLettersQueue", "deadletters"),
    Source.QUARANTINE: ("QuarantineQueue", "quarantine"),
}


@app.command()
def redrive(
    source: Annotated[Source, typer.Option("--from", help="Where to take messages from.")] = Source.DEAD_LETTERS,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000, help="At most so many.")] = 10_000,
    stage: Stage = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Give messages that were set aside to the order queue again. Safe at any time: no order is executed twice."""

    def run(place: Place) -> int:
        from order_engine.aws.redrive import redrive as move

        source_url = place.queue(*_QUEUES[source])
        orders_url = place.queue("OrdersQueue", "orders")
        done = asyncio.run(move(place.client("sqs"), source_url, orders_url, limit=limit))
        text = f"{done.moved:,} moved from {source} to the order queue."
        if done.unreadable:
            text += f" {done.unreadable:,} cannot be read and stay."
        _show({"from": source, "moved": done.moved, "unreadable": done.unreadable}, text, as_json=as_json)
        return OK

    _operate(run, stage, endpoint, as_json=as_json)


def _accounts(place: Place, table: str | None) -> Any:
    from order_engine.aws.accounts import DynamoAccounts

    return DynamoAccounts(place.client("dynamodb"), place.accounts_table(table))


def _show(document: object, text: RenderableType, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        console.print(text)


def _key(url: str, key: str | None) -> str:
    """The key for an address: as given, or the local stack's own.

    Raises:
        typer.BadParameter: it is no address, or a key is missing.
    """
    import httpx

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise typer.BadParameter(f"{url!r} is no address such as {LOCAL_URL}.")
    if key:
        return key
    if address.host in ("127.0.0.1", "localhost", "::1"):
        return LOCAL_KEY
    raise typer.BadParameter("This engine needs an API key: set ORDER_ENGINE_KEY.")


def _run(command: Callable[[Client], Coroutine[Any, Any, int]], url: str, key: str | None, *, as_json: bool) -> None:
    """Run a command against the API and end with its exit code."""
    from cli.client import Client

    used = _key(url, key)

    async def run() -> int:
        async with Client(url, used) as client:
            return await command(client)

    try:
        code = asyncio.run(run())
    except ApiError as error:
        again = "" if error.retry_after_s is None else f" Try again in {error.retry_after_s} s."
        _fail(REFUSED, error.code, error.detail + again, as_json=as_json, field=error.field)
    except Unreachable as error:
        hint = " Start a local stack with `make run`, or name a stage with --url." if url == LOCAL_URL else ""
        _fail(NOT_REACHABLE, "not_reachable", f"{error}{hint}", as_json=as_json)
    except ClientError as error:
        _fail(REFUSED, "client_error", str(error), as_json=as_json)
    raise typer.Exit(code)


def _operate(command: Callable[[Place], int], stage: str | None, endpoint: str | None, *, as_json: bool) -> None:
    """Run a command on a deployment's AWS resources and end with its exit code."""
    from botocore.exceptions import BotoCoreError, ClientError

    from cli.operate import NotFound, NotNamed, Place, explain
    from order_engine.domain.errors import InvalidInput

    try:
        code = command(Place(stage, endpoint))
    except InvalidInput as error:
        _fail(USAGE, error.code, error.message, as_json=as_json, field=error.field)
    except NotNamed as error:
        _fail(USAGE, "no_deployment", str(error), as_json=as_json)
    except NotFound as error:
        _fail(AWS_FAILED, "not_found", str(error), as_json=as_json)
    except (BotoCoreError, ClientError) as error:
        _fail(AWS_FAILED, "aws", explain(error), as_json=as_json)
    raise typer.Exit(code)


def _fail(exit_code: int, code: str, detail: str, *, as_json: bool, field: str | None = None) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"code": code, "detail": detail, "field": field}}), file=sys.stderr)
    else:
        named = "" if field is None else f"{field}: "
        errors.print(f"[red]Error:[/red] {escape(named + detail)}")
    raise typer.Exit(exit_code)


def main() -> None:
    """Run the command line; never a traceback, unless ORDER_ENGINE_DEBUG is set."""
    try:
        app()
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
    except Exception as error:
        if os.environ.get("ORDER_ENGINE_DEBUG"):
            raise
        errors.print(f"[red]Defect:[/red] {type(error).__name__}: {escape(str(error))}")
        errors.print("Please report it, with the output that ORDER_ENGINE_DEBUG=1 gives.")
        sys.exit(DEFECT)


if __name__ == "__main__":
    main()
