"""Until when a signed transaction can land: what a node tells, held against the chain's own height.

Told too low, the engine would take a transaction for dead that can still land. Told too high, it would wait for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from order_engine.engine.ports import Clock, Height
from order_engine.venues.solana.node import Blockhash, Node
from order_engine.venues.solana.proof import VALID_BLOCKS, agreed_height
from order_engine.venues.solana.rpc import NodeUnavailable

# From a known height the present one follows within bounds, so that it is seldom asked for.
_FRESH_MS = 600_000
# No slot is shorter.
_SLOT_MS = 100
# Nodes answer at different moments, and the one that told the height may have been behind.
_APART_BLOCKS, _BEHIND_SLOTS = 20, 150


@dataclass(slots=True)
class Validity:
    """Judges what is told of block hashes."""

    node: Node
    clock: Clock
    _known: tuple[int, Height] | None = field(default=None, init=False)

    async def last_valid(self, blockhash: Blockhash, slot: int) -> int:
        """The last block height at which a transaction with a block hash may land; rather too high than too low.

        Args:
            slot: of the node that tells of the block hash, when it did.

        Raises:
            NodeUnavailable, NodeRefused: no node answered, or the answers contradict each other.
        """
        now = self.clock.now_ms()
        if self._known is None or now - self._known[0] >= _FRESH_MS:
            self._known = (now, await agreed_height(await self.node.apart(), alone=True))
        known_at, height = self._known
        # Each block takes a slot at least.
        newer = max(0, min(slot - height.slot, (now - known_at) // _SLOT_MS + _BEHIND_SLOTS))
        told = blockhash.last_valid_block_height
        if not height.blocks <= told <= height.blocks + newer + VALID_BLOCKS + _APART_BLOCKS:
            self._known = None
            raise NodeUnavailable(
                f"A node tells that its newest block hash is good until block {told}, and another that the chain is at "
                f"block {height.blocks}."
            )
        return max(told, height.blocks + VALID_BLOCKS)
