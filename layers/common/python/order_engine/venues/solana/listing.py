"""The file that says which pools and tokens are traded.

    {"pools": ["58oQChx4yWmvKdwLLZzBi4ChoCc2fqCUWBkwMihLYQo2"], "tokens": [{"mint": "So111…112", "symbol": "SOL"}]}

A token without a symbol is addressed by its mint. Decimals are not written here: they are read from the mints.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from order_engine.domain.errors import MalformedAccount
from order_engine.settings import SettingsError
from order_engine.venues.solana.addresses import to_bytes

_SYMBOL = re.compile(r"[A-Za-z0-9.$_-]{1,16}")
_MOST_BYTES = 1_000_000
# A process's first reading takes them all: some 13 accounts each, of which a call brings a hundred.
MOST_POOLS = 100
# While a limit order waits, the sweeper asks for 120 ordered pairs every ten seconds, one query each: at this number
# the first order of a pair is seen within a minute.
MOST_TOKENS = 24
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token to trade. ``symbol`` is None where the file gives none."""

    mint: str
    symbol: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What is traded, and where."""

    pools: tuple[str, ...]
    tokens: tuple[ListedToken, ...]


def read_listing(path: Path) -> Listing:
    """Read the file that ``POOLS`` names.

    Raises:
        SettingsError: it is not there, or says something else; in one sentence.
    """
    try:
        text = path.read_bytes()[: _MOST_BYTES + 1]
    except FileNotFoundError:
        raise SettingsError(f"POOLS: there is no file at {path}.") from None
    except OSError as error:
        raise SettingsError(f"POOLS: the file at {path} cannot be read ({type(error).__name__}).") from None
    try:
        said = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or set(said) != {"pools", "tokens"}:
        raise SettingsError(f'POOLS: {path} is not JSON of the form {{"pools": ["…"], "tokens": [{{"mint": "…"}}]}}.')
    pools = tuple(_address(each, "a pool") for each in _list(said["pools"], "pools"))
    tokens = tuple(_token(each) for each in _list(said["tokens"], "tokens"))
    if not pools or len(pools) > MOST_POOLS:
        raise SettingsError(f"POOLS: {path} must list 1 to {MOST_POOLS} pools.")
    if not 2 <= len(tokens) <= MOST_TOKENS:
        raise SettingsError(f"POOLS: {path} must list 2 to {MOST_TOKENS} tokens.")
    for what, names in (
        ("pool", pools),
        ("mint", tuple(token.mint for token in tokens)),
        ("symbol", tuple(token.symbol for token in tokens if token.symbol is not None)),
    ):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SettingsError(f"POOLS: the {what} {twice} is listed twice.")
    return Listing(pools, tokens)


def _list(given: Any, name: str) -> list[Any]:
    if not isinstance(given, list):
        raise SettingsError(f"POOLS: {name} must be a list.")
    return given


def _token(given: Any) -> ListedToken:
    if not isinstance(given, dict) or not {"mint"} <= set(given) <= {"mint", "symbol"}:
        raise SettingsError('POOLS: a token is written as {"mint": "…", "symbol": "…"}, the symbol being optional.')
    mint = _address(given["mint"], "a mint")
    symbol = given.get("symbol")
    if "symbol" in given and not (isinstance(symbol, str) and _SYMBOL.fullmatch(symbol)):
        raise SettingsError(f"POOLS: the symbol of {mint} must be 1 to 16 letters, digits or any of . $ _ -")
    return ListedToken(mint, symbol)


def _address(given: Any, what: str) -> str:
    try:
        if isinstance(given, str) and len(given) <= _SHOWN:
            to_bytes(given)
            return given
    except MalformedAccount:
        pass
    raise SettingsError(f"POOLS: {str(given)[:_SHOWN]!r} is not the address of {what}.")
