"""The command ``order-engine``."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from cli import admin, orders, trials
from cli.doctor import command as doctor
from cli.terminal import DEFECT, EXITS, OK, UNREAD, UNWRITTEN, errors
from order_engine.version import VERSION

EPILOG = "Exit codes: " + "; ".join(f"[bold]{code}[/bold] {meaning}" for code, meaning in EXITS.items()) + "."


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Commands(TyperGroup):
    """All commands. Where whoever read the output has gone they end with a code of its own: Click's is 1, which would
    say that a watched order failed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                # What is held back would fail after the exit code was chosen.
                sys.stdout.flush()
        except (OSError, ExceptionGroup) as error:
            if (ended := _output_ended(error)) is None:
                raise
        raise typer.Exit(ended)


def _output_ended(error: Exception) -> int | None:
    """The exit code if it is the output that failed, which then is written to no more."""
    found = next((leaf for leaf in _leaves(error) if isinstance(leaf, BrokenPipeError) or leaf.errno in _FULL), None)
    if found is None:
        return None
    # Python's own last flush would fail as well.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(found, BrokenPipeError):
        return UNREAD
    errors.print(f"The output cannot be written: {found.strerror}.")
    return UNWRITTEN


def _leaves(error: Exception) -> Iterator[OSError]:
    """The system's errors in what was raised, of groups too."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif isinstance(error, OSError):
        yield error


app = typer.Typer(
    name="order-engine",
    cls=Commands,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"order-engine {VERSION}")
        raise typer.Exit(OK)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Place, follow and manage swap orders, on a local stack or a deployed stage."""


for commands in (orders, trials, admin, doctor):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line; never a traceback, unless ORDER_ENGINE_DEBUG is set."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of few characters shows others as it can.
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception as error:
        # What is printed before any command runs: the help, the version.
        if (ended := _output_ended(error)) is not None:
            sys.exit(ended)
        if os.environ.get("ORDER_ENGINE_DEBUG"):
            raise
        errors.print(f"[red]Defect:[/red] {type(error).__name__}: {escape(str(error))}")
        errors.print("Please report it, with the output that ORDER_ENGINE_DEBUG=1 gives.")
        sys.exit(DEFECT)


if __name__ == "__main__":
    main()
