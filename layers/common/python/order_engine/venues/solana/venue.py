"""Raydium and Meteora as the engine asks for them: two venues over one reading of the pools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from order_engine.domain.errors import VenueError, VenueResting
from order_engine.domain.quote import Pool
from order_engine.engine.routing.network import INTERMEDIATES
from order_engine.venues.solana.pools import PoolSource, Unusable
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable


class LiveVenue:
    """One venue's pools on the chain. Implements ``ports.Venue``.

    All venues ask the one source for the same tokens at the same time, and share its reading: a routing costs one call
    of the node, whatever the number of venues.

    Args:
        name: one of ``VENUES``.
        unusable: is told of pools that cannot take part, each time that they are read.
    """

    def __init__(self, name: str, source: PoolSource, unusable: Callable[[Collection[Unusable]], None]) -> None:
        self.name = name
        self._source = source
        self._unusable = unusable

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        """Implements ``Venue.pools``."""
        try:
            reading = await self._source.read({mint_in, mint_out, *INTERMEDIATES})
        except (NodeUnavailable, NodeRefused) as error:
            # It names nodes by their number only.
            raise VenueError(str(error)) from None
        self._unusable(reading.unusable)
        found = [live.pool for live in reading.pools if live.pool.venue == self.name]
        passing = next((each for each in reading.unusable if each.passes and each.venue in (self.name, None)), None)
        if not found and passing is not None:
            raise VenueResting(f"Pool {passing.address}: {passing.reason}")
        return found


class Unusables:
    """Tells of pools that cannot take part: of each once, and again when the reason is another."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[str, str] = {}

    def __call__(self, unusable: Collection[Unusable]) -> None:
        for each in unusable:
            if self._known.get(each.address) != each.reason:
                self._known[each.address] = each.reason
                self._tell(f"Pool {each.address} is left out: {each.reason}")
