"""Tokens: what is swapped. Which of them, a market's list says (``token_list``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """A mint, as it is called and counted.

    Attributes:
        symbol: the ticker; None where it has none.
        mint: the mint's address, base58.
        decimals: base units per whole token are 10 ** decimals.
    """

    symbol: str | None
    mint: str
    decimals: int

    @property
    def name(self) -> str:
        """What clients call it: its symbol, or its mint where it has none."""
        return self.symbol or self.mint

    @property
    def unit(self) -> int:
        """Base units in one whole token."""
        return int(10**self.decimals)


# Tokens that the engine itself knows: SOL is what the network's fees are paid in, SOL and USDC are what paths lead
# through, and stored orders name these six by their symbols (aws/tokens.py).
SOL = Token("SOL", "So11111111111111111111111111111111111111112", 9)
USDC = Token("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6)
USDT = Token("USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", 6)
BONK = Token("BONK", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", 5)
JUP = Token("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6)
RAY = Token("RAY", "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R", 6)
WELL_KNOWN = (SOL, USDC, USDT, BONK, JUP, RAY)
