"""Where the command begins. It is quick to load, and lets itself be interrupted while the rest is loaded."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    interrupted = signal.getsignal(signal.SIGINT)
    # Python's own handler would end half an import with a traceback. A job in the background of a script has none.
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli import main as command

    signal.signal(signal.SIGINT, interrupted)
    command.main()
