"""What a pool quotes."""

from __future__ import annotations

from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Pool


def quote_or_zero(pool: Pool, mint_in: str, amount: int) -> int:
    try:
        return pool.quote(mint_in, amount)
    except QuoteRefused:
        return 0
