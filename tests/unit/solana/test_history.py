"""The swaps of a wallet, from lists of its transactions and the notes in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from order_engine.engine.ports import Incomplete, Swapped
from order_engine.venues.solana.build import note_of
from order_engine.venues.solana.history import swaps_since
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.rpc import NodeUnavailable
from tests.simulation.loop import VirtualLoop, run

WALLET = "wallet"
NOW_S = 1_790_000_000


def mention(name: str, note: str | None, *, at: int | None = NOW_S, error: Any = None) -> dict[str, Any]:
    return {"signature": name, "slot": 5, "err": error, "blockTime": at, "memo": note}


def written(*notes: str) -> str:
    return "; ".join(f"[{len(note.encode())}] {note}" for note in notes)


class Ledger:
    """A node with a list of transactions, newest first, and who paid for each."""

    def __init__(self, listed: list[dict[str, Any]], payers: dict[str, str] | None = None) -> None:
        self.listed = listed
        self.payers = payers or {}
        self.looked_up: list[str] = []
        self.unknown: set[str] = set()
        self.slow_s = 0.0
        self.pages = 0

    async def call(self, method: str, *params: Any) -> Any:
        if method == "getTransaction":
            self.looked_up.append(params[0])
            meta = {"err": None, "fee": 0, "preBalances": [1], "postBalances": [1]}
            balances: dict[str, Any] = {"preTokenBalances": [], "postTokenBalances": []}
            if params[0] in self.unknown:
                return None
            await asyncio.sleep(self.slow_s)
            message = {"accountKeys": [self.payers.get(params[0], WALLET)]}
            transaction = {"message": message, "signatures": [params[0]]}
            return {"slot": 5, "meta": meta | balances, "transaction": transaction}
        assert method == "getSignaturesForAddress"
        self.pages += 1
        names = [each["signature"] for each in self.listed]
        before = params[1].get("before")
        start = names.index(before) + 1 if before else 0
        return self.listed[start : start + params[1]["limit"]]


async def swaps(ledger: Ledger, since_s: int = NOW_S - 3600) -> list[Swapped]:
    return await swaps_since(Node(ledger), WALLET, since_s * 1000)


async def test_notes_name_the_orders_of_what_landed_with_success() -> None:
    ledger = Ledger(
        [
            mention("s1", written(note_of("a", 1))),
            mention("s2", written("hello; [3] you", note_of("b", 2))),
            mention("s3", written(note_of("c", 1)), error={"InstructionError": [1, {"Custom": 1}]}),
            mention("s4", None),
            mention("s5", written("order d attempt 1 and more")),
            mention("s6", "no note of the usual form"),
        ]
    )
    assert await swaps(ledger) == [Swapped("a", "s1"), Swapped("b", "s2")]
    assert ledger.looked_up == []


async def test_a_stranger_cannot_make_it_look_as_if_an_order_was_swapped_twice() -> None:
    listed = [mention(name, written(note_of("a", 1))) for name in ("forged", "mine")]
    ledger = Ledger(listed, {"forged": "stranger"})
    assert await swaps(ledger) == [Swapped("a", "mine")]
    # What really happened twice is told.
    assert await swaps(Ledger(listed)) == [Swapped("a", "forged"), Swapped("a", "mine")]


def crowd(count: int) -> Ledger:
    """Two swaps of one order, and so many transactions of strangers that name it."""
    names = [f"forged{n}" for n in range(count)]
    listed = [mention(name, written(note_of("a", 1))) for name in (*names[:50], "one", *names[50:], "other")]
    ledger = Ledger(listed, dict.fromkeys(names, "stranger"))
    ledger.slow_s = 0.2
    return ledger


def test_no_crowd_of_strangers_hides_an_order_that_was_swapped_twice() -> None:
    async def scene() -> None:
        # Hundreds take longer than there is time: what is found out is remembered, and all is known in the end.
        ledger, known, told = crowd(400), dict[str, bool](), set[Swapped]()
        both = [Swapped("a", "one"), Swapped("a", "other")]
        beats = 0
        while beats < 10:
            beats += 1
            try:
                found = await swaps_since(Node(ledger), WALLET, (NOW_S - 3600) * 1000, known)
                break
            except Incomplete as incomplete:
                told |= set(incomplete.found)
        assert found == both
        assert told <= set(both)
        # Only what was being looked up when the time was over is looked up again.
        assert len(ledger.looked_up) <= 402 + 8 * beats
        began = asyncio.get_running_loop().time()
        assert await swaps_since(Node(crowd(66)), WALLET, (NOW_S - 3600) * 1000) == both
        assert asyncio.get_running_loop().time() - began < 3

    run(VirtualLoop(), scene())


async def test_a_transaction_that_cannot_be_looked_up_is_nobodys_yet() -> None:
    listed = [mention(name, written(note_of("a", 1))) for name in ("unknown", "mine")]
    ledger = Ledger([*listed, mention("b", written(note_of("b", 1)))])
    ledger.unknown = {"unknown"}
    with pytest.raises(Incomplete) as some:
        await swaps(ledger)
    assert some.value.found == [Swapped("a", "mine"), Swapped("b", "b")]


async def test_it_reads_back_as_far_as_asked_and_no_further() -> None:
    listed = [mention(f"s{n}", written(note_of(f"{n}", 1)), at=NOW_S - n) for n in range(2500)]
    ledger = Ledger(listed)
    assert len(await swaps(ledger, NOW_S - 1200)) == 1201
    assert ledger.pages == 2
    ledger = Ledger(listed)
    assert len(await swaps(ledger, NOW_S - 10_000)) == 2500
    assert ledger.pages == 3


async def test_a_block_without_a_time_is_read_too() -> None:
    assert len(await swaps(Ledger([mention("s1", written(note_of("a", 1)), at=None)]))) == 1


async def test_an_answer_of_another_shape_is_none() -> None:
    with pytest.raises(NodeUnavailable, match="another shape"):
        await swaps(Ledger([{"signature": "s1"}]))
