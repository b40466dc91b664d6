"""Messages and transactions as bytes, held against a public library."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders import compute_budget
from solders.hash import Hash
from solders.instruction import AccountMeta as TheirMeta
from solders.instruction import Instruction as TheirInstruction
from solders.message import MessageV0, MessageV1, TransactionConfig, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from order_engine.domain import base58
from order_engine.domain.errors import BuildFailed
from order_engine.venues.solana import messages
from order_engine.venues.solana.messages import AccountMeta, ComputeBudget, Instruction, Version, compile_message
from tests.unit.solana.calls import KEYS, NAMES, PAYER, budgets, instructions


def theirs(call: Instruction) -> TheirInstruction:
    accounts = [TheirMeta(Pubkey.from_string(m.address), m.signer, m.writable) for m in call.accounts]
    return TheirInstruction(Pubkey.from_string(call.program), call.data, accounts)


def their_message(
    version: Version, calls: list[Instruction], blockhash: bytes, budget: ComputeBudget
) -> MessageV0 | MessageV1:
    converted = [theirs(call) for call in calls]
    if version == 1:
        config = TransactionConfig(
            priority_fee=budget.priority_fee or None,
            compute_unit_limit=budget.units,
            # Left out, a validator takes it for none.
            loaded_accounts_data_size_limit=64 * 1024 * 1024,
        )
        return MessageV1.try_compile(PAYER.pubkey(), converted, Hash(blockhash), config)
    front = [compute_budget.set_compute_unit_limit(budget.units)]
    if budget.micro_lamports_per_unit:
        front.append(compute_budget.set_compute_unit_price(budget.micro_lamports_per_unit))
    return MessageV0.try_compile(PAYER.pubkey(), [*front, *converted], [], Hash(blockhash))


def signed(message: MessageV0 | MessageV1) -> VersionedTransaction:
    known = {key.pubkey(): key for key in [PAYER, *KEYS]}
    count = message.header.num_required_signatures
    return VersionedTransaction(message, [known[key] for key in message.account_keys[:count]])


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([0, 1]),
    st.lists(instructions, min_size=1, max_size=8),
    st.binary(min_size=32, max_size=32),
    budgets,
)
def test_messages_and_transactions_are_those_of_the_public_library(
    version: Version, calls: list[Instruction], blockhash: bytes, budget: ComputeBudget
) -> None:
    expected = their_message(version, calls, blockhash, budget)
    message = compile_message(version, str(PAYER.pubkey()), calls, base58.encode(blockhash), budget)
    assert message == to_bytes_versioned(expected)
    transaction = signed(expected)
    signatures = [bytes(signature) for signature in transaction.signatures]
    raw = bytes(transaction)
    assert messages.fits(message) == (len(raw) <= messages.MAX_BYTES[version])
    if messages.fits(message):
        assert messages.transaction(message, signatures) == raw
    else:
        with pytest.raises(BuildFailed):
            messages.transaction(message, signatures)


@pytest.mark.parametrize("version", [0, 1])
def test_a_message_wants_all_its_signatures(version: Version) -> None:
    message = compile_message(version, NAMES[0], [Instruction(NAMES[1], (), b"")], "1" * 32, ComputeBudget(1))
    for wrong in ([], [bytes(63)], [bytes(64)] * 2):
        with pytest.raises(ValueError, match="signatures"):
            messages.transaction(message, wrong)


def test_version_1_takes_64_addresses_and_64_instructions_and_no_more() -> None:
    names = [str(Pubkey(n.to_bytes(32, "big"))) for n in range(1, 65)]

    def compiled(count: int, calls: int) -> bytes:
        call = Instruction(names[0], tuple(AccountMeta(name) for name in names[:count]), b"")
        return compile_message(1, NAMES[0], [call] * calls, "1" * 32, ComputeBudget(1))

    compiled(63, 64)
    for count, calls in ((64, 1), (1, 65)):
        with pytest.raises(BuildFailed, match="version 1 takes 64"):
            compiled(count, calls)


@given(st.integers(0, 1_400_000), st.integers(0, 10**9))
def test_the_priority_fee_is_rounded_up_to_whole_lamports(units: int, price: int) -> None:
    fee = ComputeBudget(units, price).priority_fee
    assert (fee - 1) * 10**6 < units * price <= fee * 10**6
