"""Numbers of the command line, in plain digits and bounded before Python reads them.

The option types of click take underscores and the digits of any script, and ``nan``, which is outside no range.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from order_engine.domain import numerals


def whole(low: int, high: int) -> Callable[[str | int], int]:
    """A parser of whole numbers from ``low`` to ``high``."""

    def parse(given: str | int) -> int:
        try:
            return numerals.read_whole(str(given), low=low, high=high)
        except numerals.NotANumeral as error:
            raise typer.BadParameter(str(error)) from error

    return parse


def number(low: float, high: float) -> Callable[[str | float], float]:
    """A parser of numbers from ``low`` to ``high``."""

    def parse(given: str | float) -> float:
        try:
            found = float(numerals.read_decimal(str(given)))
        except numerals.NotANumeral as error:
            raise typer.BadParameter(str(error)) from error
        if not low <= found <= high:
            raise typer.BadParameter(f"Write a number from {low:g} to {high:g}.")
        return found

    return parse


def amount(text: str) -> str:
    """The text of an amount or a price, if it can be one: the engine itself reads it exactly.

    Raises:
        typer.BadParameter: it cannot.
    """
    try:
        numerals.read_decimal(text)
    except numerals.NotANumeral as error:
        raise typer.BadParameter(str(error)) from error
    return text


def percent(text: str) -> int:
    """A percentage with at most two decimals, as basis points.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        points = numerals.EXACT.multiply(numerals.read_decimal(text), 100)
    except numerals.NotANumeral:
        points = None
    if points is None or points != int(points) or points < 0:
        raise typer.BadParameter("Write a percentage with at most two decimals, such as 0.5.")
    return int(points)
