"""Environment variables: what functions that share a process get, and setting them for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from local.cloud.template import Function, TemplateError


def common_environment(functions: Mapping[str, Function]) -> dict[str, str]:
    """All functions' variables in one, for handlers that share a process.

    Raises:
        TemplateError: two functions give a name different values. POWERTOOLS_* may differ: the first one counts.
    """
    merged: dict[str, str] = {}
    for function in functions.values():
        for name, value in function.environment.items():
            if merged.setdefault(name, value) != value and not name.startswith("POWERTOOLS_"):
                raise TemplateError(
                    f"{name} differs between functions ({merged[name]!r}, and {value!r} in {function.name}): "
                    "run them apart with --isolate."
                )
    return merged


@contextlib.contextmanager
def process_environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of this process, or unset those that are None; put the former ones back at the end."""
    former = {name: os.environ.get(name) for name in variables}
    _apply(variables)
    try:
        yield
    finally:
        _apply(former)


def _apply(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
