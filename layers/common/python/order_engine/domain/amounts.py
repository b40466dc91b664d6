"""Amounts and prices. Inside the engine an amount is an int in base units (u64); text only at the edge."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from order_engine.domain import numerals
from order_engine.domain.errors import InvalidAmount
from order_engine.domain.tokens import Token

U64_MAX = 2**64 - 1
BPS = 10_000
_PRICE_DIGITS = 12


def parse_decimal(value: str | int | Decimal, *, field: str | None = None) -> Decimal:
    """Read a positive finite number exactly.

    Args:
        value: plain decimal text ("1.5"), or a number that was never a float.

    Raises:
        InvalidAmount: not a number, not finite, not positive, or longer than any real amount.
    """
    try:
        number = numerals.read_decimal(value) if isinstance(value, str) else numerals.bounded(value)
    except numerals.NotANumeral as error:
        raise InvalidAmount(str(error), field=field) from error
    if number <= 0:
        raise InvalidAmount("The number must be greater than zero.", field=field)
    return number


def parse_amount(value: str | int | Decimal, of: Token, *, field: str | None = None) -> int:
    """Convert whole tokens, as a person writes them, to base units.

    Args:
        value: tokens, for example "1.5".
        of: whose decimals apply.

    Returns:
        Base units, 1 to 2**64 - 1.

    Raises:
        InvalidAmount: not a positive number, finer than a base unit, or above u64.
    """
    number = parse_decimal(value, field=field)
    units = number.scaleb(of.decimals, numerals.EXACT)
    if units != units.to_integral_value(context=numerals.EXACT):
        raise InvalidAmount(f"{of.name} has {of.decimals} decimals; this amount has more.", field=field)
    if units > U64_MAX:
        raise InvalidAmount("The amount is larger than a token account can hold (2^64 - 1 base units).", field=field)
    return int(units)


def format_amount(units: int, of: Token) -> str:
    """Convert base units to whole tokens in plain digits, without trailing zeros."""
    whole, rest = divmod(units, of.unit)
    fraction = str(rest).rjust(of.decimals, "0").rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def price(amount_in: int, amount_out: int, token_in: Token, token_out: Token) -> Decimal:
    """Whole output tokens per whole input token, to 12 significant digits."""
    context = Context(prec=_PRICE_DIGITS, rounding=ROUND_HALF_EVEN)
    return context.divide(
        Decimal(amount_out).scaleb(-token_out.decimals), Decimal(amount_in).scaleb(-token_in.decimals)
    )


def format_price(value: Decimal) -> str:
    """Plain digits, never an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def limit_min_out(amount_in: int, limit_price: Decimal, token_in: Token, token_out: Token) -> int:
    """The least output, in base units of ``token_out``, that honours a limit price: rounded up.

    Args:
        amount_in: base units of ``token_in``.
        limit_price: whole ``token_out`` per whole ``token_in``.
    """
    exact = numerals.EXACT.multiply(Decimal(amount_in), limit_price).scaleb(
        token_out.decimals - token_in.decimals, numerals.EXACT
    )
    return int(exact.to_integral_value(rounding="ROUND_CEILING", context=numerals.EXACT))


def slippage_min_out(amount_out: int, slippage_bps: int) -> int:
    """The least acceptable output after slippage, floored as the venues' programs do.

    Args:
        amount_out: the quoted output, base units.
        slippage_bps: tolerance in basis points, 0 to 10 000.
    """
    return amount_out * (BPS - slippage_bps) // BPS
