"""What the network charges for a route, in lamports and in the output token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from order_engine.domain.quote import Pool
from order_engine.domain.tokens import SOL
from order_engine.engine.routing.network import INTERMEDIATES

# What Solana charges for the one signature of the transaction.
LAMPORTS_PER_SIGNATURE = 5_000
# The priority fee of one swap: about 100 000 compute units at 0.1 lamports.
LAMPORTS_PER_LEG = 10_000


@dataclass(frozen=True, slots=True)
class NetworkFee:
    """The network fee, and its price: output base units per lamport."""

    per_leg: int
    rate: Fraction
    _known: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def lamports(self, legs: int) -> int:
        return LAMPORTS_PER_SIGNATURE + self.per_leg * legs

    def in_output(self, legs: int) -> int:
        """Base units of output, rounded up."""
        known = self._known.get(legs)
        if known is None:
            cost = self.lamports(legs) * self.rate
            known = self._known[legs] = -(-cost.numerator // cost.denominator)
        return known


def lamport_price(pools: Sequence[Pool], mint_in: str, mint_out: str) -> Fraction:
    """Output base units per lamport, by the pools' marginal prices: directly, or through one other token.

    The median pool of an edge counts, so that one pool with an absurd price cannot make the fee absurd. Zero where
    the pools at hand do not price SOL in the output token; every candidate's fee then counts as zero.

    Args:
        pools: all of which have a price.
    """
    if mint_out == SOL.mint:
        return Fraction(1)

    def rate(a: str, b: str) -> Fraction | None:
        spots = [p.spot(a) for p in pools if p.mints in ((a, b), (b, a))]
        if not spots:
            return None
        spots.sort(key=lambda spot: (spot[0] / spot[1], spot))
        return Fraction(*spots[(len(spots) - 1) // 2])

    straight = rate(SOL.mint, mint_out)
    if straight is not None:
        return straight
    for middle in dict.fromkeys((mint_in, *INTERMEDIATES)):
        if middle in (SOL.mint, mint_out):
            continue
        into, out_of = rate(SOL.mint, middle), rate(middle, mint_out)
        if into is not None and out_of is not None:
            return into * out_of
    return Fraction(0)
