"""A venue of the paper market."""

from __future__ import annotations

from collections.abc import Sequence

from order_engine.domain.errors import VenueError
from order_engine.domain.quote import Pool
from order_engine.engine.ports import Clock
from order_engine.engine.routing.network import INTERMEDIATES
from order_engine.venues.paper.market import PaperMarket


class PaperVenue:
    """A venue of the paper market. Implements ``ports.Venue``."""

    def __init__(self, name: str, market: PaperMarket, clock: Clock, delay_ms: int) -> None:
        self._name = name
        self._market = market
        self._clock = clock
        self._delay_ms = delay_ms

    @property
    def name(self) -> str:
        return self._name

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        """The pools of the pair, and those into and out of the intermediate tokens, as they are after the delay.

        Raises:
            VenueError: the two mints are the same.
        """
        if mint_in == mint_out:
            raise VenueError("There is no pool between a token and itself.")
        if self._delay_ms:
            await self._clock.sleep(self._delay_ms)
        now = self._clock.now_ms()
        found = list(self._market.pools(self._name, mint_in, mint_out, now))
        for middle in INTERMEDIATES:
            if middle not in (mint_in, mint_out):
                found += self._market.pools(self._name, mint_in, middle, now)
                found += self._market.pools(self._name, middle, mint_out, now)
        return found
