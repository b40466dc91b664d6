"""Integer arithmetic that the venues' programs share. A u64 amount never becomes a float here."""

from __future__ import annotations

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused

Q64 = 1 << 64
U128_MAX = 2**128 - 1


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient rounded up, for a numerator >= 0 and a denominator > 0."""
    return -(-numerator // denominator)


def check_amount(amount: int) -> None:
    """Raise QuoteRefused unless the amount (base units) is positive and fits in a u64, as every program demands."""
    if not 0 < amount <= U64_MAX:
        raise QuoteRefused("The amount must be between 1 and 2^64 - 1 base units.")


def spot_of(sqrt_price: int, side: int) -> tuple[int, int]:
    """The marginal price before fees of a Q64.64 square-root price: its square over 2^128, or the inverse.

    Args:
        side: of the pool's two mints, the one that goes in.
    """
    price = sqrt_price * sqrt_price
    return (price, 1 << 128) if side == 0 else (1 << 128, price)


def side_of(mints: tuple[str, str], mint: str) -> int:
    """Which of a pool's two mints this is: 0 or 1.

    Raises:
        QuoteRefused: the pool does not trade the mint.
    """
    if mint == mints[0]:
        return 0
    if mint == mints[1]:
        return 1
    raise QuoteRefused(f"The pool does not trade {mint}.")
