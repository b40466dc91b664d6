"""Two venues with one pool each and a price that swings, and a router that takes the better quote.

The real venues and the real router have tests of their own; here they would only cost time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from order_engine.domain import base58
from order_engine.domain.errors import VenuesUnavailable
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg, Pool
from order_engine.domain.tokens import SOL, USDC, Token
from order_engine.domain.venues import METEORA, RAYDIUM, VENUES
from order_engine.venues.swap import Fees, Swap
from tests.simulation.world import World

_PPM = 1_000_000
_BASE = 150  # USDC per SOL
# The address of each venue's pool, as transactions name it.
ADDRESSES = {venue: base58.encode(hashlib.sha256(venue.encode()).digest()) for venue in VENUES}


@dataclass(frozen=True, slots=True)
class SwingPool:
    """Quotes at a fixed price, less a fee that grows with the size."""

    pool_id: str
    venue: str
    micro_usdc_per_sol: int
    kind: str = "cpmm"
    mints: tuple[str, str] = (SOL.mint, USDC.mint)

    def spot(self, mint_in: str) -> tuple[int, int]:
        ratio = (self.micro_usdc_per_sol, SOL.unit)
        return ratio if mint_in == SOL.mint else ratio[::-1]

    def quote(self, mint_in: str, amount_in: int) -> int:
        numerator, denominator = self.spot(mint_in)
        # Thirty basis points, and one more for each ten whole tokens.
        fee_ppm = 3_000 + amount_in // SOL.unit * 10
        return amount_in * numerator * (_PPM - fee_ppm) // (denominator * _PPM)

    def swap(self, mint_in: str, amount_in: int) -> Swap[SwingPool]:
        """What a swap does. It leaves the pool as it was: the price swings by itself."""
        sides = self.mints if mint_in == SOL.mint else self.mints[::-1]
        return Swap(*sides, amount_in, self.quote(mint_in, amount_in), Fees(mint_in, 0, 0, 0, 0, mint_in), self)


@dataclass(frozen=True, slots=True)
class SwingMarket:
    """A price that swings as a triangle, by ``swing_ppm`` of itself each way, once per ``period_ms``."""

    period_ms: int
    swing_ppm: int

    def pool(self, venue: str, at_ms: int) -> SwingPool:
        place = at_ms % self.period_ms * 4 // self.period_ms
        within = at_ms % (self.period_ms // 4) * self.swing_ppm // (self.period_ms // 4)
        offset = (within, self.swing_ppm - within, -within, within - self.swing_ppm)[min(place, 3)]
        # The venues differ by a little that changes sides.
        tilt = 200 if (at_ms // 700 % 2 == 0) == (venue == RAYDIUM) else 0
        price = _BASE * USDC.unit * (_PPM + offset + tilt) // _PPM
        return SwingPool(ADDRESSES[venue], venue, price)


@dataclass(slots=True)
class SwingVenue:
    """``Venue`` over the swinging market.

    Attributes:
        last: the pool as it was told last.
    """

    name: str
    market: SwingMarket
    world: World
    last: SwingPool | None = None

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        if {mint_in, mint_out} != {SOL.mint, USDC.mint}:
            return ()
        self.last = await self.world.call(f"{self.name}.pools", lambda: self.market.pool(self.name, self.world.now))
        return (self.last,)


def decide(
    pools: Sequence[Pool],
    *,
    mint_in: str,
    mint_out: str,
    amount_in: int,
    left_out: Sequence[LeftOut] = (),
    max_price_impact_bps: int,
    lamports_per_leg: int = 0,
    tokens: Sequence[Token] = (),
    most_legs: int | None = None,
) -> Decision:
    """The pool with the largest output.

    Raises:
        VenuesUnavailable: there is no pool.
    """
    if not pools:
        raise VenuesUnavailable("No venue has answered.")
    quotes = [_candidate(pool, mint_in, mint_out, amount_in) for pool in pools]
    quotes.sort(key=lambda candidate: (-candidate.amount_out, (RAYDIUM, METEORA).index(candidate.venue)))
    return Decision(quotes[0], tuple(quotes), tuple(left_out), "the larger output", Decimal(0), None, 5000)


def _candidate(pool: Pool, mint_in: str, mint_out: str, amount_in: int) -> Candidate:
    out = pool.quote(mint_in, amount_in)
    leg = Leg(pool.venue, pool.pool_id, mint_in, mint_out, amount_in, out)
    return Candidate(pool.venue, "single", (leg,), out, out, Decimal(0))
