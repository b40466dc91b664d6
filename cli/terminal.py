"""What the commands share: exit codes, common options, the terminal, and how a command runs and fails."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from cli.errors import ApiError, ClientError, Unreachable

if TYPE_CHECKING:
    from cli.client import Client
    from cli.operate import Place

LOCAL_URL = "http://127.0.0.1:8000"
# The key that every local stack has, and no other.
LOCAL_KEY = "oek_alice"

OK, ORDER_FAILED, USAGE, REFUSED, NOT_REACHABLE, AWS_FAILED, UNWELL, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 70, 130
# As sysexits.h names it.
UNWRITTEN = 74
# As a shell names the end by SIGPIPE.
UNREAD = 141

EXITS = {
    OK: "done, or a watched order was confirmed",
    ORDER_FAILED: "a watched order failed, was cancelled or expired",
    USAGE: "the command line is wrong",
    REFUSED: "the engine refused",
    NOT_REACHABLE: "the engine cannot be reached",
    AWS_FAILED: "AWS refused or cannot be reached (keys, redrive, doctor)",
    UNWELL: "the doctor found something wrong",
    UNWRITTEN: "the output cannot be written",
    INTERRUPTED: "interrupted",
    UNREAD: "nobody reads the output any more",
}
_LAST_PORT = 65_535
_LONGEST = timedelta(days=3653)


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to who runs the command: rich would exit with 1, which has a meaning here."""
        raise BrokenPipeError


# What goes into a file or a pipe is not broken at a terminal's width.
console = _Console(highlight=False, width=None if sys.stdout.isatty() else 200)
errors = _Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 200)

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

Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
        help="The stage's region; the profile's if absent.",
        rich_help_panel="Deployment",
    ),
]


def duration(text: str) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``3d``; ten years at most."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text, re.ASCII)
    if found is not None:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
        length = timedelta(**{unit: int(found[1])})
        if length <= _LONGEST:
            return length
    raise typer.BadParameter("Write a duration such as 90s, 15m, 2h or 3d.")


def program() -> str:
    """What to type for this program: as it was called, or its plain name."""
    called = sys.argv[0]
    return called if called.endswith("/order-engine") else "order-engine"


def show_result(document: object, text: RenderableType, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        console.print(text)


def _key(url: str, key: str | None) -> str:
    """The key for an address: as given, or the local stack's own.

    Raises:
        typer.BadParameter: it is no address, or a key is missing or can be none.
    """
    import httpx

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host or (address.port or 0) > _LAST_PORT:
        raise typer.BadParameter(f"{url!r} is no address such as {LOCAL_URL}.")
    if key:
        if not re.fullmatch("[!-~]+", key):
            raise typer.BadParameter("An API key has letters, digits, - and _ only: look how this one was copied.")
        return key
    if address.host in ("127.0.0.1", "localhost", "::1"):
        return LOCAL_KEY
    raise typer.BadParameter("This engine needs an API key: set ORDER_ENGINE_KEY.")


def run_client(
    command: Callable[[Client], Coroutine[Any, Any, int]], url: str, key: str | None, *, as_json: bool
) -> None:
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
        fail(REFUSED, error.code, error.detail + again, as_json=as_json, field=error.field)
    except Unreachable as error:
        hint = " Start a local stack with `make run`, or name a stage with --url." if url == LOCAL_URL else ""
        fail(NOT_REACHABLE, "not_reachable", f"{error}{hint}", as_json=as_json)
    except ClientError as error:
        fail(REFUSED, "client_error", str(error), as_json=as_json)
    raise typer.Exit(code)


def run_operator(
    command: Callable[[Place], int], stage: str | None, endpoint: str | None, region: str | None, *, as_json: bool
) -> None:
    """Run a command on a deployment's AWS resources and end with its exit code."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    from cli.operate import NotFound, NotNamed, Place, explain
    from order_engine.domain.errors import InvalidInput

    try:
        code = command(Place(stage, endpoint, region))
    except InvalidInput as error:
        fail(USAGE, error.code, error.message, as_json=as_json, field=error.field)
    except NotNamed as error:
        fail(USAGE, "no_deployment", str(error), as_json=as_json)
    except NotFound as error:
        fail(AWS_FAILED, "not_found", str(error), as_json=as_json)
    except (BotoCoreError, ClientError) as error:
        fail(AWS_FAILED, "aws", explain(error), as_json=as_json)
    except ResponseParserError:
        # Which is none of botocore's own kind.
        where = f" A local stack has no stages: leave out --stage {stage}." if stage and endpoint else ""
        fail(AWS_FAILED, "aws", f"What answers there does not speak as AWS does.{where}", as_json=as_json)
    raise typer.Exit(code)


def fail(exit_code: int, code: str, detail: str, *, as_json: bool, field: str | None = None) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"code": code, "detail": detail, "field": field}}), file=sys.stderr)
    else:
        named = "" if field is None else f"{field}: "
        errors.print(f"[red]Error:[/red] {escape(named + detail)}")
    raise typer.Exit(exit_code)
