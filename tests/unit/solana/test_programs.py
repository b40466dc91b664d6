"""Pools and swaps of the five programs, held against swaps that the real programs executed."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.message import MessageV0, from_bytes_versioned

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.solana.accounts import Account, Missing, View
from order_engine.venues.solana.programs.program import LivePool, Trade
from order_engine.venues.solana.programs.registry import PROGRAMS

VECTORS = Path(__file__).parents[2] / "vectors" / "solana_swaps.json"


@cache
def swaps() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(VECTORS.read_text())["swaps"]
    return loaded


def accounts_of(swap: dict[str, Any]) -> dict[str, Account]:
    return {
        name: Account(given["owner"], zlib.decompress(base64.b64decode(given["zlib"])))
        for name, given in swap["accounts"].items()
    }


def read(pool: str, accounts: dict[str, Account]) -> tuple[LivePool, int]:
    """Read a pool as from a node: ask for what is missing until it is there. Also how many rounds that took."""
    program = PROGRAMS[accounts[pool].owner]
    known: dict[str, Account | None] = {pool: accounts[pool]}
    for rounds in range(1, 6):
        try:
            return program.read(pool, View(known)), rounds
        except Missing as missing:
            known |= {name: accounts.get(name) for name in missing.addresses}
    raise AssertionError("The pool asks for ever more accounts.")


def name_of(swap: dict[str, Any]) -> str:
    return f"{swap['pool']}-{swap['mint_in'][:4]}-{swap['amount_in']}"


@pytest.mark.parametrize("swap", swaps(), ids=name_of)
def test_the_quote_is_what_the_program_paid(swap: dict[str, Any]) -> None:
    live, rounds = read(swap["address"], accounts_of(swap))
    assert live.pool.quote(swap["mint_in"], swap["amount_in"]) == swap["quote"] == swap["received"]
    # The pool, then what it names, then its arrays.
    assert rounds <= 4


@pytest.mark.parametrize("swap", swaps(), ids=name_of)
def test_the_swap_names_the_accounts_that_the_program_took(swap: dict[str, Any]) -> None:
    live, _ = read(swap["address"], accounts_of(swap))
    made = live.swap(Trade(swap["user"], swap["mint_in"], swap["amount_in"], swap["quote"]))
    message = from_bytes_versioned(base64.b64decode(swap["message"]))
    assert isinstance(message, MessageV0)
    names = [str(key) for key in message.account_keys]
    (executed,) = [call for call in message.instructions if names[call.program_id_index] == made.program]
    assert made.data == bytes(executed.data)
    assert [meta.address for meta in made.accounts] == [names[index] for index in executed.accounts]
    # The wallet pays the fee and is writable for that; everything else is as the swap needs it.
    for meta, index in zip(made.accounts, executed.accounts, strict=True):
        assert meta.signer == message.is_signer(index) == (meta.address == swap["user"])
        wanted = any(m.writable for m in made.accounts if m.address == meta.address)
        assert meta.address == swap["user"] or wanted == message.is_maybe_writable(index)


@given(st.data())
def test_garbled_accounts_are_refused_by_name_and_nothing_worse(data: st.DataObject) -> None:
    swap = data.draw(st.sampled_from(swaps()))
    accounts = accounts_of(swap)
    name = data.draw(st.sampled_from(sorted(accounts)))
    raw = accounts[name].data
    at = data.draw(st.integers(0, len(raw)))
    garbage = data.draw(st.binary(max_size=64))
    cut = data.draw(st.sampled_from([raw[:at], raw[:at] + garbage + raw[at + len(garbage) :], b""]))
    accounts[name] = Account(accounts[name].owner, cut)
    with contextlib.suppress(MalformedAccount, QuoteRefused):
        live, _ = read(swap["address"], accounts)
        live.pool.quote(swap["mint_in"], swap["amount_in"])
        live.swap(Trade(swap["user"], swap["mint_in"], swap["amount_in"], 1))


@pytest.mark.parametrize("swap", swaps()[::7], ids=name_of)
def test_an_account_of_another_program_is_no_pool_account(swap: dict[str, Any]) -> None:
    for name, account in accounts_of(swap).items():
        accounts = accounts_of(swap) | {name: Account("1" * 32, account.data)}
        if name == swap["address"]:
            continue
        try:
            read(swap["address"], accounts)
        except MalformedAccount:
            continue
        # Only the clock is known by its address alone.
        assert name.startswith("SysvarC1ock")
