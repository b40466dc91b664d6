"""Runs the deployed stack on this machine: ``python -m local``, or ``Stack`` and ``running`` in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.process import Running, running
    from local.stack import Stack

__all__ = ["Running", "Stack", "running"]


def __getattr__(name: str) -> object:
    # Lazily: worker processes import this package for every fork's parent, and need none of it.
    if name == "Stack":
        from local.stack import Stack

        return Stack
    if name in ("Running", "running"):
        from local import process

        return getattr(process, name)
    raise AttributeError(name)
