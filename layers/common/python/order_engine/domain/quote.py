"""Pools, quotes and the routing decision: what is known before a transaction is built."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from order_engine.domain.tokens import Token

type RouteKind = Literal["single", "path", "split"]


class Pool(Protocol):
    """A snapshot of one pool. Immutable: quoting changes nothing."""

    @property
    def pool_id(self) -> str:
        """The pool's address."""

    @property
    def venue(self) -> str:
        """One of ``domain.venues.VENUES``."""

    @property
    def kind(self) -> str:
        """The program: cpmm, clmm, dlmm or damm2."""

    @property
    def mints(self) -> tuple[str, str]:
        """The two mints, in the pool's own order."""

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after every fee of the pool.

        Raises:
            QuoteRefused: too little liquidity, or the output would be zero.
        """

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees, as a ratio (numerator, denominator) of base units out per in."""


class Piece(NamedTuple):
    """A stretch of a pool's curve: ``price * x / (1 + bend * x)`` base units out for x in, up to a size.

    Every venue's mathematics is made of these. A bin trades at one price, so it does not bend; a constant product
    bends by one over its input reserve, a range of constant liquidity likewise.

    Attributes:
        price: output per input at the start, after fees.
        bend: per base unit of input, not negative.
        size: input that the stretch takes, base units, fees included; infinite where nothing ends it.
    """

    price: float
    bend: float
    size: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What a pool gives in real numbers: never less than its quote, and more by rounding only.

    Attributes:
        pieces: in the order in which an amount goes through them. Prices fall, within a piece and from one to the
            next, so that the curve is concave. May be walked once only.
        idle: input that gives nothing before the first piece, base units.
        toll: output that is withheld whatever the amount, base units.
    """

    pieces: Iterable[Piece]
    idle: int = 0
    toll: int = 0


@runtime_checkable
class CurvedPool(Pool, Protocol):
    """A pool that describes its curve, so that the router can bound what it gives without sampling it."""

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """Curves of which the greatest, at every input, is the pool's own before rounding.

        More than one only where the pool as a whole is not concave.

        Raises:
            QuoteRefused: the pool does not trade in this direction.
        """


@dataclass(frozen=True, slots=True)
class Leg:
    """One swap in one pool. Amounts in base units; ``amount_out`` is what was quoted."""

    venue: str
    pool_id: str
    mint_in: str
    mint_out: str
    amount_in: int
    amount_out: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to fill an order.

    Attributes:
        venue: the venue, or several joined by "+".
        kind: single pool, path through one intermediate token, or split over several.
        legs: in execution order.
        amount_out: base units out, after the pools' fees.
        net_out: ``amount_out`` less the network fee expressed in the output token, base units.
        price_impact_bps: loss against the marginal price before fees, basis points, two decimals.
    """

    venue: str
    kind: RouteKind
    legs: tuple[Leg, ...]
    amount_out: int
    net_out: int
    price_impact_bps: Decimal


# The reason of a venue that has answered: it has nothing for this pair.
NO_POOL = "No pool for this pair."


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A venue that gave no quote, or gave pools that do not work, and why."""

    venue: str
    reason: str

    @property
    def answered(self) -> bool:
        """Whether asking again would bring the same."""
        return self.reason == NO_POOL


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen route and all that was considered.

    Attributes:
        chosen: what will be executed.
        quotes: the considered candidates, best net output first, the best of each venue among them.
        left_out: venues that were late, broken, resting or without a pool.
        reason: one sentence a person understands.
        improvement_bps: net output over the best single-venue candidate, basis points.
        improvement_over_other_bps: over the runner-up; None where no other venue gave a quote.
        network_fee_lamports: what the transaction is expected to cost.
        optimality_gap_bps: no route of the space that was searched gives more net output than the chosen one by more
            than this, basis points of its net output, four decimals, rounded up; None for a decision that was stored
            before it was known.
        tokens: those that its legs lead through, where they are known: how their amounts are written.
    """

    chosen: Candidate
    quotes: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    reason: str
    improvement_bps: Decimal
    improvement_over_other_bps: Decimal | None
    network_fee_lamports: int
    optimality_gap_bps: Decimal | None = None
    tokens: tuple[Token, ...] = field(default=(), compare=False)

    @property
    def runner_up(self) -> Candidate | None:
        """What ``improvement_over_other_bps`` is measured against, by which its venue is named."""
        if self.improvement_over_other_bps is None:
            return None
        own: dict[str, Candidate] = {}
        for quote in self.quotes:
            if quote.kind != "split" and len({leg.venue for leg in quote.legs}) == 1:
                own.setdefault(quote.venue, quote)
        return runner_up(self.chosen, tuple(own.values()))


def runner_up(chosen: Candidate, own: Sequence[Candidate]) -> Candidate | None:
    """The best of a venue that the chosen way does not use; where it uses all of them, the one that gives least.

    Args:
        own: of each venue the best way that it has without dividing the order, best first.
    """
    used = {leg.venue for leg in chosen.legs}
    unused = [quote for quote in own if quote.venue not in used]
    others = unused[:1] or [quote for quote in own if quote.venue != chosen.venue][-1:]
    return others[0] if others else None
