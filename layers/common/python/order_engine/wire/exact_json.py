"""JSON as it comes from outside: numbers exact and bounded, no name twice, no NaN, no deep nesting."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from order_engine.domain import numerals
from order_engine.domain.errors import InvalidInput

# No request has more than one object; a hundred brackets can only be meant to be deep.
_MAX_BRACKETS = 100


class NotJson(InvalidInput):
    code = "invalid_json"


class _Refused(ValueError):
    """JSON that the standard allows, or nearly, and that is not taken."""


class Overlong:
    """Stands for a number with more digits than any field can have; whoever finds it refuses its field."""

    __slots__ = ()


OVERLONG: Final = Overlong()


def read(text: str | bytes) -> Any:
    """Read JSON text: whole numbers as int, others as Decimal, overlong ones as ``OVERLONG``.

    Raises:
        NotJson: it is not JSON in UTF-8, or such as nobody sends for good reasons; the message says what.
    """
    try:
        content = text.decode("utf-8") if isinstance(text, bytes) else text
        if content.count("[") + content.count("{") > _MAX_BRACKETS:
            raise _Refused("it is nested too deeply")
        return json.loads(
            content,
            parse_int=_whole,
            parse_float=_decimal,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except _Refused as error:
        raise NotJson(f"The body is not valid JSON: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise NotJson("The body is not valid JSON in UTF-8.") from error


def _whole(text: str) -> int | Overlong:
    return OVERLONG if len(text) > numerals.MAX_DIGITS else int(text)


def _decimal(text: str) -> Decimal | Overlong:
    try:
        return numerals.read_decimal(text)
    except numerals.NotANumeral:
        return OVERLONG


def _constant(name: str) -> object:
    raise _Refused(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("a name stands twice in one object")
    return found
