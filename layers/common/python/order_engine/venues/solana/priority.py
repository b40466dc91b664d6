"""What a transaction offers for being preferred: what others have paid lately for the same accounts, under a cap."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from order_engine.venues.solana.node import Node
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable

_FRESH_S = 10.0
_MOST_KEPT = 256


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How much to offer.

    Attributes:
        percentile: of what recent blocks took at least, 0 to 100.
        max_micro_lamports: per compute unit, whatever the others pay.
    """

    percentile: int = 50
    max_micro_lamports: int = 1_000_000

    def price(self, recent: Sequence[int]) -> int:
        """Micro-lamports per compute unit. 0 where nobody has paid anything."""
        if not recent:
            return 0
        ordered = sorted(recent)
        place = -(-len(ordered) * self.percentile // 100) - 1
        return min(ordered[max(0, place)], self.max_micro_lamports)


@dataclass(slots=True)
class PriorityFees:
    """The price for some accounts, asked for once every ten seconds."""

    node: Node
    policy: FeePolicy = field(default_factory=FeePolicy)
    now_s: Callable[[], float] = time.monotonic
    _known: dict[frozenset[str], tuple[float, int]] = field(default_factory=dict)

    async def price(self, writable: Sequence[str]) -> int:
        """Micro-lamports per compute unit for writing these accounts.

        A node that does not tell is no reason to hold a swap up: then what was known last counts, or nothing.
        """
        if self.policy.max_micro_lamports == 0:
            return 0
        key, now = frozenset(writable), self.now_s()
        asked_at, price = self._known.get(key, (None, 0))
        if asked_at is not None and now - asked_at < _FRESH_S:
            return price
        try:
            price = self.policy.price(await self.node.priority_fees(sorted(key)))
        except (NodeUnavailable, NodeRefused):
            return price
        if len(self._known) >= _MOST_KEPT:
            self._known.pop(min(self._known, key=lambda each: self._known[each][0]))
        self._known[key] = (now, price)
        return price
