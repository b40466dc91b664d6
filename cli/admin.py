"""The commands for operators: API keys, and messages that were set aside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cli import keys, numerals, users
from cli.queues import SetAside
from cli.terminal import OK, REFUSED, AsJson, Endpoint, Region, Stage, fail, run_operator, show_result

if TYPE_CHECKING:
    from cli.operate import Place

app = typer.Typer()
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")


@app.command()
def redrive(
    source: Annotated[SetAside, typer.Option("--from", help="Where to take messages from.")] = SetAside.DEAD_LETTERS,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            parser=numerals.whole(1, 1_000_000),
            metavar="NUMBER",
            help="At most so many, 1 to 1,000,000.",
        ),
    ] = 10_000,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Give messages that were set aside to the order queue again. Safe at any time: no order is executed twice.

    Records of the stream go to the function Notify of a stage, which pushes and counts them.
    """

    def run(place: Place) -> int:
        from order_engine.aws.redrive import redrive as move

        source_url = place.queue(source.queue)
        if source is SetAside.STREAM_FAILURES:
            return _renotify(place, source_url, limit, as_json=as_json)
        orders_url = place.queue("Orders")
        done = asyncio.run(move(place.client("sqs"), source_url, orders_url, limit=limit))
        text = f"{done.moved:,} moved from {source} to the order queue."
        if done.unreadable:
            text += f" {done.unreadable:,} cannot be read and stay."
        show_result({"from": source, "moved": done.moved, "unreadable": done.unreadable}, text, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


def _renotify(place: Place, url: str, limit: int, *, as_json: bool) -> int:
    """Let Notify have the records that it set aside."""
    from order_engine.aws.renotify import NotifyFailed, renotify

    (function,) = (name for name in place.resources("AWS::Lambda::Function") if "WorkersNotify" in name)
    try:
        work = renotify(place.client("sqs"), place.client("lambda"), url, function, limit=limit)
        done = asyncio.run(work)
    except NotifyFailed as error:
        fail(REFUSED, "notify_failed", str(error), as_json=as_json)
    text = f"{done.moved:,} records were pushed and counted."
    if done.unreadable:
        text += f" {done.unreadable:,} cannot be, and stay."
    show_result({"from": "stream-failures", "moved": done.moved, "unreadable": done.unreadable}, text, as_json=as_json)
    return OK
