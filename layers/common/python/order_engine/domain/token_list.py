"""The list of tokens that a market trades."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from order_engine.domain.errors import UnknownToken
from order_engine.domain.tokens import Token

# A symbol is never mistaken for a mint, which has 32 characters at least.
_SYMBOL = re.compile(r"[!-~]{1,20}")
_MINT = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
MAX_DECIMALS = 18
# So many are named to somebody who asked for one that is not there.
_NAMED = 12


@dataclass(frozen=True)
class TokenList:
    """The tokens of a market, each against each, in the order in which they are shown.

    An order keeps the tokens that it was placed with, so a list may change while orders of it live.

    Raises:
        ValueError: two have the same mint or symbol, or one of them is no token.
    """

    tokens: tuple[Token, ...]

    def __post_init__(self) -> None:
        for token in self.tokens:
            if not _MINT.fullmatch(token.mint):
                raise ValueError(f"The mint {token.mint!r} is no address.")
            if token.symbol is not None and not _SYMBOL.fullmatch(token.symbol):
                raise ValueError(f"The symbol {token.symbol!r} is not 1 to 20 printable characters without spaces.")
            if not 0 <= token.decimals <= MAX_DECIMALS:
                raise ValueError(f"{token.name} has {token.decimals} decimals; at most {MAX_DECIMALS} are supported.")
        names = [token.mint for token in self.tokens] + [token.symbol for token in self.tokens if token.symbol]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"The list of tokens names {', '.join(twice)} twice.")

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _by_name(self) -> dict[str, Token]:
        return {token.mint: token for token in self.tokens} | {t.symbol: t for t in self.tokens if t.symbol}

    def find(self, name: str) -> Token | None:
        """The token of this symbol (as it is written) or mint; None where the list has none."""
        return self._by_name.get(name)

    def named(self, name: str, *, field: str | None = None) -> Token:
        """The token of this symbol (as it is written) or mint.

        Raises:
            UnknownToken: the list has none.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(token.name for token in self.tokens[:_NAMED])
            more = len(self.tokens) - _NAMED
            rest = f" and {more} more (GET /api/tokens)" if more > 0 else ""
            message = f"This token is not traded here. Known tokens: {known}{rest}, or their mints."
            raise UnknownToken(message, field=field)
        return found
