"""Find the best route of at most ``MAX_LEGS`` swaps, and prove how much better any other can be.

Branch and bound. The routes fall into families by how many pools they use on each edge. A family whose bound (see
``bound``) does not exceed what is already found is closed; of the others the one with the greatest bound is taken up,
and its bound lowered. Where the pools at the minimum fit the family, they are its best route, and it is closed too.
Otherwise it is divided in two: routes that use one of the pools in doubt, and those that do not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import isfinite

from order_engine.engine.routing.arrivals import choose_arrivals
from order_engine.engine.routing.bound import Family, Minimum, capacity, minimum, overflows
from order_engine.engine.routing.divide import Plan, exact
from order_engine.engine.routing.fee import NetworkFee
from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.narrow import beside, narrow
from order_engine.engine.routing.network import Network
from order_engine.engine.routing.units import improve, improve_widely, with_another

# A transaction may lock 64 accounts, and a swap of these venues names about 15: four legs fit, five may not.
MAX_LEGS = 4
# Pools in the families that are looked at, before the search ends with what it has: some hundreds of families for as
# many pools as a pair has.
_EFFORT = 6_000
_FINALISTS = 3  # plans that are improved with exact quotes
_WIDTH = 16  # base units that the improvement of a plan begins with, where curves are exact
# Where whole base units lose more than this part, and more than so many, amounts further around are tried for so many
# sets of pools, and routes that are worse in real numbers are looked at in so many families.
_COARSE = 5e-7
_COARSE_UNITS = 4
_WIDE = 6
_ROUNDINGS = 24
_REMAINDERS = 8  # of such plans that are looked at with one pool more, and of what comes of that
_ARRANGED = 6  # plans whose units of an intermediate token are chosen anew, where these are few
_CLOSE = 2e-8  # a family that promises less than this part more is closed
_HAIR = 1e-3  # the part of an order that pools may seem not to take at any price by the rounding of their ends
_FLOAT = 1e-12  # what the floats of a bound may be wrong by, as a part of it


@dataclass(slots=True)
class Found:
    """What a search has found.

    Attributes:
        plans: divisions by their set of channels.
        bound: no route gives more, less the network fee; base units of output.
    """

    plans: dict[frozenset[int], Plan] = field(default_factory=dict)
    bound: float = 0.0


def search(network: Network, fee: NetworkFee, known: int | None) -> Found:
    """Divide the order as well as it can be divided.

    Args:
        known: net output of the best route that is known already, base units; None where there is none.
    """
    return _Search(network, fee, known).run()


class _Search:
    def __init__(self, network: Network, fee: NetworkFee, known: int | None) -> None:
        self._network = network
        self._fee = fee
        self._leg = float(fee.per_leg * fee.rate)
        # The fee of the signature, which every route pays.
        self._base = float(fee.lamports(0) * fee.rate)
        self._best = float("-inf") if known is None else known + self._base
        self._found = Found()
        self._tried: set[frozenset[Ladder]] = set()
        self._divided: set[frozenset[Ladder]] = set()
        self._closed = float("-inf")
        self._queue: list[tuple[float, int, Family]] = []
        self._count = 0
        self._coarse = 0
        self._wide = 0
        self._rounded: dict[frozenset[int], tuple[Plan, Minimum]] = {}

    def run(self) -> Found:
        middles: dict[int, float] = {}
        price = 0.0
        for rooms in _shapes(self._network):
            free = tuple(edge if room else () for edge, room in zip(self._network.edges, rooms, strict=True))
            family = Family(rooms, tuple(() for _ in rooms), free)
            if len(middles) == len(self._network.vias) and price:
                # All tokens have a price by now: that bounds the others.
                self._narrow(family, price, middles)
                self._push(family)
                continue
            self._look(family)
            price, middles = family.price, middles | family.middles
        effort = 0
        while self._queue:
            bound, _, family = heapq.heappop(self._queue)
            bound = -bound
            if bound <= self._enough() or effort >= _EFFORT:
                self._close(bound)
                break
            effort += sum(map(len, (*family.fixed, *family.free)))
            self._look(family)
        self._finish()
        self._found.bound = max(self._closed, self._best) * (1 + _FLOAT) - self._base
        return self._found

    def _finish(self) -> None:
        """Improve the best divisions with exact quotes."""
        width = self._network.amount // 8 if self._network.sampled else _WIDTH
        plans = self._found.plans
        best = sorted(plans, key=lambda key: (self._fee.in_output(len(key)) - plans[key].amount_out, sorted(key)))
        for key in best[:_FINALISTS]:
            plan = improve(self._network, plans.pop(key), min(width, self._network.amount // 8))
            self._keep(plan)
        self._hand_on()

    def _hand_on(self) -> None:
        """Let other pools take a leg or the last units of it, where whole base units still lose much."""
        best_first = sorted(self._rounded.values(), key=lambda one: (-one[1].bound, sorted(one[0].amounts)))
        found: dict[frozenset[int], tuple[float, Plan, Minimum]] = {}
        for plan, least in best_first[:_REMAINDERS]:
            possible = min(least.bound, self._closed) - self._best
            if possible <= self._room():
                break
            # As many legs more as what is possible pays for.
            room = sum(
                possible - legs * self._leg > self._room() for legs in range(1, 1 + MAX_LEGS - len(plan.amounts))
            )
            for other in with_another(self._network, plan, least.price, self._middles(least), room=room):
                key, net = frozenset(other.amounts), self._net(other)
                # What is further behind than the best can be ahead is a worse pool rather than worse rounded.
                if net > self._best - possible and (key not in found or net > found[key][0]):
                    found[key] = net, other, least
        for _, plan, least in sorted(found.values(), key=lambda one: -one[0])[:_REMAINDERS]:
            self._keep(improve_widely(self._network, plan, (), least.price, self._middles(least), _WIDTH))
        self._arrange()

    def _arrange(self) -> None:
        """Choose how many units of an intermediate token arrive, where these are few."""
        plans = sorted(self._found.plans.values(), key=lambda plan: (-self._net(plan), sorted(plan.amounts)))
        for plan in plans[:_ARRANGED]:
            possible = self._closed - self._best
            if possible <= self._room() or self._net(plan) < self._best - possible:
                break
            least = self._least_of(plan)
            possible = min(possible, least.bound - self._net(plan))
            if possible > self._room():
                arranged = choose_arrivals(self._network, plan, least.price, least.middles, possible, self._room())
                self._keep(improve(self._network, arranged, _WIDTH))

    def _least_of(self, plan: Plan) -> Minimum:
        """The bound of a plan's own pools."""
        edges = self._network.edges
        used = [tuple(ladder for ladder in edge if ladder.channel in plan.amounts) for edge in edges]
        # Of a pool with several curves a route uses one, whichever is the best.
        channels = [[ladder.channel for ladder in edge] for edge in used]
        fixed = tuple(
            tuple(ladder for ladder in edge if own.count(ladder.channel) == 1)
            for edge, own in zip(used, channels, strict=True)
        )
        free = tuple(
            tuple(ladder for ladder in edge if own.count(ladder.channel) > 1)
            for edge, own in zip(used, channels, strict=True)
        )
        family = Family(tuple(len(set(own)) for own in channels), fixed, free)
        return minimum(self._network, family, self._leg, float("-inf"))

    def _net(self, plan: Plan) -> float:
        """What a plan gives less the fee of its legs."""
        return plan.amount_out - self._fee.in_output(len(plan.amounts)) + self._base

    def _room(self) -> float:
        """How much more has to be possible for whole base units to be looked at closer."""
        return max(abs(self._best) * _COARSE, _COARSE_UNITS) if isfinite(self._best) else _COARSE_UNITS

    def _enough(self) -> float:
        # As long as nothing fills the order, every route would be better.
        return self._best + max(abs(self._best) * _CLOSE, 1.0) if isfinite(self._best) else self._best

    def _close(self, bound: float) -> None:
        self._closed = max(self._closed, bound)

    def _push(self, family: Family) -> None:
        self._count += 1
        heapq.heappush(self._queue, (-family.bound, self._count, family))

    def _look(self, family: Family) -> None:
        least = minimum(self._network, family, self._leg, self._enough())
        family.bound = min(family.bound, least.bound)
        family.price, family.middles = least.price, least.middles
        if least.fell:
            self._close(family.bound)
            return
        if least.short >= _HAIR:
            self._stretch(family, least)
            return
        used = frozenset().union(*least.choices)
        if least.wasted and overflows(self._network, family):
            return
        if self._fits(family, used):
            fixed = sum(map(len, family.fixed))
            if len(least.choices) == 1 and (not least.wasted or fixed == len(used)):
                self._try(least)
                self._conclude(family, used, least)
                return
            # The minimum lies between two choices: it is the value of both together but for their fees.
            self._settle(family, used)
        for choice in least.choices:
            self._settle(family, choice)
        if family.bound <= self._enough():
            self._close(family.bound)
            return
        doubtful = _doubtful(family, least)
        self._narrow(family, least.price, least.middles)
        if any(doubtful in free for free in family.free):
            for child in _divided(family, doubtful):
                self._push(child)
        else:
            self._push(family)

    def _narrow(self, family: Family, price: float, middles: Mapping[int, float]) -> None:
        self._close(narrow(self._network, family, self._leg, self._enough(), price, middles))

    def _conclude(self, family: Family, used: frozenset[Ladder], least: Minimum) -> None:
        """Close a family whose best route in real numbers is known, unless whole base units are far from it.

        Then its other routes are families of their own: one by one without a pool of this route, and with all of them
        and another one.
        """
        if family.bound <= self._best + self._room() or self._coarse >= _ROUNDINGS:
            self._close(family.bound)
            return
        self._coarse += 1
        if len(used) > 2 or len(used.intersection(self._network.edges[0])) == 2:
            # How whole base units divide best over several pools is not known exactly; what one way gives is.
            self._close(family.bound)
        rest = family
        for ladder in [ladder for edge in family.free for ladder in edge if ladder in used]:
            rest, without = _divided(rest, ladder)
            self._push(without)
        # What another pool would earn at these prices less than its leg costs is missing from every route with it.
        self._close(beside(self._network, rest, self._leg, self._enough(), least.price, least.middles))
        for edge, room in enumerate(family.rooms):
            for ladder in rest.free[edge]:
                if len(rest.fixed[edge]) < room:
                    with_it, rest = _divided(rest, ladder)
                    self._push(with_it)

    def _stretch(self, family: Family, least: Minimum) -> None:
        """Look at a family whose most profitable pools cannot take the whole order: others may."""
        if capacity(self._network, family) < self._network.amount * (1 - _HAIR):
            return
        free = [ladder for edge in family.free for ladder in edge]
        if not free:
            # They can take it, though not at prices: where more arrives of an intermediate token than can go on, only
            # if some of the order buys less of it than it might.
            self._try(least)
            self._close(family.bound)
            return
        largest = [ladder for edge in family.fixed for ladder in edge]
        for fixed, edge, room in zip(family.fixed, family.free, family.rooms, strict=True):
            ranked = sorted(edge, key=lambda ladder: (-ladder.capacity(), ladder.number))
            largest += ranked[: room - len(fixed)]
        self._settle(family, frozenset(largest))
        for child in _divided(family, max(free, key=lambda ladder: (ladder.capacity(), -ladder.number))):
            self._push(child)

    def _fits(self, family: Family, used: frozenset[Ladder]) -> bool:
        """Whether these pools are a route of the family."""
        for edge, room in zip(self._network.edges, family.rooms, strict=True):
            channels = [ladder.channel for ladder in edge if ladder in used]
            if len(channels) > room or len(set(channels)) < len(channels):
                return False
        return True

    def _settle(self, family: Family, choice: frozenset[Ladder]) -> None:
        """Divide over one set of pools."""
        if choice in self._tried or not choice:
            return
        self._tried.add(choice)
        edges = tuple(tuple(ladder for ladder in edge if ladder in choice) for edge in self._network.edges)
        rooms = tuple(len(edge) for edge in edges)
        if sum(rooms) > MAX_LEGS:
            return
        one = Family(rooms, edges, tuple(() for _ in edges), price=family.price, middles=family.middles)
        least = minimum(self._network, one, self._leg, self._best)
        if not least.fell:
            self._try(least)

    def _try(self, least: Minimum) -> None:
        """Divide the order in whole base units as the minimum does, once for each set of pools."""
        key = frozenset(least.flows)
        if key in self._divided:
            return
        plan = exact(self._network, least.flows)
        if plan is None or not plan.amounts:
            return
        self._divided.add(key)
        if self._worth(plan, least) and not self._network.sampled:
            plan = improve(self._network, plan, _WIDTH)
            if self._worth(plan, least) and self._wide < _WIDE:
                self._wide += 1
                places = [ladder.channel for ladder in least.flows]
                plan = improve_widely(self._network, plan, places, least.price, self._middles(least), _WIDTH)
            if self._worth(plan, least):
                self._rounded.setdefault(frozenset(plan.amounts), (plan, least))
        self._keep(plan)

    def _worth(self, plan: Plan, least: Minimum) -> bool:
        """Whether whole base units cost a plan so much that a better one of its kind may be the best."""
        return min(least.bound - self._net(plan), least.bound - self._best) > self._room()

    def _middles(self, least: Minimum) -> dict[int, float]:
        """The price of an intermediate token, by the channels that give or take it."""
        prices: dict[int, float] = {}
        for via in self._network.vias:
            for edge in (via.first, via.second):
                channels = (ladder.channel for ladder in self._network.edges[edge])
                prices |= dict.fromkeys(channels, least.middles.get(via.first, 0.0))
        return prices

    def _keep(self, plan: Plan) -> None:
        key = frozenset(plan.amounts)
        before = self._found.plans.get(key)
        if before is None or plan.amount_out > before.amount_out:
            self._found.plans[key] = plan
        self._best = max(self._best, self._net(plan))


