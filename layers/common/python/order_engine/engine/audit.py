"""Hold the chain's ledger against the first promise: no order is swapped twice.

The orders cannot say it of themselves: what would swap one twice is a mistake in what is written to them. So the chain
is asked what has landed, and every transaction says in its own words which order it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Chain, Clock, Incomplete

# Two swaps of one order that are further apart than this are left to the reconciliation of whole days.
WINDOW_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Audit:
    """The use case."""

    chain: Chain
    clock: Clock
    observer: Observer

    async def __call__(self) -> Mapping[str, Sequence[str]]:
        """Look for orders that were swapped more than once within the last hour, and report each.

        Returns:
            Their signatures by order id.

        Raises:
            Incomplete: not all could be looked at; of what could, each is reported.
            Exception: the chain did not answer.
        """
        signatures: dict[str, list[str]] = {}
        incomplete: Incomplete | None = None
        try:
            swaps = await self.chain.swaps(since=self.clock.now_ms() - WINDOW_MS)
        except Incomplete as some:
            swaps, incomplete = some.found, some
        for swap in swaps:
            known = signatures.setdefault(swap.order_id, [])
            if swap.signature not in known:
                known.append(swap.signature)
        twice = {order_id: found for order_id, found in signatures.items() if len(found) > 1}
        for order_id, found in twice.items():
            self.observer.noted(order_id, Note.SWAPPED_TWICE, ", ".join(found))
        if incomplete is not None:
            raise incomplete
        return twice
