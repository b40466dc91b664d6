"""Few units of an intermediate token: how many arrive is chosen together with what both sides make of them.

Where one unit of the token is worth more than a decision may lose, neither edge can be made whole by itself: the pools
into the token cost least for some sums, those out of it give most for others. At the prices of the real optimum each
leg loses a little by rounding. As the number of units rises the loss falls slowly, by what a rounded fee comes closer
to its real value, and then rises at once by a unit's worth: the best numbers are the last ones before such a rise. They
are looked for leg by leg and combined so that as many units leave as arrive; exact quotes decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from itertools import chain, product, zip_longest

from order_engine.domain.amounts import U64_MAX
from order_engine.engine.routing.divide import Plan
from order_engine.engine.routing.network import Channel, Network, Via
from order_engine.engine.routing.units import settled

_ROUNDS = 3  # over the intermediate tokens, each from where the last one led
_NEAR = 128  # numbers of units on either side of a leg's own that are all looked at
_STRIDE, _FAR = 64, 64  # beyond them: from one to the next, and how many on either side
_KEPT = {1: 192, 2: 30, 3: 9}  # numbers of a leg that are combined, by how many legs are
_TRIED = 96  # combinations whose quotes are asked: those that lose least, and as many of the nearest
_GALLOPS = 24  # steps, each four times the one before, within which an input must be found

# What a leg loses with so many units; None where it cannot have as many.
type _Loss = Callable[[int], float | None]


def choose_arrivals(
    network: Network, plan: Plan, price: float, middles: Mapping[int, float], possible: float, room: float
) -> Plan:
    """The plan with the numbers of units of its intermediate tokens on which least is lost.

    Args:
        price: the marginal price of the order's token, base units of output.
        middles: that of each intermediate token, by the edge into it.
        possible: base units of output that a better plan can give more.
        room: base units of output that are no loss: a token whose unit is worth less than a leg's part is left alone.
    """
    best = plan
    for _ in range(_ROUNDS):
        before = best.amount_out
        for via in network.vias:
            if middles.get(via.first, 0.0) * len(best.amounts) > room:
                best = _Arrivals(network, best, via, price, middles[via.first], possible).best()
        if best.amount_out <= before:
            break
    return best


class _Leg:
    """One pool into an intermediate token or out of it, by the units of that token that it gives or takes."""

    def __init__(self, channel: Channel, amount: int, price: float, middle: float, *, into: bool) -> None:
        self.place = channel.place
        self.into = into
        self._channel = channel
        self._quote = channel.quote
        # An input that the pool fills, and one that it may not exceed.
        self._filled, self._end = amount, U64_MAX
        self._price = price
        self._middle = middle
        self._inputs: dict[int, int | None] = {0: 0}
        self._losses: dict[int, float | None] = {0: 0.0}
        self.own = channel.quote(amount) if into else amount
        # The last two that were found: numbers of units and their inputs.
        self._line = (self.own, amount), (0, 0)
        if into:
            self._inputs[self.own] = self._least(amount, self.own)

    def amount(self, units: int) -> int | None:
        """Base units into the pool."""
        if not self.into:
            return units
        if units not in self._inputs:
            (near, start), (last, before) = self._line
            # On the line through the two that were found last.
            guess = start + (start - before) * (units - near) // (near - last)
            found = self._inputs[units] = self._least(max(1, guess), units)
            if found is not None:
                self._line = (units, found), (near, start)
        return self._inputs[units]

    def loss(self, units: int) -> float | None:
        """What is lost at the marginal prices, base units of output."""
        if units not in self._losses:
            loss = None
            if units > 0:
                amount = self.amount(units)
                if amount is not None:
                    gives = self._quote(amount)
                    if gives:
                        loss = (
                            self._price * amount - self._middle * units if self.into else self._middle * units - gives
                        )
            self._losses[units] = loss
        return self._losses[units]

    def _least(self, guess: int, out: int) -> int | None:
        """The least input that gives so much, looked for from a guess on."""
        quote, step = self._quote, 1
        low = high = min(guess, self._end)
        for _ in range(_GALLOPS):
            if quote(high) >= out:
                break
            if not quote(high) and high > self._filled:
                # It is above what the pool fills.
                self._end = low = high = self._channel.most(high)
                if quote(high) < out:
                    return None
                break
            low, high = high, min(high + step, self._end)
            step *= 4
        else:
            return None
        if low == high:
            low = max(0, high - step)
            while low and quote(low) >= out:
                step *= 4
                low, high = max(0, low - step), low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if quote(middle) >= out else (middle, high)
        return high


class _Arrivals:
    """One intermediate token of a plan."""

    def __init__(self, network: Network, plan: Plan, via: Via, price: float, middle: float, possible: float) -> None:
        used = network.by_edge(plan.amounts)
        self._network = network
        self._plan = plan
        # Between two rises a leg loses up to a unit's worth more, and no less behind them than is possible.
        self._reach = possible + middle
        channels = network.channels
        first = set(used[via.first])
        source = [i for edge in (0, *(v.first for v in network.vias)) for i in used[edge]]
        # Who takes what the others of the order's token leave: a leg beside this path, or one of its own.
        self._slack = [i for i in source if i not in first] or source
        self._legs = [_Leg(channels[i], plan.amounts[i], price, middle, into=True) for i in used[via.first]]
        self._legs += [_Leg(channels[i], plan.amounts[i], price, middle, into=False) for i in used[via.second]]
        # Where all of the order goes into one pool, what arrives is no matter of choice.
        self._fixed = source if len(source) == 1 else []

    def best(self) -> Plan:
        """The best combination, or the plan itself."""
        best = self._plan
        for units in self._combinations():
            for slack in self._slack:
                found = self._with(units, slack)
                if found is not None and found.amount_out > best.amount_out:
                    best = found
        return best

    def _with(self, units: Sequence[int], slack: int) -> Plan | None:
        amounts = dict(self._plan.amounts)
        for leg, number in zip(self._legs, units, strict=True):
            amount = leg.amount(number)
            if amount is None:
                return None
            amounts[leg.place] = amount
        source = {c.place for c in self._network.channels if c.place in amounts and c.mint_in == self._network.mint_in}
        amounts[slack] += self._network.amount - sum(amounts[place] for place in source)
        if amounts[slack] < 0:
            return None
        return settled(self._network, amounts)

    def _combinations(self) -> list[tuple[int, ...]]:
        """Numbers of units, of each leg, with as many out as in: those that lose least."""
        legs = self._legs
        if not legs:
            return []
        kept = _KEPT[min(len(legs) - 1, 3)]
        near = [
            [leg.own] if leg.place in self._fixed else _before_rises(leg.loss, leg.own, self._reach)[:kept]
            for leg in legs
        ]
        found: dict[tuple[int, ...], float] = {}
        for number, leg in enumerate(legs):
            if leg.place in self._fixed:
                continue
            for others in product(*(near[:number] + near[number + 1 :])):
                units = [*others[:number], 0, *others[number:]]
                balance = sum(u if other.into else -u for other, u in zip(legs, units, strict=True))
                units[number] = -balance if leg.into else balance
                if units[number] < 0 or tuple(units) in found:
                    continue
                lost = 0.0
                for other, u in zip(legs, units, strict=True):
                    loss = other.loss(u)
                    if loss is None:
                        break
                    lost += loss
                else:
                    found[tuple(units)] = lost
        # As the prices say little of some plans, the nearest ones too.
        own = [leg.own for leg in legs]
        least = nsmallest(_TRIED, found, key=lambda units: (found[units], units))
        nearest = nsmallest(
            _TRIED, found, key=lambda units: (sum(abs(u - o) for u, o in zip(units, own, strict=True)), units)
        )
        return list(dict.fromkeys(least + nearest))


def _before_rises(loss: _Loss, own: int, reach: float) -> list[int]:
    """Numbers of units around a leg's own, in turns those that lose least, the nearest, and the nearest before a rise.

    The prices may be those of a mixture of two sets of pools: then what is lost at them says little of one set.
    """
    found: dict[int, float] = {}
    rises: list[int] = []
    at_own = loss(own)
    if at_own is None:
        return [own]
    found[own] = at_own
    for way in (1, -1):
        last, before = own, at_own
        for distance in [*range(1, _NEAR + 1), *(_NEAR + _STRIDE * k for k in range(1, _FAR + 1))]:
            units = own + way * distance
            lost = loss(units) if units > 0 else None
            if lost is None:
                break
            found[units] = lost
            low, high = (last, units) if way > 0 else (units, last)
            if found[high] > found[low]:
                low = _rise(loss, low, high)
                lost_there = loss(low)
                if lost_there is not None:
                    found[low] = lost_there
                    rises.append(low)
            last, before = units, min(before, lost)
            if lost > before + reach:
                break
    least = sorted(found, key=lambda units: (found[units], units))
    nearest = sorted(found, key=lambda units: (abs(units - own), units))
    rises.sort(key=lambda units: (abs(units - own), units))
    turns = chain.from_iterable(zip_longest(least, nearest, rises))
    return list(dict.fromkeys(units for units in turns if units is not None))


def _rise(loss: _Loss, low: int, high: int) -> int:
    """The last number before the greatest rise between two, by bisection."""
    below, above = loss(low), loss(high)
    while high - low > 1:
        middle = (low + high) // 2
        between = loss(middle)
        if between is None or below is None or above is None:
            break
        if between - below > above - between:
            high, above = middle, between
        else:
            low, below = middle, between
    return low
