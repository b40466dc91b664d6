"""What nodes must have and say before their silence is taken for proof."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.engine.ports import Height
from order_engine.venues.solana.node import Blockhash, Known, Landed, Node
from order_engine.venues.solana.parse import Signed
from order_engine.venues.solana.proof import (
    FORK_SLOTS,
    VALID_BLOCKS,
    agreed_height,
    begin_of,
    look_through,
    vouches,
)
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable
from order_engine.venues.solana.validity import Validity
from tests.support.clock import StandingClock

TIP, BEHIND = 20_000, 3_000


@cache
def slots_with_blocks(skipped: int) -> list[int]:
    """The slots of a chain up to its tip, of which every so many has no block; all have one for 0."""
    return [slot for slot in range(TIP + 1) if not skipped or slot % skipped]


@dataclass
class Told:
    """A node with a ledger.

    Attributes:
        chain: the slots of all blocks, from height 0.
        lacks: from which slot to which it has none of them.
        first: the oldest slot that it says to have.
        landed: in which slot it knows the transaction.
        listed: of the wallet's transactions, the signatures, each after its slot, newest first.
        moved: by how much its word about statuses and block hashes is behind its height.
        hash_behind: by how much more the one about block hashes is.
    """

    chain: list[int] = field(default_factory=lambda: slots_with_blocks(20))
    lacks: range = range(0)
    first: int = 0
    landed: int | None = None
    hash_dies_at: int = 0
    moved: int = 0
    hash_behind: int = 0
    listed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def height(self) -> Height:
        return Height(len(self.chain) - 1, self.chain[-1])

    async def call(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        context = {"slot": TIP - self.moved}
        match method:
            case "getEpochInfo":
                return {"blockHeight": self.height.blocks, "absoluteSlot": self.height.slot}
            case "getBlocksWithLimit":
                start = bisect_left(self.chain, params[0])
                slots = self.chain[start : start + params[1] + len(self.lacks)]
                return [slot for slot in slots if slot not in self.lacks][: params[1]]
            case "getBlock":
                return {"blockHeight": bisect_left(self.chain, params[0])}
            case "minimumLedgerSlot":
                return self.first
            case "isBlockhashValid":
                older = {"slot": context["slot"] - self.hash_behind}
                return {"context": older, "value": self.height.blocks <= self.hash_dies_at}
            case "getSignatureStatuses":
                assert params == (["signature"], {"searchTransactionHistory": True})
                status = {"slot": self.landed, "err": None, "confirmationStatus": "finalized"}
                return {"context": context, "value": [None if self.landed is None else status]}
            case "getTransaction":
                return None
            case "getSignaturesForAddress":
                assert params[0] == "wallet"
                start = 0 if "before" not in params[1] else self.listed.index(params[1]["before"]) + 1
                page = self.listed[start : start + params[1]["limit"]]
                return [
                    {"signature": each, "slot": int(each) if each.isdigit() else 16_600, "err": None} for each in page
                ]
        raise AssertionError(method)


@given(
    skipped=st.sampled_from([0, 2, 3, 7, 20, 100]),
    low=st.integers(-50, 9_000),
    length=st.integers(1, 400),
    hole=st.integers(0, TIP),
    size=st.integers(0, 800),
)
async def test_a_node_begin_of_only_if_none_of_them_is_missing(
    skipped: int, low: int, length: int, hole: int, size: int
) -> None:
    node = Told(slots_with_blocks(skipped), range(hole, hole + size))
    high = max(0, low) + length
    begins = await begin_of(Node(node), low, high, node.height, {})
    found = begins is not None
    wanted = node.chain[max(0, low) : high + 1]
    there = high <= node.height.blocks and not any(slot in node.lacks for slot in wanted)
    # Of a node that has them it may not be found out, where a part that does not matter is missing; never otherwise.
    assert there or not found
    assert found or not there or size > 0
    assert not found or begins == wanted[0]


@pytest.mark.parametrize("age", [10, 200, 3_000, 17_000])
async def test_blocks_are_found_with_few_questions(age: int) -> None:
    node, places = Told(), dict[int, int]()
    low = node.height.blocks - age - 400
    assert await begin_of(Node(node), low, low + 365, node.height, places)
    assert len(node.asked) <= 12
    # Whoever gave up in between goes on where the search was.
    node.asked.clear()
    assert await begin_of(Node(node), low, low + 365, node.height, places)
    assert len(node.asked) <= 4
    # A place that somebody told wrongly leads nobody astray, but for the one look at most.
    for wrong in (TIP - 1, TIP + 10**6, 5):
        places = {low: wrong}
        first = await begin_of(Node(node), low, low + 365, node.height, places)
        assert first or await begin_of(Node(node), low, low + 365, node.height, places)


@pytest.mark.parametrize(("before", "size"), [(5, 140), (60, 20), (150, 3_000), (2, 1)])
async def test_what_is_missing_before_the_blocks_in_question_does_not_matter(before: int, size: int) -> None:
    node = Told()
    low = node.height.blocks - 1_000
    begins = node.chain[low]
    lacking = replace(node, lacks=range(begins - before - size, begins - before))
    assert await begin_of(Node(lacking), low, low + 365, node.height, {}) == begins


def old(node: Told) -> int:
    return node.height.blocks - BEHIND


async def proved(*nodes: Told, last_valid: int | None = None) -> Known:
    valid = old(nodes[0]) if last_valid is None else last_valid
    signed = Signed(0, "signature", b"", "hash", ("wallet",), ())
    return await look_through([Node(node) for node in nodes], signed, valid)


async def test_a_node_that_has_every_block_proves_absence_up_to_the_last_fork() -> None:
    node = Told()
    assert await proved(node) == Known(node.height.slot - FORK_SLOTS, None)


async def test_a_proof_is_as_old_as_its_oldest_part() -> None:
    """Behind one address stand machines of different age: one from before a block hash does not know it either."""
    assert await proved(Told(hash_behind=20)) == Known(TIP - 20 - FORK_SLOTS, None)


@pytest.mark.parametrize("slot", [*range(16_500, 16_900, 40)])
async def test_a_hole_where_the_transaction_may_be_proves_nothing(slot: int) -> None:
    node = Told()
    may_be = node.chain[old(node) - VALID_BLOCKS + 1 : old(node) + 1]
    if not may_be[0] <= slot <= may_be[-1]:
        return
    with pytest.raises(NodeUnavailable, match="every block"):
        await proved(replace(node, lacks=range(slot, slot + 2)))


async def test_what_is_older_than_a_nodes_own_ledger_is_believed_only_with_the_wallets_list() -> None:
    """It has such blocks from elsewhere; that nobody answered there about a transaction it does not say."""
    many = [f"{slot}" for slot in range(19_990, 17_000, -1)]
    for listed, there in (([], False), (many, False), ([*many, "900"], True), ([*many, "16700", "900"], True)):
        node = Told(first=TIP - 100, listed=listed)
        if there:
            assert (await proved(node)).landed is None
        else:
            with pytest.raises(NodeUnavailable, match="every block"):
                await proved(node)
    with pytest.raises(NodeUnavailable, match="every block"):
        await proved(Told(first=TIP - 100, listed=[*many, "signature", "900"]))
    whole = Told(first=15_000)
    await proved(whole)
    assert "getSignaturesForAddress" not in whole.asked


async def test_what_one_node_knows_to_have_landed_has() -> None:
    assert await proved(Told(), Told(landed=16_000), Told()) == Known(TIP, Landed(16_000, None))


async def test_two_nodes_must_prove_it_where_there_are_two_and_any_two_of_three() -> None:
    blind = Told(lacks=range(TIP))
    with pytest.raises(NodeUnavailable):
        await proved(Told(), blind)
    assert (await proved(Told(), blind, Told())).landed is None
    with pytest.raises(NodeUnavailable):
        await proved(Told(), blind, blind)


async def test_a_block_hash_that_is_still_good_contradicts_an_expiry() -> None:
    with pytest.raises(NodeUnavailable, match="its block hash has not"):
        await proved(Told(hash_dies_at=10**9))
    with pytest.raises(NodeUnavailable):
        await proved(Told(moved=FORK_SLOTS + 1))


async def test_before_it_has_expired_nothing_is_contradictory() -> None:
    node = Told(hash_dies_at=10**9)
    known = await proved(node, last_valid=node.height.blocks + 100)
    assert known == Known(node.height.slot - FORK_SLOTS, None)


async def test_the_height_is_what_two_nodes_say() -> None:
    def at(blocks: int) -> Node:
        return Node(Told(list(range(blocks + 1))))

    class Silent:
        async def call(self, method: str, *params: Any) -> Any:
            raise NodeRefused(-32601, "Method not found")

    silent = Node(Silent())
    assert (await agreed_height([at(500)])).blocks == 500
    assert (await agreed_height([at(500), at(900)])).blocks == 500
    assert (await agreed_height([at(500), at(900), at(800)])).blocks == 800
    assert (await agreed_height([at(500), silent, at(800)])).blocks == 500
    assert (await agreed_height([silent, at(800)], alone=True)).blocks == 800
    with pytest.raises(NodeRefused):
        await agreed_height([silent, at(800)])
    assert await vouches(Node(Told()))


@given(told=st.integers(0, 3_000), minutes=st.integers(0, 20), slots=st.integers(-100, 10_000))
async def test_a_last_valid_height_is_believed_only_within_what_can_be(told: int, minutes: int, slots: int) -> None:
    clock = StandingClock()
    node = Told(list(range(1_001)))
    validity = Validity(Node(node), clock)
    assert await validity.last_valid(Blockhash("hash", 1_150), 1_000) == 1_150
    clock.now += minutes * 60_000
    # The height is asked for again after ten minutes.
    newer = max(0, min(slots, (0 if minutes >= 10 else minutes * 600) + 150))
    try:
        last_valid = await validity.last_valid(Blockhash("hash", told), 1_000 + slots)
    except NodeUnavailable:
        assert not 1_000 <= told <= 1_150 + newer
    else:
        assert last_valid == max(told, 1_150)
        assert 1_000 <= told <= 1_170 + newer
