"""Whole base units: give the last ones to the legs that make most of them.

A division in real numbers loses a little when it is made whole. Most often that is a unit or two. Where an order, or
what arrives of an intermediate token, is few units, single ones count: fees are rounded up, so that some amounts are
better than their neighbours, and outputs are stairs, so that the last units of an input may give nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise, permutations, product

from order_engine.engine.routing.divide import Plan
from order_engine.engine.routing.network import Network, Via

_PASSES = 8  # over all pairs of legs, with moves of one size
# Amounts around a leg's own that are looked at, ever further apart: a fee of 1 % is rounded anew every 100 units, one
# of 0.01 % every 10 000.
_STEPS = sorted({step * stride for stride in (1, 37, 601) for step in range(-48, 49)})
# Of an intermediate token of which there are few units.
_ARRIVALS_NEAR = sorted({*range(-256, 257), *_STEPS})
_KNOTS = 24  # from one of those whose input is looked for to the next
_FEW = 48  # and of the best of the others
_JUMPS = 3  # at most, each from where the last one led
_BROAD = 32  # the part of an order that the first moves after a jump are worth
_NEAR = 8  # the same where more than a unit goes in for one that comes out
_KEPT = {1: 64, 2: 24, 3: 6}  # amounts of a leg that are combined, by how many legs are
_ARRIVALS = 16  # sums of an intermediate token that are tried where several legs share few units of it
_SHARES = 6  # and amounts of each of these legs


def improve(network: Network, plan: Plan, width: int) -> Plan:
    """Move base units between the legs of a plan as long as the exact quotes give more for it.

    Args:
        width: base units that the first moves are worth; then always a quarter of that.
    """
    return _Climb(network, plan).widely(width)


def improve_widely(
    network: Network, plan: Plan, places: Iterable[int], price: float, middles: Mapping[int, float], width: int
) -> Plan:
    """Look for amounts on which little is lost, further around, and combine them.

    At the marginal price a leg's output less what its input is worth is nearly the same for all amounts around its own,
    but for what rounding takes. The amounts where that is least are tried together; one leg takes the rest.

    Args:
        places: of the channels that may take part, also those that the plan leaves out: one that is worth nothing in
            real numbers may be the best one to take a few units.
        price: the marginal price of the order's token, base units of output.
        middles: that of the intermediate token, by the channels that give or take it.
        width: as for ``improve``, at least.
    """
    whole = Plan(dict.fromkeys(places, 0) | plan.amounts, plan.amount_out)
    best = plan
    # Where a curve is nearly straight, what many units more or less are worth does not show in moves of a few.
    width = max(width, network.amount // _BROAD)
    for _ in range(_JUMPS):
        found = _Climb(network, whole).jump(price, middles).widely(width)
        if found.amount_out <= best.amount_out:
            break
        best = found
        whole = Plan(dict.fromkeys(places, 0) | found.amounts, found.amount_out)
    return best


def with_another(network: Network, plan: Plan, price: float, middles: Mapping[int, float], *, room: int) -> list[Plan]:
    """For every pool that a plan leaves out the best plan in which it takes what a leg takes, or the last units of it.

    Of an input that buys few units of an intermediate token the last units give nothing. What another pool makes of
    them is no matter of marginal prices, so every pool of the plan's edges, and every direct one, is asked.

    Args:
        price: as for ``improve_widely``, and ``middles`` too.
        room: how many legs more it may be. With two a path over a token that the plan does not use is asked too.
    """
    climb = _Climb(network, plan)
    edges = {0, *(network.channels[place].edge for place in plan.amounts)}
    others = [channel.place for channel in network.channels if channel.edge in edges]
    plans = [climb.beside(other, price, middles, more=room > 0) for other in others if other not in plan.amounts]
    if room > 1:
        plans += [climb.through(via, price, middles) for via in network.vias if via.first not in edges]
    return [plan for plan in plans if plan is not None]


def settled(network: Network, amounts: dict[int, int]) -> Plan | None:
    """The plan in which the largest leg behind each intermediate token takes what arrives; None where it cannot."""
    out = _Climb(network, Plan(amounts, -1)).total(amounts)
    return Plan({place: amount for place, amount in sorted(amounts.items()) if amount}, out) if out > 0 else None


class _Climb:
    """A plan that is being improved. The last leg of a path takes what the others of its edge leave."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self._network = network
        self._quotes = [channel.quote for channel in network.channels]
        self._amounts = dict(plan.amounts)
        self._out = plan.amount_out
        used = network.by_edge(plan.amounts)
        self._direct = used[0]
        self._paths = [(used[via.first], used[via.second]) for via in network.vias if used[via.first]]
        source = self._direct + [c for first, _ in self._paths for c in first]
        self._groups = [source] + [second for _, second in self._paths]
        self._near: dict[int, Sequence[int]] = {}

    def widely(self, width: int) -> Plan:
        """Climb with ever smaller moves."""
        while width:
            for _ in range(_PASSES):
                if not self.climb(width):
                    break
            width //= 4
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
        out = self.total(amounts)
        if out <= self._out:
            return False
        self._amounts, self._out = amounts, out
        return True

    def total(self, amounts: dict[int, int]) -> int:
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

    def beside(self, other: int, price: float, middles: Mapping[int, float], *, more: bool) -> Plan | None:
        """The best plan in which one more pool takes all of a leg or the end of it; None where there is none."""
        beside = _Climb(self._network, Plan(self._amounts | {other: 0}, -1))
        best: Plan | None = None
        for giver in next(group for group in beside._groups if other in group):
            if giver == other:
                continue
            own = self._amounts[giver]
            for keeps in (0, *(self._keeps(giver, price, middles) if more else ())):
                amounts = self._amounts | {giver: keeps, other: own - keeps}
                out = beside.total(amounts)
                if out > 0 and (best is None or out > best.amount_out):
                    best = Plan({place: amount for place, amount in amounts.items() if amount}, out)
        return best

    def through(self, via: Via, price: float, middles: Mapping[int, float]) -> Plan | None:
        """The best plan in which a path of its own takes the end of a leg; None where there is none."""
        channels = self._network.channels
        best: Plan | None = None
        for giver in self._groups[0]:
            for keeps in self._keeps(giver, price, middles):
                left = self._amounts[giver] - keeps
                middle, first = max((c.quote(left), -c.place) for c in channels if c.edge == via.first)
                out, second = max((c.quote(middle), -c.place) for c in channels if c.edge == via.second)
                if not out:
                    continue
                amounts = self._amounts | {giver: keeps, -first: left, -second: middle}
                climb = _Climb(self._network, Plan(amounts, -1))
                out = climb.total(amounts)
                if out > 0 and (best is None or out > best.amount_out):
                    best = Plan(amounts, out)
        return best

    def _keeps(self, giver: int, price: float, middles: Mapping[int, float]) -> Sequence[int]:
        """Less than a leg has, where little is lost."""
        if giver not in self._near:
            self._near[giver] = self._amounts_near(giver, self._amounts[giver], price, middles)[: _KEPT[1]]
        return self._near[giver]

    def jump(self, price: float, middles: Mapping[int, float]) -> _Climb:
        """Take the best combinations of amounts that lose little, edge by edge."""
        self._combine(self._groups[0], self._network.amount, price, middles)
        for first, second in self._paths:
            arrives = sum(self._amounts[place] for place in second)
            self._combine(second, arrives, middles[second[0]], middles)
            self._arrive(first, second, price, middles)
        return self

    def _arrive(self, first: Sequence[int], second: Sequence[int], price: float, middles: Mapping[int, float]) -> None:
        """Try other sums of an intermediate token where several legs behind it share few units of it.

        One leg brings such a sum by its least input, another of the order's legs takes the rest. Behind the token, one
        leg gets an amount on which it loses little, and the largest what is left.
        """
        if len(second) < 2:
            return
        middle = middles[second[0]]
        shares: list[tuple[int, int]] = []
        for brings in first:
            sums = self._sums(brings, price, middle)
            if sums and not shares:
                shares = self._shares(second, middle)
            for least in sums:
                for slack in self._groups[0]:
                    rest = self._amounts[slack] + self._amounts[brings] - least
                    if slack == brings or rest <= 0:
                        continue
                    before = self._amounts | {brings: least, slack: rest}
                    for place, share in shares:
                        amounts = before | {place: share}
                        out = self.total(amounts)
                        if out > self._out:
                            self._amounts, self._out = amounts, out

    def _shares(self, second: Sequence[int], middle: float) -> list[tuple[int, int]]:
        """Of each leg behind an intermediate token, the amounts on which it loses least."""
        found = []
        for place in second:
            quote = self._quotes[place]
            amounts = {self._amounts[place] + step for step in _STEPS}
            losses = [(middle * amount - quote(amount), amount) for amount in amounts if amount > 0]
            found += [(place, amount) for _, amount in sorted(losses)[:_SHARES]]
        return found

    def _sums(self, brings: int, price: float, middle: float) -> list[int]:
        """The inputs that bring few units of an intermediate token at the least loss; none where they are many."""
        own = self._amounts[brings]
        gives = self._quotes[brings](own) if own else 0
        stair = own // max(1, gives)
        if not gives or stair < 2:
            return []
        losses = []
        for step in _STEPS:
            if gives + step > 0:
                least = self._least(brings, own + step * stair, gives + step, stair)
                losses.append((price * least - middle * self._quotes[brings](least), least))
        return [least for _, least in sorted(losses)[:_ARRIVALS]]

    def _combine(self, group: Sequence[int], total: int, price: float, middles: Mapping[int, float]) -> None:
        """Let one leg of a group take what the amounts of the others leave."""
        if len(group) < 2:
            return
        found = {place: self._amounts_near(place, total, price, middles) for place in group}
        for slack in group:
            others = [place for place in group if place != slack]
            kept = _KEPT[len(others)]
            for combination in product(*(found[place][:kept] for place in others)):
                rest = total - sum(combination)
                if rest <= 0:
                    continue
                amounts = dict(self._amounts)
                amounts.update(zip(others, combination, strict=True))
                amounts[slack] = rest
                out = self.total(amounts)
                if out > self._out:
                    self._amounts, self._out = amounts, out

    def _amounts_near(self, place: int, total: int, price: float, middles: Mapping[int, float]) -> Sequence[int]:
        """Amounts around a leg's own, those first that lose least by rounding."""
        quote, own = self._quotes[place], self._amounts[place]
        out = quote(own)
        stair = max(1, own // max(1, out))
        path = next(((first, second) for first, second in self._paths if place in first), None)
        alone = path is not None and len(path[0]) == len(path[1]) == 1
        worth: dict[int, float] = {}
        if path is not None and alone and stair > 1:
            # What arrives in the middle is few units, and what becomes of them depends on how many they are.
            found = self._few(place, path[1][0], price, middles[place], stair)
            return [amount for amount in found if 0 < amount < total]
        for step in _STEPS if stair == 1 else range(-_NEAR, _NEAR + 1):
            amount = own + step * stair
            gives = quote(amount) if 0 < amount < total else 0
            if not gives:
                continue
            if stair > 1:
                amount = self._least(place, amount, gives, stair)
            if path is None:
                value = float(gives)
            elif alone:
                value = float(self._quotes[path[1][0]](gives))
            else:
                value = middles[place] * gives
            worth[amount] = value - price * amount
        return sorted(worth, key=lambda amount: (-worth[amount], amount))

    def _few(self, first: int, second: int, price: float, middle: float, stair: int) -> list[int]:
        """The inputs of a path that buy few units of an intermediate token, those first that lose least."""
        own = self._amounts[first]
        out, behind = self._quotes[first](own), self._quotes[second]
        arrivals = [out + step for step in _ARRIVALS_NEAR if out + step > 0]

        def least(arrives: int) -> int:
            return self._least(first, own + (arrives - out) * stair, arrives, stair)

        # The inputs are nearly on a line from one of these to the next.
        knots = [*arrivals[:-1:_KNOTS], arrivals[-1]]
        takes = [least(arrives) for arrives in knots]
        line: list[float] = []
        for (a, b), (x, y) in zip(pairwise(knots), pairwise(takes), strict=True):
            between = arrivals[bisect_left(arrivals, a) : bisect_left(arrivals, b)]
            line += [x + (y - x) / (b - a) * (arrives - a) for arrives in between]
        worth = sorted(
            (price * amount - behind(arrives), arrives) for amount, arrives in zip(line, arrivals, strict=False)
        )
        flat = sorted((middle * arrives - behind(arrives), arrives) for arrives in arrivals)
        best = [arrives for _, arrives in worth[:_FEW] + flat[:_FEW]]
        best += [arrives for arrives in arrivals if abs(arrives - out) <= _NEAR]
        inputs = {arrives: least(arrives) for arrives in best}
        exactly = sorted(inputs, key=lambda arrives: (price * inputs[arrives] - behind(arrives), arrives))
        # In turns: the first hold for curves, the second where these are flat and any number may be the best, the third
        # where those of the other legs are not.
        near = sorted(arrivals, key=lambda arrives: abs(arrives - out))[: len(exactly)]
        turns = chain.from_iterable(zip(exactly, (arrives for _, arrives in flat), near, strict=False))
        return list(dict.fromkeys(inputs[arrives] for arrives in turns if arrives in inputs))

    def _least(self, place: int, near: int, out: int, stair: int) -> int:
        """The least input that gives so much."""
        quote = self._quotes[place]
        low, high, step = max(0, near - 2 * stair), near + 2 * stair, 4 * stair
        while low and quote(low) >= out:
            # The steps grow: a pool that is nearly drained gives the same for very different amounts.
            low, step = max(0, low - step), 2 * step
        if not quote(high) and quote(near):
            # It is above what the pool fills.
            high = self._network.channels[place].most(high)
        for _ in range(_NEAR):
            if quote(high) >= out:
                break
            low, high = high, high + 4 * stair
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if quote(middle) >= out else (middle, high)
        return high
