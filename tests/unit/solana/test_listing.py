"""The file of pools and tokens: what it may say, and one sentence for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_engine.domain.tokens import BONK, SOL, USDC
from order_engine.settings import SettingsError
from order_engine.venues.solana.addresses import CLOCK, CPMM, from_bytes
from order_engine.venues.solana.listing import MOST_POOLS, ListedToken, Listing, read_listing

TOKENS = [{"mint": SOL.mint, "symbol": "SOL"}, {"mint": USDC.mint, "symbol": "USDC"}]

MANY = [{"mint": from_bytes(bytes(31) + bytes([number]))} for number in range(1, 26)]


def written(folder: Path, content: object) -> Path:
    path = folder / "pools.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_pools_and_tokens_are_read_and_a_symbol_is_optional(tmp_path: Path) -> None:
    path = written(tmp_path, {"pools": [CPMM], "tokens": [*TOKENS, {"mint": BONK.mint}]})
    named = (ListedToken(SOL.mint, "SOL"), ListedToken(USDC.mint, "USDC"), ListedToken(BONK.mint, None))
    assert read_listing(path) == Listing((CPMM,), named)


WRONG: dict[str, tuple[object, str]] = {
    "nothing": ("", "is not JSON of the form"),
    "no JSON": ("pools: []", "is not JSON of the form"),
    "a list": ([], "is not JSON of the form"),
    "deep": ("[" * 100_000, "is not JSON of the form"),
    "endless": ('{"pools": "' + "x" * 1_000_001, "is not JSON of the form"),
    "no tokens": ({"pools": [CPMM]}, "is not JSON of the form"),
    "more": ({"pools": [CPMM], "tokens": TOKENS, "fees": []}, "is not JSON of the form"),
    "no list": ({"pools": CPMM, "tokens": TOKENS}, "pools must be a list"),
    "no pool": ({"pools": [], "tokens": TOKENS}, f"must list 1 to {MOST_POOLS} pools"),
    "no address": ({"pools": ["0x12"], "tokens": TOKENS}, "'0x12' is not the address of a pool"),
    "a number": ({"pools": [7], "tokens": TOKENS}, "'7' is not the address of a pool"),
    "too short": ({"pools": [CPMM[:-4]], "tokens": TOKENS}, "is not the address of a pool"),
    "very long": ({"pools": ["1" * 10**5], "tokens": TOKENS}, "is not the address of a pool"),
    "twice": ({"pools": [CPMM, CLOCK, CPMM], "tokens": TOKENS}, f"the pool {CPMM} is listed twice"),
    "one token": ({"pools": [CPMM], "tokens": TOKENS[:1]}, "must list 2 to 24 tokens"),
    "very many tokens": ({"pools": [CPMM], "tokens": MANY}, "must list 2 to 24 tokens"),
    "no mint": ({"pools": [CPMM], "tokens": [*TOKENS, {"symbol": "X"}]}, "a token is written as"),
    "text": ({"pools": [CPMM], "tokens": [*TOKENS, BONK.mint]}, "a token is written as"),
    "decimals": ({"pools": [CPMM], "tokens": [{**TOKENS[0], "decimals": 9}, TOKENS[1]]}, "a token is written as"),
    "no such mint": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": "x"}]}, "'x' is not the address of a mint"),
    "empty symbol": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": CLOCK, "symbol": ""}]}, f"symbol of {CLOCK}"),
    "null symbol": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": CLOCK, "symbol": None}]}, f"symbol of {CLOCK}"),
    "long symbol": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": CLOCK, "symbol": "X" * 17}]}, "1 to 16 letters"),
    "same mint": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": SOL.mint}]}, f"the mint {SOL.mint} is listed twice"),
    "same symbol": ({"pools": [CPMM], "tokens": [*TOKENS, {"mint": CLOCK, "symbol": "SOL"}]}, "the symbol SOL is"),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG.keys())
def test_whatever_else_it_says_is_one_sentence(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_listing(written(tmp_path, content))
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert len(str(wrong.value)) < 400


def test_a_file_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file at"):
        read_listing(tmp_path / "nowhere.json")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_listing(tmp_path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([CPMM, SOL.mint]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["pools", "tokens", "mint", "symbol"]), inner, max_size=4)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(_JSON)
def test_no_content_is_more_than_refused(tmp_path: Path, content: object) -> None:
    try:
        listing = read_listing(written(tmp_path, content))
    except SettingsError:
        return
    assert listing.pools
    assert len(listing.tokens) >= 2
