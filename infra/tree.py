"""The source tree, and how the command lines on it write context."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def context_value(pair: str) -> tuple[str, str]:
    """Read a ``NAME=VALUE`` of the command line.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    name, separator, value = pair.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"context must be NAME=VALUE, not {pair!r}")
    return name, value