def _shapes(network: Network) -> Iterable[tuple[int, ...]]:
    """The largest numbers of pools per edge that make a route of at most ``MAX_LEGS``."""
    sizes = [len({ladder.channel for ladder in edge}) for edge in network.edges]
    per_via = [(0, 0), *((a, b) for a in range(1, MAX_LEGS) for b in range(1, MAX_LEGS) if a + b <= MAX_LEGS)]
    found: set[tuple[int, ...]] = set()
    for vias in product(per_via, repeat=len(network.vias)):
        used = sum(a + b for a, b in vias)
        if used > MAX_LEGS:
            continue
        rooms = (MAX_LEGS - used, *(count for pair in vias for count in pair))
        found.add(tuple(min(room, size) for room, size in zip(rooms, sizes, strict=True)))
    largest = [a for a in found if sum(a) and not any(a != b and _within(a, b) for b in found)]
    return sorted(largest, reverse=True)


def _within(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))


def _doubtful(family: Family, least: Minimum) -> Ladder:
    """The pool to decide on: of those that only some choices use, the one with the greatest part in the minimum."""
    fixed = {ladder for edge in family.fixed for ladder in edge}
    used = frozenset().union(*least.choices) - fixed
    doubtful = used - frozenset.intersection(*least.choices) or used
    return max(doubtful, key=lambda ladder: (least.flows.get(ladder, 0.0), -ladder.number))


def _divided(family: Family, ladder: Ladder) -> list[Family]:
    """The routes with a pool, and those without it."""
    edge = next(number for number, free in enumerate(family.free) if ladder in free)
    rest = tuple(other for other in family.free[edge] if other is not ladder)
    without = _with(family.free, edge, rest)
    fixed = _with(family.fixed, edge, (*family.fixed[edge], ladder))
    others = tuple(other for other in rest if other.channel != ladder.channel)
    if len(fixed[edge]) >= family.rooms[edge]:
        others = ()
    return [
        Family(family.rooms, fixed, _with(family.free, edge, others), family.bound, family.price, family.middles),
        Family(family.rooms, family.fixed, without, family.bound, family.price, family.middles),
    ]


def _with(
    edges: tuple[tuple[Ladder, ...], ...], number: int, ladders: tuple[Ladder, ...]
) -> tuple[tuple[Ladder, ...], ...]:
    return (*edges[:number], ladders, *edges[number + 1 :])
