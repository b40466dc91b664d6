"""What proves that a transaction never landed: the word of nodes that can know it.

A node says of a transaction that it has not seen the same as of one that never was. So its silence counts only where it
has every block in which the transaction might be: a node that has thrown away its older blocks, or that began anew from
a snapshot and has a gap in the middle, proves nothing. And one node may be wrong, or lie: where several are configured,
two must say so.

Blocks are found by their height: those in which a transaction may be are the 150 before its last valid one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from order_engine.engine.ports import Height
from order_engine.venues.solana.node import MAX_SIGNATURES, Known, Landed, Node
from order_engine.venues.solana.parse import Signed
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable

# For how many blocks a block hash is good. Source: Agave, ``MAX_PROCESSING_AGE``.
VALID_BLOCKS = 150
# A node's answer about statuses is of its ``processed`` slot, which may lie on a fork that dies. A fork does not come
# to be longer than this before the network's votes have decided.
FORK_SLOTS = 32
# A transaction's last valid height is what nodes have told, held against each other: so much earlier and later than it
# says, the blocks are looked for in which it may be.
_EARLIER, _LATER = VALID_BLOCKS + 2 * FORK_SLOTS, VALID_BLOCKS
# How many blocks are listed at once; and how often anybody looks for those of a height.
_MOST_BLOCKS, _ROUNDS = 500, 6
# So many pages of the wallet's transactions are read back, at most.
_MOST_PAGES = 20


async def agreed_height(nodes: Sequence[Node], *, alone: bool = False) -> Height:
    """How far the chain is at least, as two nodes say where there are two.

    Args:
        alone: one will do where no other answers.

    Raises:
        NodeUnavailable, NodeRefused: too few have answered.
    """
    heights = await _enough(nodes, lambda node: node.height(), 1 if alone else _needed(nodes))
    return sorted(heights, key=lambda height: height.blocks, reverse=True)[_needed(heights) - 1]


async def look_through(
    nodes: Sequence[Node], signed: Signed, last_valid: int, places: dict[int, int] | None = None
) -> Known:
    """What became of a transaction. That it has not landed is said only if it is proved, up to the slot in the answer.

    Args:
        last_valid: the last block height at which it may land.
        places: by height, a slot before it, as far as former looks have found. What this one finds is added, so that
            one that is given up for its time makes the next one shorter.

    Raises:
        NodeUnavailable, NodeRefused: too few nodes can know it.
    """
    needed = _needed(nodes)
    known = {} if places is None else places
    found = await _enough(nodes, lambda node: _testimony(node, signed, last_valid, known), needed)
    landed = next((known for known in found if known.landed is not None), None)
    return landed or Known(sorted((known.slot for known in found), reverse=True)[needed - 1], None)


async def vouches(node: Node) -> bool:
    """Whether a node tells what a proof needs, of its newest blocks."""
    height = await node.height()
    await node.knows_blockhash("1" * 32)
    begins = await begin_of(node, height.blocks - VALID_BLOCKS, height.blocks - FORK_SLOTS, height, {})
    return begins is not None and await node.first_slot() <= begins


async def begin_of(node: Node, low: int, high: int, newest: Height, places: dict[int, int]) -> int | None:
    """The slot of the first of all blocks from a height to a height; None where a node does not have every one of them.

    Args:
        newest: how far the node is.
        places: see ``look_through``.

    Raises:
        NodeUnavailable, NodeRefused: it does not tell.
    """
    low = max(0, low)
    begins = await _begin_of(node, low, high, newest, places)
    if begins is None:
        # If it was a place that somebody told wrongly, the next look does without it.
        places.pop(low, None)
    return begins


async def _begin_of(node: Node, low: int, high: int, newest: Height, places: dict[int, int]) -> int | None:
    # A slot has one block or none; some leaders miss theirs.
    slot = places.get(low, max(0, newest.slot - (newest.blocks - low) * 9 // 8 - FORK_SLOTS))
    for _ in range(_ROUNDS):
        slots = await node.blocks(slot, _MOST_BLOCKS)
        if not slots:
            return None
        first = await node.height_of(slots[0])
        if first > low:
            if slot == 0:
                return None
            slot = max(0, slots[0] - 2 * (first - low) - FORK_SLOTS)
        elif high - first < len(slots):
            # Between two blocks whose heights differ by as much as their places, none is missing.
            places[low] = slots[0]
            ends = slots[low - first], slots[high - first]
            heights = await asyncio.gather(*map(node.height_of, ends))
            if list(heights) == [low, high]:
                return ends[0]
            if first == low:
                return None
            # What is missing may lie before them: begin nearer to them.
            slot = slots[0] + low - first
        elif len(slots) == _MOST_BLOCKS:
            slot = places[low] = max(slots[0] + 1, slots[0] + low - first)
        else:
            return None
    return None


async def _lists(node: Node, signed: Signed, since: int) -> bool:
    """Whether a node's list of the wallet's transactions reaches back beyond a slot, and has not this one."""
    before: str | None = None
    for _ in range(_MOST_PAGES):
        page = await node.signatures(signed.payer, before=before)
        for mention in page:
            if mention.signature == signed.signature:
                return False
            if mention.slot < since:
                return True
        if len(page) < MAX_SIGNATURES:
            return False
        before = page[-1].signature
    return False


async def _testimony(node: Node, signed: Signed, last_valid: int, places: dict[int, int]) -> Known:
    """What one node knows of a transaction.

    Raises:
        NodeUnavailable, NodeRefused: it does not tell, or cannot know.
    """
    newest = await node.height()
    low, high = last_valid - _EARLIER, min(last_valid + _LATER, newest.blocks - FORK_SLOTS)
    known, ledger, (slot, valid), own, begins = await asyncio.gather(
        node.status(signed.signature, search_history=True),
        node.ledger(signed.signature),
        node.knows_blockhash(signed.blockhash),
        node.first_slot(),
        begin_of(node, low, high, newest, places),
    )
    if known.landed is not None:
        return known
    if ledger is not None:
        return Known(known.slot, Landed(ledger.slot, ledger.error))
    if known.slot < newest.slot:
        raise NodeUnavailable("Its answer about a transaction is older than the one about its height.")
    if newest.blocks - FORK_SLOTS > last_valid and (valid or slot < newest.slot - FORK_SLOTS):
        raise NodeUnavailable("It says that a transaction has expired, and that its block hash has not.")
    # What is older than its own ledger it has from elsewhere, and does not say if nobody answered there: then its list
    # of the wallet's transactions must reach back so far, too.
    if begins is None or (begins < own and not await _lists(node, signed, begins)):
        raise NodeUnavailable("It does not have every block in which the transaction may be.")
    # Behind one address stand machines of different age: one from before the block hash does not know it either. So the
    # whole is worth what its oldest part is.
    return Known(min(known.slot, newest.slot, slot) - FORK_SLOTS, None)


def _needed(of: Sequence[object]) -> int:
    return min(2, len(of))


async def _enough[T](nodes: Sequence[Node], ask: Callable[[Node], Awaitable[T]], needed: int) -> list[T]:
    """What all nodes say that answer, so many at least."""
    said = await asyncio.gather(*(ask(node) for node in nodes), return_exceptions=True)
    answers = [each for each in said if not isinstance(each, BaseException)]
    if len(answers) >= needed:
        return answers
    errors = [each for each in said if isinstance(each, BaseException)]
    unexpected = next((each for each in errors if not isinstance(each, (NodeUnavailable, NodeRefused))), None)
    raise unexpected or errors[0]
