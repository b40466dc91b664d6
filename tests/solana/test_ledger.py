"""The chain of our own behaves as Solana does where an order's fate hangs on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local.solana.ledger import VALID_BLOCKS, Chain, Weather
from order_engine.venues.solana.instructions import memo, transfer_lamports
from tests.solana.scene import HandClock, Wallet

type ChainOf = Callable[[Weather], Chain]

STRANGER = "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R"


def test_what_is_sent_lands_within_a_few_slots_once(chain_of: ChainOf, clock: HandClock, wallet: Wallet) -> None:
    chain = chain_of(Weather())
    pay = wallet.sign([transfer_lamports(wallet.address, STRANGER, 10**9)], str(chain.blockhash(chain.slot)))
    for _ in range(5):
        chain.send(pay)
        clock.slots(2)
    clock.slots(10)
    chain.advance()
    (landed,) = chain.landed.values()
    assert landed.error is None
    account = chain.account(STRANGER)
    assert account is not None
    assert account.lamports == 10**9
    assert landed.before.lamports[0] - landed.after.lamports[0] == 10**9 + landed.fee
    assert landed.fee == 5000


def test_two_equal_messages_are_one_transaction_and_a_memo_makes_them_two(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather())
    now = str(chain.blockhash(chain.slot))
    pay = transfer_lamports(wallet.address, STRANGER, 10**9)
    for calls in ([pay], [pay], [pay, memo("order 1, attempt 1")], [pay, memo("order 2, attempt 1")]):
        chain.send(wallet.sign(calls, now))
    clock.slots(10)
    chain.advance()
    assert len(chain.landed) == 3


def test_a_failed_transaction_lands_with_its_error_and_costs_its_fee(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather())
    chain.send(wallet.sign([transfer_lamports(wallet.address, STRANGER, 10**18)], str(chain.blockhash(chain.slot))))
    clock.slots(10)
    chain.advance()
    (landed,) = chain.landed.values()
    assert landed.error == {"InstructionError": [1, {"Custom": 1}]}
    assert landed.before.lamports[0] - landed.after.lamports[0] == landed.fee == 5000


@pytest.mark.parametrize(("waited", "lands"), [(VALID_BLOCKS - 3, True), (VALID_BLOCKS + 1, False)])
def test_a_block_hash_is_good_for_150_blocks(
    waited: int, lands: bool, chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather())
    note = wallet.note("late", chain)
    clock.slots(waited)
    chain.send(note)
    clock.slots(10)
    chain.advance()
    assert bool(chain.landed) is lands


def test_what_lands_late_lands_before_it_expires_or_never(chain_of: ChainOf, clock: HandClock, wallet: Wallet) -> None:
    chain = chain_of(Weather(late=1.0))
    began = chain.slot
    for number in range(20):
        chain.send(wallet.note(f"note {number}", chain))
    clock.slots(VALID_BLOCKS + 10)
    chain.advance()
    slots = [landed.slot - began for landed in chain.landed.values()]
    assert len(slots) == 20
    assert all(VALID_BLOCKS - 3 <= slot <= VALID_BLOCKS for slot in slots)


def test_lost_sends_are_lost_and_the_next_of_the_same_bytes_may_arrive(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather(lost=0.5))
    notes = [wallet.note(f"note {number}", chain) for number in range(100)]
    for note in notes:
        chain.send(note)
    clock.slots(10)
    chain.advance()
    once = len(chain.landed)
    assert 25 < once < 75
    for _ in range(12):
        for note in notes:
            chain.send(note)
    clock.slots(10)
    chain.advance()
    assert len(chain.landed) == 100


def test_the_clock_of_the_programs_is_that_of_the_slots(chain_of: ChainOf, clock: HandClock) -> None:
    chain = chain_of(Weather(slot_ms=250))
    before = chain.slot
    clock.now += 60_000
    assert chain.advance() == before + 240
    assert chain.unix_time(chain.slot) == clock.now // 1000
    with pytest.raises(ValueError, match="slot"):
        chain.set_weather(slot_ms=400)
