"""Text becomes a number here: its digits and its exponent are bounded before anything else touches it.

A numeral of ten characters can stand for a number of a thousand million digits (``1e999999999``), and writing that out
takes minutes. Whatever comes from outside is therefore read by these functions, and by none of Python's own.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal

# An amount has 20 digits, a price some more; nothing that is ever asked for comes near these.
MAX_DIGITS = 40
# Holds the product of any two such numbers, digit by digit. Python's own context rounds to 28.
EXACT = Context(prec=100)
_MAX_TEXT = 80
_MAX_EXPONENT = 3
_OVERLONG = "The number has more digits than any amount can have."
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?([0-9]+))?")
_WHOLE = re.compile(r"(-?)[0-9]+")
_LIMIT = 10**MAX_DIGITS


class NotANumeral(ValueError):
    """The text is no number that could be meant. Says why, in a sentence."""


def read_decimal(text: str) -> Decimal:
    """Read a number in ASCII digits, with or without a point and an exponent, exactly.

    Raises:
        NotANumeral: it is none, or has more than ``MAX_DIGITS`` digits before or after it is written out.
    """
    if len(text) > _MAX_TEXT:
        raise NotANumeral(_OVERLONG)
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise NotANumeral('Write the number in plain digits, such as "1.5".')
    if found[1] is not None and len(found[1]) > _MAX_EXPONENT:
        raise NotANumeral(_OVERLONG)
    return bounded(Decimal(text))


def read_whole(text: str, *, low: int = 0, high: int) -> int:
    """Read a whole number in ASCII digits.

    Raises:
        NotANumeral: it is none, or lies outside ``low`` to ``high``.
    """
    found = _WHOLE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if found is None or (found[1] and low >= 0) or not low <= int(text) <= high:
        raise NotANumeral(f"Write a whole number from {low} to {high} in plain digits.")
    return int(text)


def bounded(number: Decimal | int) -> Decimal:
    """The number itself, if writing it out takes at most ``MAX_DIGITS`` digits before the point and after it.

    Raises:
        NotANumeral: it is larger or finer than that, or not finite.
    """
    if isinstance(number, int):
        if not -_LIMIT < number < _LIMIT:
            raise NotANumeral(_OVERLONG)
        return Decimal(number)
    if not number.is_finite():
        raise NotANumeral("The number must be finite.")
    if abs(number.adjusted()) >= MAX_DIGITS or len(number.as_tuple().digits) > MAX_DIGITS:
        raise NotANumeral(_OVERLONG)
    return number
