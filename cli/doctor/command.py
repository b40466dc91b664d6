"""The command."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.doctor.finding import Finding, State, well
from cli.terminal import LOCAL_KEY, LOCAL_URL, OK, UNWELL, AsJson, Endpoint, Key, Region, Stage, console, run_operator

if TYPE_CHECKING:
    from cli.operate import Place

app = typer.Typer()

_USER = "order-engine-doctor"
_LIVES_MS = 15 * 60_000
_MARKS = {State.OK: "[green]ok[/green]     ", State.NOTE: "[yellow]note[/yellow]   ", State.WRONG: "[red]WRONG[/red]  ",
          State.SKIPPED: "[dim]skipped[/dim]"}  # fmt: skip


@app.command()
def doctor(
    order: Annotated[bool, typer.Option(help="Place a small order, 0.01 SOL, and follow it.")] = True,
    alarm: Annotated[bool, typer.Option(help="Raise an alarm for a moment, to see whether its mail comes.")] = True,
    origin: Annotated[
        str | None,
        typer.Option("--origin", help="A web page's origin that may call the API; the stage's first if absent."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Address of the engine; the stage's if absent."),
    ] = None,
    key: Key = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Look whether a deployment is well: one order, one socket, one alarm, queues, logs, clock. Says what to do.

    With a stage and no key it makes a key for a quarter of an hour and revokes it at the end.
    """

    def run(place: Place) -> int:
        findings: list[Finding] = []

        async def look() -> None:
            async for finding in _looks(place, url, key, origin, order=order, alarm=alarm):
                findings.append(finding)
                if not as_json:
                    _show(finding)

        asyncio.run(look())
        if as_json:
            import json

            print(json.dumps({"well": well(findings), "findings": [finding.document() for finding in findings]}))
        elif well(findings):
            console.print("Nothing is wrong.")
        else:
            number = sum(finding.state is State.WRONG for finding in findings)
            console.print(f"{number} thing{'s are' if number > 1 else ' is'} wrong.")
        return OK if well(findings) else UNWELL

    run_operator(run, stage, endpoint, region, as_json=as_json)


def _show(finding: Finding) -> None:
    console.print(f"{_MARKS[finding.state]}  {finding.about:16}  {escape(finding.seen)}")
    if finding.remedy and finding.state is not State.OK:
        console.print(f"{'':27}{escape(finding.remedy)}")


async def _looks(
    place: Place, url: str | None, key: str | None, origin: str | None, *, order: bool, alarm: bool
) -> AsyncIterator[Finding]:
    from cli.doctor.account import Account
    from cli.doctor.service import Service

    deployed = place.stage is not None
    # A stage is looked at where it is, whatever address is set for the other commands.
    address = url or (place.output("HttpUrl") if deployed else os.environ.get("ORDER_ENGINE_URL") or LOCAL_URL)
    if origin is None and deployed:
        origin = _first_origin(place, address)
    async with _key(place, key) as used:
        async for finding in Service(address, used, origin, order).looks():
            yield finding
    if deployed or place.local:
        for finding in Account(place, alarm).looks():
            yield finding
    else:
        yield Finding(
            "queues", State.SKIPPED, "Give --stage, or --aws-endpoint of a local stack (its ready line says it)."
        )


@asynccontextmanager
async def _key(place: Place, key: str | None) -> AsyncIterator[str]:
    """A key to look with: as given, the local stack's, or one of the stage's that ends with the looking."""
    if key or place.stage is None:
        yield key or LOCAL_KEY
        return
    from order_engine.aws.keys import DynamoKeys
    from order_engine.engine.accounts import new_key

    now, by = int(time.time() * 1000), place.operator()
    keys = DynamoKeys(place.client("dynamodb"), place.table("Keys"))
    text, stored = new_key(_USER, now, name="doctor", expires_at=now + _LIVES_MS, by=by)
    await keys.add_key(stored)
    try:
        yield text
    finally:
        await keys.revoke_key(stored.key_id, int(time.time() * 1000), by)


def _first_origin(place: Place, address: str) -> str | None:
    """The first origin that the stage's API lets call it; None where there is none, or it cannot be asked."""
    from urllib.parse import urlsplit

    from botocore.exceptions import BotoCoreError, ClientError

    api = (urlsplit(address).hostname or "").partition(".")[0]
    try:
        found = place.client("apigatewayv2").get_api(ApiId=api)
    except (BotoCoreError, ClientError):
        return None
    allowed = found.get("CorsConfiguration", {}).get("AllowOrigins", [])
    return str(allowed[0]) if allowed else None
