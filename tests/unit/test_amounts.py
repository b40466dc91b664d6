"""Money: what a person writes, base units, prices and the least output, against exact fractions."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.amounts import (
    U64_MAX,
    format_amount,
    format_price,
    limit_min_out,
    parse_amount,
    parse_decimal,
    price,
    slippage_min_out,
)
from order_engine.domain.errors import InvalidAmount
from order_engine.domain.tokens import BONK, SOL, USDC, Token
from order_engine.venues.paper.tokens import TOKENS

units = st.integers(1, U64_MAX)
tokens = st.sampled_from(TOKENS.tokens)
prices = st.decimals(min_value="1e-12", max_value="1e12", places=12).filter(bool)


@given(units, tokens)
def test_an_amount_is_written_so_that_it_reads_back_as_it_was(amount: int, of: Token) -> None:
    text = format_amount(amount, of)
    assert parse_amount(text, of) == amount
    assert Fraction(text) * of.unit == amount
    assert "." not in text or not text.endswith(("0", "."))
    assert "e" not in text.lower()


def test_amounts_look_as_a_person_writes_them() -> None:
    written = [format_amount(number, SOL) for number in (1, 10**9, 1_500_000_000, 0, U64_MAX)]
    assert written == ["0.000000001", "1", "1.5", "0", "18446744073.709551615"]


def test_what_a_token_account_can_hold_is_the_most() -> None:
    assert parse_amount("18446744073.709551615", SOL) == U64_MAX
    with pytest.raises(InvalidAmount) as refused:
        parse_amount("18446744073.709551616", SOL, field="amountIn")
    assert refused.value.field == "amountIn"


def test_what_is_finer_than_a_base_unit_is_refused_and_not_rounded() -> None:
    assert parse_amount("0.000001", USDC) == 1
    assert parse_amount("1e-6", USDC) == parse_amount(Decimal("0.0000010"), USDC) == 1
    for finer in ("0.0000001", "1.0000001", "1e-7"):
        with pytest.raises(InvalidAmount, match=r"^USDC has 6 decimals") as refused:
            parse_amount(finer, USDC, field="amountIn")
        assert refused.value.field == "amountIn"


@pytest.mark.parametrize("value", ["0", "0.000", "-1", "-0", 0, -1, Decimal(0), Decimal("-0.5")])
def test_nothing_and_less_than_nothing_are_no_amounts(value: str | int | Decimal) -> None:
    with pytest.raises(InvalidAmount, match="greater than zero") as refused:
        parse_decimal(value, field="limitPrice")
    assert refused.value.field == "limitPrice"
    assert refused.value.code == "invalid_amount"


@pytest.mark.parametrize(
    "value", ["", "one", "1,5", " 1", "1 ", "0x1", "1_000", "NaN", "Infinity", "1.", ".5", "\uff11"]
)
def test_what_is_no_number_is_refused_by_its_field(value: str) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_decimal(value, field="amountIn")
    assert refused.value.field == "amountIn"


@given(units, units, tokens, tokens)
def test_a_price_is_right_to_twelve_digits(amount_in: int, amount_out: int, token_in: Token, token_out: Token) -> None:
    exact = Fraction(amount_out, token_out.unit) / Fraction(amount_in, token_in.unit)
    found = price(amount_in, amount_out, token_in, token_out)
    assert abs(Fraction(found) - exact) <= exact / 10**12 * 5
    assert len(found.as_tuple().digits) <= 12


@given(units, st.integers(1, 6), tokens)
def test_a_price_that_has_fewer_digits_is_exact(amount: int, times: int, one: Token) -> None:
    assert price(amount, amount * times, one, one) == times


@given(prices)
def test_a_price_is_written_in_plain_digits_without_needless_zeros(value: Decimal) -> None:
    text = format_price(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()
    assert "." not in text or text[-1] not in "0."


def test_whole_prices_keep_their_zeros() -> None:
    assert [format_price(Decimal(text)) for text in ("100", "1E+2", "0.10", "1E-12")] == [
        "100",
        "100",
        "0.1",
        "0.000000000001",
    ]


@given(units, prices, tokens, tokens)
def test_the_least_output_honours_the_limit_and_is_the_least_that_does(
    amount_in: int, limit: Decimal, token_in: Token, token_out: Token
) -> None:
    exact = Fraction(amount_in, token_in.unit) * Fraction(limit) * token_out.unit
    assert limit_min_out(amount_in, limit, token_in, token_out) == math.ceil(exact)


@given(units, st.integers(0, 10_000))
def test_slippage_takes_at_most_its_share_and_is_floored(amount_out: int, bps: int) -> None:
    least = slippage_min_out(amount_out, bps)
    assert least == math.floor(Fraction(amount_out) * (10_000 - bps) / 10_000)


def test_slippage_at_its_ends() -> None:
    assert slippage_min_out(1_000_001, 0) == 1_000_001
    assert slippage_min_out(1_000_001, 10_000) == 0
    assert slippage_min_out(1_000_001, 50) == 995_000
    assert limit_min_out(10**9, Decimal(150), SOL, USDC) == 150_000_000
    assert limit_min_out(10**5, Decimal("0.00000001"), BONK, SOL) == 10
