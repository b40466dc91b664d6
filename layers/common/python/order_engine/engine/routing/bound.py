"""How much a family of routes can give at most, and which of them comes close.

Give the order's token a price (output per base unit, called the price here) and each intermediate token one too. Let
every pool take whatever is best for it at these prices. Then, whatever the prices are,

    amount * price + sum of the profits of the pools that take part

is at least what any route gives: a route that sends x through a pool earns no more there than the pool's profit, its
inputs of the order's token add up to the amount, and of an intermediate token as much goes out as came in. Per edge
only as many pools count as the family allows, those with the largest profit less the fee of a leg. This is the
Lagrangian dual of the division: convex in the price, and in each intermediate price at a given price. At its minimum
the pools take just the order where each of them is concave; then the bound is the value of a route, and no other route
of the family is better. It needs nothing of the pools but curves that are not below their quotes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, sqrt

from order_engine.engine.routing.descent import Descent
from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.network import Network, Via

_NEAR = 1e-11  # how far above its minimum a function may stay, as a part of the order's output
_BEYOND = 1 + 1e-9  # by what the ends of a search lie beyond the last price at which something is traded
_NEAR_TAKEN = 1e-4  # the part of an intermediate token that a mixture of two choices may seem to leave
_UNITS = 1_000  # base units that rounding may let more pools take
_WEIGHT = 1e-7  # a side of a kink that counts for less than this is not part of the minimum


@dataclass(slots=True)
class Family:
    """Routes with at most so many pools per edge, some of them fixed and some ruled out.

    Attributes:
        rooms: how many pools each edge may use, the fixed ones included.
        fixed: ladders of each edge that take part and pay for a leg.
        free: ladders of each edge that may take part, the one that starts at the highest price first.
        bound: no route of it gives more, network fee per leg deducted.
        price: where the bound was found, and ``middles`` the prices of the intermediate tokens there, by the edge into
            each.
    """

    rooms: tuple[int, ...]
    fixed: tuple[tuple[Ladder, ...], ...]
    free: tuple[tuple[Ladder, ...], ...]
    bound: float = inf
    price: float = 0.0
    middles: dict[int, float] = field(default_factory=dict)


class _Side:
    """What one edge does at a price."""

    __slots__ = ("gives", "growth", "picks", "takes", "value")

    def __init__(self) -> None:
        self.value = self.takes = self.gives = self.growth = 0.0
        # The pools that take part and what each takes.
        self.picks: list[tuple[Ladder, float]] = []


class _Point:
    """A convex function at one price.

    Attributes:
        slope: the subgradient: for the order's token the amount less what the pools take, for an intermediate token
            what arrives less what is taken.
        growth: how fast the slope falls as one over the root of the price rises; 0 where it does not.
        flows: per part of the network a mixture (weight, picks) of the best choices at this price: what the pools
            take in the mean has this slope.
        takes: of the order's token, by a path.
        follows: how fast that rises as one over the root of the order's price does.
        middles: the prices of intermediate tokens.
    """

    __slots__ = ("flows", "follows", "growth", "middles", "slope", "takes", "value", "where")

    def __init__(self, where: float, value: float, slope: float, growth: float) -> None:
        self.where = where
        self.value = value
        self.slope = slope
        self.growth = growth
        self.takes = 0.0
        self.flows: list[list[tuple[float, list[tuple[Ladder, float]]]]] = []
        self.middles: dict[int, float] = {}
        self.follows = 0.0


@dataclass(slots=True)
class Minimum:
    """The least bound that was found, and what the pools do there.

    Attributes:
        bound: base units of output, less the fee of each leg.
        flows: what each ladder takes; together the amount of the order, where the minimum was reached.
        choices: the sets of ladders on the sides of the minimum: one where it is the value of a route.
        fell: the search ended early since the bound was low enough.
        short: the part of the order that the pools cannot take at any price.
        wasted: an intermediate token arrives of which the pools cannot take all at any price, so that no route may
            reach the bound.
    """

    bound: float
    price: float
    middles: dict[int, float]
    flows: dict[Ladder, float]
    choices: list[frozenset[Ladder]]
    fell: bool
    short: float = 0.0
    wasted: bool = False


def minimum(network: Network, family: Family, fee: float, enough: float) -> Minimum:
    """Lower the bound of a family as far as it goes, or until it is at most ``enough``.

    Args:
        fee: of one leg, base units of output.
    """
    relaxation = _Relaxation(network, family, fee)
    top = relaxation.top()
    if top <= 0 or relaxation.impossible():
        return Minimum(-inf, 0.0, {}, {}, [], fell=True)
    start = min(family.price, top * (1 - 1e-12)) if family.price else top * 0.99
    search = Descent(relaxation.at, 0.0, top, start)
    search.run(enough, network.amount * top * _NEAR)
    best = search.best
    mixed = _mixture(search)
    flows: dict[Ladder, float] = {}
    for part, point in mixed:
        for mixture in point.flows:
            for weight, picks in mixture:
                for ladder, takes in picks:
                    flows[ladder] = flows.get(ladder, 0.0) + part * weight * takes
    choices: dict[frozenset[Ladder], None] = {}
    for _, point in mixed:
        for side in (0, -1):
            choices[frozenset(ladder for mixture in point.flows for ladder, _ in mixture[side][1])] = None
    short = max(0.0, best.slope) / network.amount if search.below is None else 0.0
    wasted = any(_surplus(network, via, flows) > _NEAR_TAKEN for via in network.vias)
    return Minimum(best.value, best.where, best.middles, flows, list(choices), best.value <= enough, short, wasted)


def _surplus(network: Network, via: Via, flows: dict[Ladder, float]) -> float:
    """The part of what arrives of an intermediate token that is not taken."""
    arrives = sum(ladder.gives(flows[ladder]) for ladder in network.edges[via.first] if ladder in flows)
    takes = sum(flows[ladder] for ladder in network.edges[via.second] if ladder in flows)
    return (arrives - takes) / arrives if arrives > 0 else 0.0


def overflows(network: Network, family: Family) -> bool:
    """Whether all that the order buys of an intermediate token cannot be sold again by any route of a family.

    Where one path is all that there is, the whole order goes into it. Concave pools give least per unit where they
    take most, so that much arrives at least.
    """
    used = [edge for edge, room in enumerate(family.rooms) if room]
    via = next((via for via in network.vias if used == [via.first, via.second]), None)
    if via is None:
        return False
    amount = float(network.amount)
    worst = inf
    for ladder in (*family.fixed[via.first], *family.free[via.first]):
        if not ladder.concave:
            return False
        most = min(amount, ladder.capacity())
        worst = min(worst, ladder.gives(most) / most if most else inf)
    sold = _largest(family, via.second, Ladder.capacity)
    return amount * worst * (1 - _WEIGHT) > sold * (1 + _WEIGHT) + _UNITS


def capacity(network: Network, family: Family) -> float:
    """No route of a family takes more than this of the order's token, base units.

    Pools round up what drains them, bin by bin, so that they may take some units more than their curves.
    """
    total = _largest(family, 0, Ladder.capacity) + _UNITS
    for via in network.vias:
        sold = _largest(family, via.second, Ladder.capacity) * (1 + _WEIGHT) + _UNITS
        # Each of the pools into the token by itself gives no more than can be sold of it.
        total += _largest(family, via.first, lambda ladder, sold=sold: ladder.takes_for(sold))  # type: ignore[misc]
    return total


def _largest(family: Family, edge: int, of: Callable[[Ladder], float]) -> float:
    """The sum over the fixed pools of an edge and the best free ones."""
    found = [of(ladder) for ladder in family.fixed[edge]]
    found += sorted(map(of, family.free[edge]), reverse=True)
    return sum(found[: family.rooms[edge]])


class _Relaxation:
    """The dual function of one family."""

    def __init__(self, network: Network, family: Family, fee: float) -> None:
        self._amount = float(network.amount)
        self._rooms = family.rooms
        self._fixed = family.fixed
        self._free = family.free
        self._fee = fee
        self._exclusive = network.exclusive
        self._tops = [
            max((ladder.top for ladder in (*fixed, *free[:1])), default=0.0)
            for fixed, free in zip(family.fixed, family.free, strict=True)
        ]
        self._vias = [via for via in network.vias if self._tops[via.first] and self._tops[via.second]]
        self._middles = dict(family.middles)

    def top(self) -> float:
        """The price above which no pool takes anything."""
        tops = self._tops
        paths = (tops[v.first] * tops[v.second] for v in self._vias)
        return max([tops[0], *paths]) * _BEYOND

    def impossible(self) -> bool:
        """Whether a fixed pool of a path has none to go on with."""
        vias = {edge for via in self._vias for edge in (via.first, via.second)}
        return any(fixed for edge, fixed in enumerate(self._fixed) if edge and edge not in vias)

    def at(self, price: float) -> _Point:
        """The bound at a price of the order's token, each intermediate token at its best price for that."""
        root = 1 / sqrt(price)
        point = _Point(price, price * self._amount, self._amount, 0.0)
        parts: list[tuple[_Point, bool]] = []
        if self._tops[0]:
            side = self._edge(0, price, root, 1.0)
            direct = _Point(price, side.value, 0.0, side.growth)
            direct.takes = side.takes
            direct.flows.append([(1.0, side.picks)])
            parts.append((direct, bool(self._fixed[0])))
        for via in self._vias:
            path = self._path(via, price, root)
            parts.append((path, bool(self._fixed[via.first] or self._fixed[via.second])))
            point.middles[via.first] = path.where
        # What does not earn the fee of its legs is left out, but not everything can be.
        taken = [part for part, fixed in parts if fixed or part.value > 0]
        for part in taken or [max((part for part, _ in parts), key=lambda part: part.value)]:
            point.value += part.value
            point.slope -= part.takes
            point.growth += part.growth
            point.flows += part.flows
        return point

    def _path(self, via: Via, price: float, root: float) -> _Point:
        """The path through one intermediate token, at the price of that token at which it is in balance.

        A pool at least takes part on either edge. ``takes`` is of the order's token; ``growth`` is how fast that rises
        as one over the root of the price does.
        """
        low, high = price / self._tops[via.first] / _BEYOND, self._tops[via.second] * _BEYOND

        def at(middle: float) -> _Point:
            inner_root = 1 / sqrt(middle)
            one = self._edge(via.first, price / middle, root / inner_root, middle)
            two = self._edge(via.second, middle, inner_root, 1.0)
            arrives = one.growth / root
            growth = arrives + two.growth
            point = _Point(middle, one.value + two.value, one.gives - two.takes, growth)
            point.takes = one.takes
            point.flows.append([(1.0, one.picks + two.picks)])
            # By the implicit function: how the order's token follows its own price, this one kept in balance.
            follows = one.growth * inner_root / (root * root) / growth if growth else 0.0
            point.follows = one.growth / inner_root * (1 - root / inner_root * follows)
            return point

        if low >= high:
            # Nothing is traded at such a price.
            return at(sqrt(low) * sqrt(high))
        start = self._middles.get(via.first, 0.0)
        if not low < start < high:
            start = sqrt(low) * sqrt(high) if low > high / 4 else high / 2
        search = Descent(at, low, high, start)
        search.run(-inf, self._amount * price * _NEAR / 16)
        best = search.best
        self._middles[via.first] = best.where
        result = _Point(best.where, best.value, 0.0, best.follows)
        mixed = _mixture(search)
        result.takes = sum(part * point.takes for part, point in mixed)
        result.flows.append([(part, point.flows[0][0][1]) for part, point in mixed])
        return result

    def _edge(self, edge: int, price: float, root: float, scale: float) -> _Side:
        """The best pools of an edge at a price, one at least; ``scale`` turns profits into base units of output."""
        side = _Side()
        fee = self._fee
        for ladder in self._fixed[edge]:
            profit, takes, gives, growth = ladder.at(price, root)
            side.value += profit * scale - fee
            side.takes += takes
            side.gives += gives
            side.growth += growth
            side.picks.append((ladder, takes))
        room = self._rooms[edge] - len(side.picks)
        if room <= 0:
            return side
        found: list[_Found] = []
        for ladder in self._free[edge]:
            if ladder.top <= price and (side.picks or (found and found[0][0] <= fee)):
                # Neither this one nor those behind it trade at such a price: each would cost its leg at least.
                break
            profit, takes, gives, growth = ladder.at(price, root)
            loss = fee - profit * scale
            if loss < 0 or not (found or side.picks):
                found.append((loss, ladder.number, takes, gives, growth, ladder))
            elif not side.picks and loss < found[0][0]:
                # As long as none earns its fee the one that loses least is kept.
                found[0] = (loss, ladder.number, takes, gives, growth, ladder)
        if len(found) > 1:
            found = self._best(found, room)
        for loss, _, takes, gives, growth, ladder in found:
            side.value -= loss
            side.takes += takes
            side.gives += gives
            side.growth += growth
            side.picks.append((ladder, takes))
        return side

    def _best(self, found: list[_Found], room: int) -> list[_Found]:
        """Of several pools those that lose least, as many as have room; the first may be one that earns nothing."""
        if found[0][0] >= 0:
            del found[0]
        if len(found) > room or (self._exclusive and len(found) > 1):
            found.sort()
            if self._exclusive:
                found = _one_each(found)
            del found[room:]
        return found


type _Found = tuple[float, int, float, float, float, Ladder]


def _one_each(found: list[_Found]) -> list[_Found]:
    """The best ladder of every pool."""
    kept: dict[int, _Found] = {}
    for one in found:
        kept.setdefault(one[5].channel, one)
    return list(kept.values())


def _mixture(search: Descent[_Point]) -> list[tuple[float, _Point]]:
    """The points between which the slope is zero, with their weights."""
    below, above = search.below, search.above
    if below is None or above is None or below is above:
        return [(1.0, search.best)]
    share = above.slope / (above.slope - below.slope)
    parts = [(share, below), (1 - share, above)]
    return [(part, point) for part, point in parts if part > _WEIGHT]
