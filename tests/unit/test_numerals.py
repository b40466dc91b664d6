"""Whole numbers from outside: in plain digits, between their bounds, both included."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.numerals import MAX_DIGITS, NotANumeral, bounded, read_decimal, read_whole


@given(st.integers(-1_000, 1_000), st.integers(-1_000, 1_000), st.integers(-1_000, 1_000))
def test_a_whole_number_is_read_exactly_within_its_bounds_and_refused_outside(number: int, low: int, high: int) -> None:
    if low <= number <= high:
        assert read_whole(str(number), low=low, high=high) == number
        return
    with pytest.raises(NotANumeral) as refused:
        read_whole(str(number), low=low, high=high)
    assert str(low) in str(refused.value)
    assert str(high) in str(refused.value)


def test_nothing_is_counted_from_below_nothing_unless_it_is_said() -> None:
    assert read_whole("0", high=5) == 0
    with pytest.raises(NotANumeral):
        read_whole("-1", high=5)
    # It is zero, and yet nobody who means a count writes it so.
    with pytest.raises(NotANumeral):
        read_whole("-0", high=5)
    assert read_whole("-0", low=-5, high=5) == 0


@pytest.mark.parametrize("text", ["", "-", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "1_0", "\u0661", "one"])
def test_another_text_is_no_whole_number(text: str) -> None:
    with pytest.raises(NotANumeral):
        read_whole(text, low=-(10**6), high=10**6)


def test_a_text_is_measured_before_it_is_read() -> None:
    assert read_whole("0" * 79 + "7", high=9) == 7
    with pytest.raises(NotANumeral):
        read_whole("0" * 80 + "7", high=9)
    assert read_decimal("0" * 78 + "." + "7") == Decimal("0.7")
    with pytest.raises(NotANumeral):
        read_decimal("0" * 80 + ".7")


def test_the_most_digits_are_taken_and_one_more_is_not() -> None:
    most = "9" * MAX_DIGITS
    assert read_decimal(most) == bounded(int(most)) == int(most)
    assert read_decimal(f"1e{MAX_DIGITS - 1}") == 10 ** (MAX_DIGITS - 1)
    assert read_decimal(f"1e-{MAX_DIGITS - 1}") * 10 ** (MAX_DIGITS - 1) == 1
    for beyond in (most + "9", f"1e{MAX_DIGITS}", f"1e-{MAX_DIGITS}", "1e0001", "1e999"):
        with pytest.raises(NotANumeral, match="more digits"):
            read_decimal(beyond)
    for number in (10**MAX_DIGITS, -(10**MAX_DIGITS), Decimal(10**MAX_DIGITS)):
        with pytest.raises(NotANumeral, match="more digits"):
            bounded(number)


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")])
def test_what_is_not_finite_is_said_to_be_so(number: Decimal) -> None:
    with pytest.raises(NotANumeral, match="finite"):
        bounded(number)


def test_a_text_that_is_none_is_told_how_to_write_one() -> None:
    with pytest.raises(NotANumeral, match="plain digits"):
        read_decimal("one")
