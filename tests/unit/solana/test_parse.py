"""Reading a transaction back: what was compiled is what is read, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import base58
from order_engine.venues.solana.addresses import MEMO, TOKEN
from order_engine.venues.solana.build import note_of, order_of
from order_engine.venues.solana.instructions import create_token_account, memo
from order_engine.venues.solana.messages import ComputeBudget, Instruction, Version, compile_message, fits, transaction
from order_engine.venues.solana.parse import parse
from tests.unit.solana.calls import NAMES, budgets, instructions

PAYER = NAMES[0]


@given(st.sampled_from([0, 1]), st.lists(instructions, min_size=1, max_size=6), budgets)
def test_what_was_compiled_is_read(version: Version, calls: list[Instruction], budget: ComputeBudget) -> None:
    message = compile_message(version, PAYER, calls, "1" * 32, budget)
    if not fits(message):
        return
    signatures = [bytes((number + 1,)) * 64 for number in range(message[1])]
    signed = parse(transaction(message, signatures))
    assert (signed.version, signed.message, signed.payer) == (version, message, PAYER)
    assert signed.signature == base58.encode(signatures[0])
    # In version 0 the compute budget is in instructions of its own, in front.
    read = signed.calls[len(signed.calls) - len(calls) :]
    assert [(call.program, call.accounts, call.data) for call in read] == [
        (call.program, tuple(meta.address for meta in call.accounts), call.data) for call in calls
    ]


@given(st.sampled_from([0, 1]), st.data())
def test_no_other_bytes_are_taken_for_a_transaction(version: Version, data: st.DataObject) -> None:
    message = compile_message(version, PAYER, [memo("order 1 attempt 1")], "1" * 32, ComputeBudget(1000))
    raw = transaction(message, [bytes(64)] * message[1])
    cut = data.draw(st.integers(0, len(raw) - 1))
    for wrong in (raw[:cut], raw + b"\x00"):
        with pytest.raises(ValueError, match=r"."):
            parse(wrong)


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    try:
        parse(raw)
    except ValueError:
        return


@pytest.mark.parametrize("version", [0, 1])
def test_a_transaction_tells_what_it_buys_and_for_whom(version: Version) -> None:
    calls = [
        memo(note_of("7f3c", 2)),
        *(create_token_account(PAYER, PAYER, mint, TOKEN) for mint in (NAMES[1], NAMES[2])),
    ]
    message = compile_message(version, PAYER, calls, "1" * 32, ComputeBudget(1000, 5))
    signed = parse(transaction(message, [bytes(64)] * message[1]))
    assert signed.bought == NAMES[1]
    assert order_of(signed.note) == "7f3c"
    bare = compile_message(version, PAYER, [Instruction(MEMO, (), b"")], "1" * 32, ComputeBudget(1))
    nothing = parse(transaction(bare, [bytes(64)]))
    assert nothing.note == ""
    with pytest.raises(ValueError, match="buys nothing"):
        _ = nothing.bought


@pytest.mark.parametrize(
    "note", ["", "order", "order  attempt 1", "order a attempt x", " order a attempt 1", "order a b attempt 1"]
)
def test_other_notes_name_no_order(note: str) -> None:
    assert order_of(note) is None
