"""Derived addresses, held against a public library."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from order_engine.domain.errors import MalformedAccount
from order_engine.venues.solana import addresses

PRIME = 2**255 - 19
keys = st.binary(min_size=32, max_size=32)


@given(keys)
@example(bytes(32))
@example((1).to_bytes(32, "little"))
@example(((1 << 255) | 1).to_bytes(32, "little"))
@example((PRIME - 1).to_bytes(32, "little"))
@example(PRIME.to_bytes(32, "little"))
@example((PRIME + 1).to_bytes(32, "little"))
@example((PRIME + 18).to_bytes(32, "little"))
@example(bytes([255]) * 32)
def test_it_is_known_which_bytes_are_on_the_curve(raw: bytes) -> None:
    assert addresses.on_curve(raw) == Pubkey(raw).is_on_curve()


@given(keys, st.lists(st.binary(max_size=32), max_size=15))
def test_derived_addresses_are_those_of_the_runtime(program: bytes, seeds: list[bytes]) -> None:
    expected, bump = Pubkey.find_program_address(seeds, Pubkey(program))
    assert addresses.find(str(Pubkey(program)), seeds) == (str(expected), bump)


@pytest.mark.parametrize("seeds", [[b""] * 16, [bytes(33)]])
def test_seeds_that_the_runtime_refuses_are_refused(seeds: list[bytes]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        addresses.find(addresses.CPMM, seeds)


@given(keys, keys, st.sampled_from([addresses.TOKEN, addresses.TOKEN_2022]))
def test_a_wallets_token_account_is_the_associated_one(owner: bytes, mint: bytes, program: str) -> None:
    expected = get_associated_token_address(Pubkey(owner), Pubkey(mint), Pubkey.from_string(program))
    assert addresses.token_account(str(Pubkey(owner)), str(Pubkey(mint)), program) == str(expected)


@pytest.mark.parametrize("text", ["", "SOL", "1" * 31, "0" * 32, "So11111111111111111111111111111111111111112x"])
def test_what_is_no_address_is_named_so(text: str) -> None:
    with pytest.raises(MalformedAccount):
        addresses.to_bytes(text)


@given(st.binary(max_size=70))
def test_only_32_bytes_are_an_address(raw: bytes) -> None:
    if len(raw) == addresses.ADDRESS_BYTES:
        assert addresses.to_bytes(addresses.from_bytes(raw)) == raw
    else:
        with pytest.raises(MalformedAccount):
            addresses.from_bytes(raw)
