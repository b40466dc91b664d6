"""Turn a division in real numbers into legs of whole base units, with the pools' exact quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.network import Network

_PASSES = 8  # over all pairs of legs, with moves of one size


@dataclass(frozen=True, slots=True)
class Plan:
    """A division of the order.

    Attributes:
        amounts: base units into each channel, by its place. Those of an intermediate token add up to what arrives.
        amount_out: base units.
    """

    amounts: dict[int, int]
    amount_out: int


def exact(network: Network, flows: Mapping[Ladder, float]) -> Plan | None:
    """The plan nearest to real-valued flows; None where the pools do not fill it.

    Every leg is rounded down, and what is left goes to the leg that takes most.
    """
    wanted: dict[int, float] = {}
    for ladder, takes in flows.items():
        if takes > 0:
            wanted[ladder.channel] = wanted.get(ladder.channel, 0.0) + takes
    edges = [[c for c in dict.fromkeys(ladder.channel for ladder in edge) if c in wanted] for edge in network.edges]
    source = list(edges[0])
    for via in network.vias:
        if edges[via.first] and edges[via.second]:
            source += edges[via.first]
    amounts = _spread(network, source, wanted, network.amount)
    if amounts is None:
        return None
    out = sum(network.channels[c].quote(amounts[c]) for c in edges[0] if c in amounts)
    for via in network.vias:
        middle = sum(network.channels[c].quote(amounts[c]) for c in edges[via.first] if c in amounts)
        if not middle:
            continue
        second = _spread(network, edges[via.second], wanted, middle)
        if second is None:
            return None
        amounts |= second
        out += sum(network.channels[c].quote(x) for c, x in second.items())
    return Plan(amounts, out)


def _spread(network: Network, places: Sequence[int], wanted: Mapping[int, float], total: int) -> dict[int, int] | None:
    """Whole amounts in proportion that add up to a total and that every pool fills; None where there are none."""
    channels = network.channels
    left = list(places)
    capped: dict[int, int] = {}
    for _ in range(2 * len(places) + 1):
        rest = total - sum(capped.values())
        weight = sum(wanted[c] for c in left)
        if rest == 0:
            return {c: x for c, x in capped.items() if x}
        if not left or weight <= 0:
            return None
        amounts = {c: min(rest, int(rest * (wanted[c] / weight))) for c in left}
        largest = max(left, key=lambda c: (amounts[c], -c))
        amounts[largest] += rest - sum(amounts.values())
        bad = [c for c in left if amounts[c] and not channels[c].quote(amounts[c])]
        if not bad:
            return {c: x for c, x in (capped | amounts).items() if x}
        for c in bad:
            # Dust gives nothing; what is above a pool's end is refused.
            capped[c] = channels[c].most(amounts[c])
            left.remove(c)
    return None


def improve(network: Network, plan: Plan, width: int) -> Plan:
    """Move base units between the legs of a plan as long as the exact quotes give more for it.

    Args:
        width: base units that the first moves are worth; then always a quarter of that.
    """
    climb = _Climb(network, plan)
    while width:
        for _ in range(_PASSES):
            if not climb.climb(width):
                break
        width //= 4
    return climb.plan()


class _Climb:
    """A plan that is being improved. The last leg of a path takes what the others of its edge leave."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self._network = network
        self._quotes = [channel.quote for channel in network.channels]
        self._amounts = dict(plan.amounts)
        self._out = plan.amount_out
        used = [[c for c in dict.fromkeys(x.channel for x in edge) if c in plan.amounts] for edge in network.edges]
        self._direct = used[0]
        self._paths = [(used[via.first], used[via.second]) for via in network.vias if used[via.first]]
        source = self._direct + [c for first, _ in self._paths for c in first]
        self._groups = [source] + [second for _, second in self._paths]

    def plan(self) -> Plan:
        amounts = {place: amount for place, amount in sorted(self._amounts.items()) if amount}
        return Plan(amounts, self._out)

    def climb(self, width: int) -> bool:
        """Try every move of so many base units, and repeat those that help. Whether any did."""
        before = self._out
        for group in self._groups:
            for giver, taker in permutations(group, 2):
                step = min(width, self._amounts[giver])
                while step and self._move(giver, taker, step):
                    step = min(2 * step, self._amounts[giver])
        return self._out > before

    def _move(self, giver: int, taker: int, step: int) -> bool:
        amounts = dict(self._amounts)
        amounts[giver] -= step
        amounts[taker] += step
        out = self._total(amounts)
        if out <= self._out:
            return False
        self._amounts, self._out = amounts, out
        return True

    def _total(self, amounts: dict[int, int]) -> int:
        """What amounts give, those behind an intermediate token set to what arrives there; -1 where it cannot be."""
        quotes = self._quotes
        total = 0
        for place in self._direct:
            amount = amounts[place]
            gives = quotes[place](amount)
            if amount and not gives:
                return -1
            total += gives
        for first, second in self._paths:
            arrives = 0
            for place in first:
                amount = amounts[place]
                gives = quotes[place](amount)
                if amount and not gives:
                    return -1
                arrives += gives
            last = max(second, key=amounts.__getitem__)
            amounts[last] += arrives - sum(amounts[place] for place in second)
            if amounts[last] < 0:
                return -1
            for place in second:
                amount = amounts[place]
                gives = quotes[place](amount)
                if amount and not gives:
                    return -1
                total += gives
        return total
