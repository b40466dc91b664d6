"""The command ``order-engine``."""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape

from cli import admin, orders, trials
from cli.terminal import DEFECT, EXITS, OK, errors

EPILOG = "Exit codes: " + "; ".join(f"[bold]{code}[/bold] {meaning}" for code, meaning in EXITS.items()) + "."

app = typer.Typer(
    name="order-engine",
    help="Place, follow and manage swap orders, on a local stack or a deployed stage.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
for commands in (orders, trials, admin):
    app.add_typer(commands.app)


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
