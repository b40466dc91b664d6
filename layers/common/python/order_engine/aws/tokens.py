"""How tokens are written in stored items and named in index keys.

Six are written by their symbol, as 0.1.0 wrote them; their meaning here never changes, whatever a market lists. Any
other is written out, with its decimals and its symbol, so that an order stays readable when its token has left the
market's list. An item that holds one has form 2 (``wire/forms.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT, Token

type Written = str | Sequence[str | int]

_BY_SYMBOL = {str(token.symbol): token for token in (SOL, USDC, USDT, BONK, JUP, RAY)}
_SYMBOLS = {token: symbol for symbol, token in _BY_SYMBOL.items()}
_NAMES = {token.mint: symbol for symbol, token in _BY_SYMBOL.items()}
# Those that are written by symbol, by mint.
BY_MINT = {token.mint: token for token in _BY_SYMBOL.values()}


def is_written_out(token: Token) -> bool:
    """Whether a release that knows form 1 alone could not read it."""
    return token not in _SYMBOLS


def encode(token: Token) -> Written:
    symbol = _SYMBOLS.get(token)
    if symbol is not None:
        return symbol
    return (token.mint, token.decimals, *(() if token.symbol is None else (token.symbol,)))


def decode(value: Written) -> Token:
    """Read a token.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    if isinstance(value, str):
        return _BY_SYMBOL[value]
    mint, decimals, *symbol = value
    if not (isinstance(mint, str) and isinstance(decimals, int) and len(symbol) <= 1):
        raise TypeError("no token")
    return Token(str(symbol[0]) if symbol else None, mint, decimals)


def index_name(mint: str) -> str:
    """What a mint is called in an index's keys: always the same, whatever a market lists."""
    return _NAMES.get(mint, mint)
