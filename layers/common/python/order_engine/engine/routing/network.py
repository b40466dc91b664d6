"""The pools of one order: pools of the pair, and for each intermediate token the pools into it and out of it.

Every pool trades one pair, so it belongs to one of these edges. Legs of one route therefore never share a pool, and
what a route gives is a sum over its pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import EngineError, QuoteRefused
from order_engine.domain.quote import Curve, LeftOut, Pool
from order_engine.domain.tokens import SOL, USDC, Token
from order_engine.domain.venues import VENUES
from order_engine.engine.routing.ladder import Ladder, sampled

MIDDLES: tuple[Token, ...] = (SOL, USDC)
INTERMEDIATES: tuple[str, ...] = tuple(token.mint for token in MIDDLES)
_NAMED = 3  # broken pools that a decision names, by venue


class BrokenPool(Exception):
    """A pool does not do what a pool does.

    Attributes:
        pool: which one.
        why: one sentence.
    """

    def __init__(self, pool: Pool, why: str) -> None:
        super().__init__(why)
        self.pool = pool
        self.why = why


class Channel:
    """One pool in the direction that the order needs. Its quotes are exact and remembered.

    Attributes:
        place: its place in the network.
        edge: the edge that it stands on.
    """

    __slots__ = ("_known", "edge", "mint_in", "mint_out", "place", "pool")

    def __init__(self, pool: Pool, mint_in: str, mint_out: str, place: int, edge: int) -> None:
        self.pool = pool
        self.edge = edge
        self.mint_in = mint_in
        self.mint_out = mint_out
        self.place = place
        self._known: dict[int, int] = {0: 0}

    def quote(self, amount: int) -> int:
        """Base units out; 0 for an amount that the pool refuses.

        Raises:
            BrokenPool: it does anything else than quote or refuse.
        """
        known = self._known.get(amount)
        if known is None:
            try:
                known = self.pool.quote(self.mint_in, amount)
            except QuoteRefused:
                known = 0
            except Exception as error:
                raise BrokenPool(self.pool, _why(error)) from error
            self._known[amount] = known
        return known

    def spot(self) -> Fraction:
        """The marginal price before fees."""
        return Fraction(*self.pool.spot(self.mint_in))

    def most(self, amount: int) -> int:
        """The largest input that the pool fills, at most the amount that is asked for; 0 if it fills none."""
        if self.quote(amount):
            return amount
        good, bad = amount // 4, amount
        while good and not self.quote(good):
            good, bad = good // 4, good
        while good and bad - good > 1:
            middle = (good + bad) // 2
            if self.quote(middle):
                good = middle
            else:
                bad = middle
        return good

    def curves(self, most: int) -> Sequence[Curve]:
        """The pool's curves; a pool that does not describe itself is sampled up to an amount.

        Raises:
            BrokenPool: it has none.
        """
        describe = getattr(self.pool, "curves", None)
        try:
            if describe is not None:
                curves: Sequence[Curve] = describe(self.mint_in)
                return curves
            fills = self.most(most)
            return (sampled(self.quote, float(self.spot()), fills),) if fills else ()
        except BrokenPool:
            raise
        except Exception as error:
            raise BrokenPool(self.pool, _why(error)) from error


@dataclass(frozen=True, slots=True)
class Via:
    """The edges into an intermediate token and out of it, as places in ``Network.edges``."""

    first: int
    second: int


class Network:
    """The channels of an order, by edge.

    Attributes:
        amount: of the order, base units.
        channels: every pool that can take part, in the order of venues and pool ids.
        edges: the ladders of the direct pools, then per intermediate token those into it and those out of it; the
            highest price first.
        vias: which edges make a path.
        exclusive: some pool has several ladders, of which a route may use one.
        sampled: some pool does not describe its curve.
    """

    def __init__(self, pools: Iterable[Pool], mint_in: str, mint_out: str, amount: int) -> None:
        self.amount = amount
        self.mint_in = mint_in
        self.mint_out = mint_out
        self.channels: list[Channel] = []
        self.ladders: list[Ladder] = []
        by_pair: dict[frozenset[str], list[Pool]] = {}
        for pool in pools:
            by_pair.setdefault(frozenset(pool.mints), []).append(pool)
        self.edges: list[tuple[Ladder, ...]] = [self._edge(by_pair, mint_in, mint_out, amount, 0)]
        self.vias: list[Via] = []
        for middle in INTERMEDIATES:
            if middle in (mint_in, mint_out) or frozenset((middle, mint_out)) not in by_pair:
                continue
            edge = len(self.edges)
            first = self._edge(by_pair, mint_in, middle, amount, edge)
            # No more can arrive than the whole order at the best price of all.
            arrives = int(min(U64_MAX, amount * max((ladder.top for ladder in first), default=0.0) * 1.01 + 1))
            second = self._edge(by_pair, middle, mint_out, arrives, edge + 1) if first else ()
            if second:
                self.vias.append(Via(edge, edge + 1))
                self.edges += [first, second]
        self.sampled = any(not hasattr(channel.pool, "curves") for channel in self.channels)
        self.exclusive = len(self.ladders) > len({ladder.channel for ladder in self.ladders})

    def by_edge(self, places: Iterable[int]) -> list[list[int]]:
        """Channels by the edge that they stand on, in their order."""
        found: list[list[int]] = [[] for _ in self.edges]
        for place in sorted(places):
            found[self.channels[place].edge].append(place)
        return found

    def _edge(
        self, by_pair: dict[frozenset[str], list[Pool]], mint_in: str, mint_out: str, most: int, edge: int
    ) -> tuple[Ladder, ...]:
        found: list[Ladder] = []
        for pool in by_pair.get(frozenset((mint_in, mint_out)), ()):
            channel = Channel(pool, mint_in, mint_out, len(self.channels), edge)
            ladders = [
                Ladder(curve, len(self.ladders) + number, channel.place, float(most))
                for number, curve in enumerate(channel.curves(most))
            ]
            ladders = [ladder for ladder in ladders if ladder.top > 0]
            if ladders:
                self.channels.append(channel)
                self.ladders += ladders
                found += ladders
        # A search that asks for the best at a price may then stop at the first pool that starts below it.
        return tuple(sorted(found, key=lambda ladder: (-ladder.top, ladder.number)))


def sound(pools: Iterable[Pool], mint_in: str, amount: int) -> tuple[list[Pool], list[BrokenPool]]:
    """The pools that have a price, in the order of venues and ids, and those that have none.

    Of several snapshots of one pool the one that promises least counts, whatever the order in which they come: it is
    not known which is the newer, and a route must not promise what the pool may no longer give.
    """
    good: dict[tuple[str, str], Pool] = {}
    broken: list[BrokenPool] = []
    for pool in pools:
        key = (pool.venue, pool.pool_id)
        try:
            numerator, denominator = pool.spot(pool.mints[0])
            if numerator <= 0 or denominator <= 0:
                broken.append(BrokenPool(pool, "It has no price."))
                continue
            rival = good.get(key)
            if rival is not None and rival != pool:
                pool = min(rival, pool, key=lambda one: _promise(one, mint_in, amount))
        except Exception as error:  # noqa: BLE001 - a broken pool must not end the order
            broken.append(BrokenPool(pool, _why(error)))
            continue
        good[key] = pool
    return [good[key] for key in sorted(good, key=pool_order)], broken


def _promise(pool: Pool, mint_in: str, amount: int) -> tuple[int, Fraction, str]:
    mint = mint_in if mint_in in pool.mints else pool.mints[0]
    return Channel(pool, mint, "", 0, 0).quote(amount), Fraction(*pool.spot(mint)), repr(pool)


def pool_order(key: tuple[str, str]) -> tuple[int, str, str]:
    """Sorts (venue, pool id): by the order of venues, then by id."""
    venue, pool_id = key
    return VENUES.index(venue) if venue in VENUES else len(VENUES), venue, pool_id


def name_broken(broken: Iterable[BrokenPool]) -> list[LeftOut]:
    """One entry per venue that names its broken pools, a few of them where they are many."""
    by_venue: dict[str, list[BrokenPool]] = {}
    for one in sorted(broken, key=lambda b: pool_order((b.pool.venue, b.pool.pool_id))):
        by_venue.setdefault(one.pool.venue, []).append(one)
    named = []
    for venue, ones in by_venue.items():
        said = [f"Pool {one.pool.pool_id}: {one.why}" for one in ones[:_NAMED]]
        if len(ones) > _NAMED:
            said.append(f"{len(ones) - _NAMED} more pools.")
        named.append(LeftOut(venue, " ".join(said)))
    return named


def _why(error: Exception) -> str:
    return error.message if isinstance(error, EngineError) else f"{type(error).__name__} in its mathematics."
