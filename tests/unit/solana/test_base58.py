"""Base58, held against a public library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature

from order_engine.domain import base58


@given(st.binary(min_size=32, max_size=32))
def test_addresses_are_written_and_read_as_everybody_does(raw: bytes) -> None:
    assert base58.encode(raw) == str(Pubkey(raw))
    assert base58.decode(str(Pubkey(raw)), 32) == raw


@given(st.binary(min_size=64, max_size=64))
def test_signatures_are_written_and_read_as_everybody_does(raw: bytes) -> None:
    assert base58.encode(raw) == str(Signature(raw))
    assert base58.decode(str(Signature(raw)), 64) == raw


@given(st.integers(0, 32), st.binary(max_size=32))
def test_leading_zeros_survive(zeros: int, rest: bytes) -> None:
    raw = (bytes(zeros) + rest)[:32]
    assert base58.decode(base58.encode(raw), len(raw)) == raw


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        expected = bytes(Pubkey.from_string(text))
    except ValueError:
        with pytest.raises(ValueError, match="base58"):
            base58.decode(text, 32)
    else:
        assert base58.decode(text, 32) == expected


@pytest.mark.parametrize(
    "text", ["", "1" * 31, "1" * 33, "z" * 45, "z" * 44, "1" * 100_000, "0" * 32, "l" * 43, "é" * 40]
)
def test_the_wrong_length_or_alphabet_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="base58"):
        base58.decode(text, 32)
