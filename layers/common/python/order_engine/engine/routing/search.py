"""Find the best route of at most ``MAX_LEGS`` swaps, and prove how much better any other can be.

Branch and bound. The routes fall into families by how many pools they use on each edge. A family whose bound (see
``bound``) does not exceed what is already found is closed; of the others the one with the greatest bound is taken up,
and its bound lowered. Where the pools at the minimum fit the family, they are its best route, and it is closed too.
Otherwise it is divided in two: routes that use one of the pools in doubt, and those that do not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product

from order_engine.engine.routing.bound import Family, Minimum, minimum
from order_engine.engine.routing.divide import Plan, exact, improve
from order_engine.engine.routing.fee import NetworkFee
from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.network import Network

# A transaction may lock 64 accounts, and a swap of these venues names about 15: four legs fit, five may not.
MAX_LEGS = 4
_FAMILIES = 400  # that are looked at before the search ends with what it has
_FINALISTS = 3  # plans that are improved with exact quotes
_WIDTH = 16  # base units that the improvement of a plan begins with, where curves are exact
_CLOSE = 2e-8  # a family that promises less than this part more is closed
_HAIR = 1e-3
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
        self._closed = float("-inf")
        self._queue: list[tuple[float, int, Family]] = []
        self._count = 0

    def run(self) -> Found:
        for rooms in _shapes(self._network):
            free = tuple(edge if room else () for edge, room in zip(self._network.edges, rooms, strict=True))
            self._push(Family(rooms, tuple(() for _ in rooms), free))
        looked = 0
        while self._queue:
            bound, _, family = heapq.heappop(self._queue)
            bound = -bound
            if bound <= self._enough() or looked >= _FAMILIES:
                self._closed = max(self._closed, bound)
                break
            looked += 1
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

    def _enough(self) -> float:
        return self._best + max(abs(self._best) * _CLOSE, 1.0)

    def _push(self, family: Family) -> None:
        self._count += 1
        heapq.heappush(self._queue, (-family.bound, self._count, family))

    def _look(self, family: Family) -> None:
        least = minimum(self._network, family, self._leg, self._enough())
        family.bound = min(family.bound, least.bound)
        family.price, family.middles = least.price, least.middles
        if least.fell:
            self._closed = max(self._closed, family.bound)
            return
        if least.short:
            # What the floats call short by a hair may be rounding of the pools' ends: try it.
            self._try(least)
            self._closed = max(self._closed, family.bound if least.short < _HAIR else float("-inf"))
            return
        used = frozenset().union(*least.choices)
        if self._fits(family, used):
            if len(least.choices) == 1:
                self._try(least)
                self._closed = max(self._closed, family.bound)
                return
            # The minimum lies between two choices: it is the value of both together but for their fees.
            self._settle(family, used)
        for choice in least.choices:
            self._settle(family, choice)
        if family.bound <= self._enough():
            self._closed = max(self._closed, family.bound)
            return
        for child in _divided(family, _doubtful(family, least)):
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
        one = Family(rooms, edges, tuple(() for _ in edges), price=family.price, middles=list(family.middles))
        least = minimum(self._network, one, self._leg, self._best)
        if not least.fell:
            self._try(least)

    def _try(self, least: Minimum) -> None:
        plan = exact(self._network, least.flows)
        if plan is None or not plan.amounts:
            return
        self._keep(plan)

    def _keep(self, plan: Plan) -> None:
        key = frozenset(plan.amounts)
        before = self._found.plans.get(key)
        if before is None or plan.amount_out > before.amount_out:
            self._found.plans[key] = plan
        net = plan.amount_out - self._fee.in_output(len(plan.amounts)) + self._base
        self._best = max(self._best, net)


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
