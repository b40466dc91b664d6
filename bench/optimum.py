"""The best route by exhaustion: a reference that shares no code and no idea with the router.

It asks nothing of a pool but its exact quotes and its marginal price. Every set of at most four pools is valued on
samples of the quotes; the sets that come near the best are divided in whole base units by exchanging ever smaller
amounts between legs until no exchange helps. What it returns is a route that exists, so it is never above the optimum.

"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from bench.exchange import Exchange, Set
from bench.networks import Case
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.tokens import SOL, USDC

LEGS = 4
_SIGNATURE, _PER_LEG = 5_000, 10_000
_STEPS = 40  # samples of a pool within the range that matters
_SETS = 12  # that are divided exactly, and twice as many where they are close
_CLOSE = 2e-6  # a set whose samples promise less than this part under the best is not divided

_PRICES = 256  # at which all sets are compared first
_AGAIN = 64  # sets that are looked at closer, and all others within this part of the best
_NEAR = 1e-4

# Price, input, output.
type _Step = tuple[float, int, int]
# The same of many steps, a row each.
type _Steps = NDArray[np.float64]
type _Ends = NDArray[np.float64]
type _Route = tuple[Set, tuple[tuple[Set, Set], ...]]
type _Ranked = list[tuple[float, Set, tuple[tuple[Set, Set], ...]]]


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best route found.

    Attributes:
        net_out: base units of output less the network fee.
        amount_out: base units of output.
        amounts: base units into each pool, by its place in the case.
        ideal: base units at the marginal prices before fees.
    """

    net_out: int
    amount_out: int
    amounts: dict[int, int]
    ideal: float

    @property
    def impact_bps(self) -> float:
        return max(0.0, 1 - self.amount_out / self.ideal) * 10_000


def optimum(case: Case) -> Optimum | None:
    """The best of all routes; None where none fills the order."""
    return _Exhaustion(case).best()


class _Exhaustion:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.known: list[dict[int, int]] = [{0: 0} for _ in case.pools]
        self.mint: dict[int, str] = {}
        self.edges: list[tuple[list[int], list[int]]] = []
        self.direct = self.on(case.mint_in, case.mint_out)
        for middle in (SOL.mint, USDC.mint):
            if middle not in (case.mint_in, case.mint_out):
                first, second = self.on(case.mint_in, middle), self.on(middle, case.mint_out)
                if first and second:
                    self.edges.append((first, second))
        self.fees = [_network_fee(case, legs) for legs in range(LEGS + 1)]

    def on(self, mint_in: str, mint_out: str) -> list[int]:
        places = [i for i, pool in enumerate(self.case.pools) if set(pool.mints) == {mint_in, mint_out}]
        self.mint |= dict.fromkeys(places, mint_in)
        return places

    def quote(self, place: int, amount: int) -> int:
        known = self.known[place]
        if amount not in known:
            try:
                known[amount] = self.case.pools[place].quote(self.mint[place], amount)
            except QuoteRefused:
                known[amount] = 0
        return known[amount]

    # --- sets, and what their samples promise ----------------------------------------------------------------------

    def sets(self) -> Iterator[tuple[Set, tuple[tuple[Set, Set], ...]]]:
        """Every choice of pools that is a route: direct ones, and per intermediate token some on either edge."""
        per_via: list[list[tuple[Set, Set]]] = []
        for first, second in self.edges:
            pairs: list[tuple[Set, Set]] = [((), ())]
            for a in range(1, LEGS):
                for b in range(1, LEGS - a + 1):
                    pairs += [(x, y) for x in combinations(first, a) for y in combinations(second, b)]
            per_via.append(pairs)
        for vias in _product(per_via):
            room = LEGS - sum(len(x) + len(y) for x, y in vias)
            if room < 0:
                continue
            for n in range(min(room, len(self.direct)) + 1):
                for direct in combinations(self.direct, n):
                    if direct or any(x for x, _ in vias):
                        yield direct, tuple(via for via in vias)

    def best(self) -> Optimum | None:
        """Value all sets, look again closer at those that matter, and divide the best."""
        amount = self.case.amount_in
        steps = {i: self.sample(i, amount) for i in [*self.direct, *(i for first, _ in self.edges for i in first)]}
        for first, second in self.edges:
            arrives = sum(self.quote_up_to(i, amount) for i in first)
            steps |= {i: self.sample(i, arrives) for i in second}
        edges = _Edges(steps)
        ranked = self.rank(edges, self.survey(edges, list(self.sets())))
        for _ in range(2):
            steps = self.sharpen(steps, edges, ranked)
            edges = _Edges(steps)
            ranked = self.rank(edges, [(direct, vias) for _, direct, vias in ranked])
        if not ranked:
            return None
        best: Optimum | None = None
        floor = ranked[0][0]
        for number, (value, direct, vias) in enumerate(ranked[: 2 * _SETS]):
            near = value >= floor - abs(floor) * _CLOSE - LEGS
            if number >= _SETS and not near:
                break
            found = self.divide(edges, direct, vias)
            if found is not None and (best is None or found.net_out > best.net_out):
                best = found
        return best

    def quote_up_to(self, place: int, amount: int) -> int:
        """The largest output for an input of at most the amount."""
        return self.quote(place, self.end(place, amount))

    def end(self, place: int, amount: int) -> int:
        """The largest input that is filled, by bisection."""
        if self.quote(place, amount):
            return amount
        good, bad = 0, amount
        probe = amount
        while probe and not self.quote(place, probe):
            bad, probe = probe, probe // 8
        good = probe
        while good and bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self.quote(place, middle) else (good, middle)
        return good

    def sample(self, place: int, amount: int) -> list[_Step]:
        """A pool in steps that double, and each of them in four."""
        end = self.end(place, amount)
        knots = {end}
        size = end
        while size > 3:
            knots |= {size // 2 + size * k // 8 for k in range(5)}
            size //= 2
        return self.steps(place, knots)

    def steps(self, place: int, knots: set[int]) -> list[_Step]:
        found: list[_Step] = []
        before, gave = 0, 0
        for knot in sorted(knots):
            gives = self.quote(place, knot)
            if knot <= before or not gives:
                continue
            found.append(((gives - gave) / (knot - before), knot - before, gives - gave))
            # Where a step is better than the one before (rounding, or a fee's maximum), they count as one.
            while len(found) > 1 and found[-1][0] > found[-2][0]:
                (_, x, a), (_, y, b) = found.pop(), found.pop()
                found.append(((a + b) / (x + y), x + y, a + b))
            before, gave = knot, gives
        return found

    def survey(self, edges: _Edges, routes: Sequence[_Route]) -> list[_Route]:
        """The sets that may be the best, by what each takes and gives at some hundreds of prices."""
        if len(routes) <= _AGAIN:
            return list(routes)
        amount = float(self.case.amount_in)
        numbers: dict[int | tuple[Set, Set], int] = {}
        columns: list[_Steps] = []
        members: list[list[int]] = []
        for direct, vias in routes:
            own = []
            parts: list[int | tuple[Set, Set]] = [*direct, *(via for via in vias if via[0])]
            for part in parts:
                if part not in numbers:
                    numbers[part] = len(columns)
                    columns.append(edges.rows[part] if isinstance(part, int) else edges.path(part))
                own.append(numbers[part])
            members.append(own)
        every = np.sort(np.concatenate([column[0] for column in columns]))[::-1]
        prices = every[np.unique(np.linspace(0, len(every) - 1, _PRICES).astype(np.int64))]
        # What a part takes and gives down to each price; the last row is that of no part.
        takes, gives = np.zeros((2, len(columns) + 1, len(prices) + 1))
        for number, column in enumerate(columns):
            place = np.searchsorted(-column[0], -prices, side="right")
            takes[number, 1:] = np.r_[0.0, np.cumsum(column[1])][place]
            gives[number, 1:] = np.r_[0.0, np.cumsum(column[2])][place]
        padded = np.array([[*own, *[len(columns)] * (LEGS - len(own))] for own in members])
        fees = np.array([float(self.fees[_legs(route)]) for route in routes])
        took, gave = takes[padded].sum(axis=1), gives[padded].sum(axis=1)
        full = np.minimum((took < amount).sum(axis=1), len(prices))
        row = np.arange(len(routes))
        low, high = took[row, full - 1], took[row, full]
        part = np.clip((amount - low) / np.maximum(high - low, 1.0), 0.0, 1.0)
        values = gave[row, full - 1] + part * (gave[row, full] - gave[row, full - 1]) - fees
        values[took[:, -1] < amount * (1 - 2e-3) - 2 * LEGS] = -np.inf
        order = np.argsort(-values, kind="stable")
        best = values[order[0]]
        near = int((values >= best - abs(best) * _NEAR).sum())
        return [routes[i] for i in order[: max(_AGAIN, near)] if values[i] > -np.inf]

    def rank(self, edges: _Edges, routes: Iterable[_Route]) -> _Ranked:
        """Sets by what their samples promise, less the network fee."""
        ranked: _Ranked = []
        amount = self.case.amount_in
        fees = [float(fee) for fee in self.fees]
        for direct, vias in routes:
            parts = [edges.rows[i] for i in direct] + [edges.path(via) for via in vias if via[0]]
            legs = _legs((direct, vias))
            prices, sizes, gives = _side_by_side(parts)
            ends = np.cumsum(sizes)
            full = int(np.searchsorted(ends, amount))
            if full < len(ends):
                left = amount - (ends[full - 1] if full else 0.0)
                ranked.append((float(gives[:full].sum() + prices[full] * left) - fees[legs], direct, vias))
            elif len(ends) and amount - ends[-1] <= amount // 1000 + 4:
                # Full but for rounding.
                ranked.append((float(gives.sum()) - fees[legs], direct, vias))
        ranked.sort(key=lambda one: -one[0])
        return ranked

    def sharpen(self, steps: dict[int, list[_Step]], edges: _Edges, ranked: _Ranked) -> dict[int, list[_Step]]:
        """Sample again, densely where one of the best sets would put a pool."""
        ranges: dict[int, tuple[int, int]] = {}
        for _, direct, vias in ranked[:24]:
            for place, flow in self.fill(edges, direct, vias).items():
                low, high = ranges.get(place, (flow, flow))
                ranges[place] = min(low, flow), max(high, flow)
        sharper = dict(steps)
        for place, (low, high) in ranges.items():
            ends, total = [0], 0
            for _, size, _ in steps[place]:
                total += size
                ends.append(total)
            a = max(0, bisect_left(ends, low) - 2)
            b = min(len(ends) - 1, bisect_left(ends, high) + 1)
            width = ends[b] - ends[a]
            knots = set(ends) | {ends[a] + width * k // _STEPS for k in range(1, _STEPS)}
            sharper[place] = self.steps(place, knots)
        return sharper

    def fill(self, edges: _Edges, direct: Set, vias: Sequence[tuple[Set, Set]]) -> dict[int, int]:
        """Inputs per pool when the samples are taken from the best price on."""
        paths = [via for via in vias if via[0]]
        parts = [edges.rows[i] for i in direct] + [edges.path(via) for via in paths]
        takes = _take(parts, self.case.amount_in)
        flows = dict(zip(direct, takes, strict=False))
        for (first, second), through in zip(paths, takes[len(direct) :], strict=True):
            if not through:
                continue
            into = dict(zip(first, _take([edges.rows[i] for i in first], through), strict=True))
            arrives = sum(self.quote(i, x) for i, x in into.items())
            flows |= into
            flows |= dict(zip(second, _take([edges.rows[i] for i in second], arrives), strict=True))
        return flows

    # --- whole base units ------------------------------------------------------------------------------------------

    def divide(self, edges: _Edges, direct: Set, vias: tuple[tuple[Set, Set], ...]) -> Optimum | None:
        """Divide over one set by exchange."""
        amount = self.case.amount_in
        flows = self.fill(edges, direct, vias)
        paths = [via for via in vias if via[0]]
        source = [*direct, *(i for first, _ in paths for i in first)]
        parts = {i: flows.get(i, 0) for i in source}
        largest = max(source, key=lambda i: parts[i])
        parts[largest] += amount - sum(parts.values())
        shares = {i: flows.get(i, 0) for _, second in paths for i in second}
        state = Exchange(self, direct, paths, parts, shares)
        if not state.run(amount):
            return None
        amounts = {i: x for i, x in {**state.parts, **state.behind}.items() if x}
        if state.out < 0 or not amounts:
            return None
        return Optimum(state.out - self.fees[len(amounts)], state.out, amounts, self.ideal(amounts, paths))

    def ideal(self, amounts: dict[int, int], paths: Sequence[tuple[Set, Set]]) -> float:
        """What the amounts give at the marginal prices before fees."""

        def spot(place: int) -> float:
            numerator, denominator = self.case.pools[place].spot(self.mint[place])
            return numerator / denominator

        total = sum(spot(i) * amounts[i] for i in self.direct if i in amounts)
        for first, second in paths:
            arrives = sum(spot(i) * amounts.get(i, 0) for i in first)
            planned = sum(amounts.get(i, 0) for i in second)
            if planned:
                total += sum(spot(i) * amounts.get(i, 0) for i in second) * arrives / planned
        return total


def _legs(route: _Route) -> int:
    direct, vias = route
    return len(direct) + sum(len(first) + len(second) for first, second in vias)


class _Edges:
    """Samples of pools beside each other, and of paths, each made once."""

    def __init__(self, steps: dict[int, list[_Step]]) -> None:
        self.rows = {i: np.array(own, dtype=np.float64).reshape(-1, 3).T for i, own in steps.items()}
        self._edges: dict[Set, tuple[_Steps, _Ends, _Ends]] = {}
        self._paths: dict[tuple[Set, Set], _Steps] = {}

    def edge(self, places: Set) -> tuple[_Steps, _Ends, _Ends]:
        """Steps of pools beside each other, and what they take and give up to the end of each, from 0 on."""
        if places not in self._edges:
            steps = _side_by_side([self.rows[i] for i in places])
            takes, gives = np.zeros((2, steps.shape[1] + 1))
            np.cumsum(steps[1], out=takes[1:])
            np.cumsum(steps[2], out=gives[1:])
            self._edges[places] = steps, takes, gives
        return self._edges[places]

    def path(self, via: tuple[Set, Set]) -> _Steps:
        """What the first edge gives the second takes, in steps between all their ends."""
        if via not in self._paths:
            (_, takes, given), (_, taken, gives) = self.edge(via[0]), self.edge(via[1])
            middle = np.concatenate((given[1:], taken[1:]))
            middle.sort()
            middle = middle[: middle.searchsorted(min(given[-1], taken[-1]), side="right")]
            sizes, out = np.interp(middle, given, takes), np.interp(middle, taken, gives)
            sizes[1:] -= sizes[:-1].copy()
            out[1:] -= out[:-1].copy()
            real = sizes > 0
            sizes, out = sizes[real], out[real]
            self._paths[via] = np.stack([out / sizes, sizes, out])
        return self._paths[via]


def _side_by_side(parts: Sequence[_Steps]) -> _Steps:
    """Pools beside each other: steps from the best price on."""
    if len(parts) == 1:
        return parts[0]
    together = np.concatenate(parts, axis=1)
    return together[:, np.argsort(-together[0], kind="stable")]


def _product(of: list[list[tuple[Set, Set]]]) -> Iterator[tuple[tuple[Set, Set], ...]]:
    if not of:
        yield ()
        return
    for rest in _product(of[1:]):
        for one in of[0]:
            yield one, *rest


def _take(parts: Sequence[_Steps], amount: int) -> list[int]:
    """What each part takes of an amount, from the best price on."""
    if len(parts) == 1:
        return [int(min(amount, parts[0][1].sum()))]
    prices, sizes, _ = together = np.concatenate(parts, axis=1)
    order = np.argsort(-prices, kind="stable")
    ends = np.cumsum(sizes[order])
    takes = np.zeros(together.shape[1])
    takes[order] = np.clip(amount - ends + sizes[order], 0.0, sizes[order])
    starts = np.cumsum([0, *(part.shape[1] for part in parts)])
    return [int(takes[a:b].sum()) for a, b in pairwise(starts)]


def _network_fee(case: Case, legs: int) -> int:
    """Base units of output: lamports at the median marginal price, directly or over another token."""

    def median(a: str, b: str) -> Fraction | None:
        rates = sorted(Fraction(*pool.spot(a)) for pool in case.pools if set(pool.mints) == {a, b})
        return rates[(len(rates) - 1) // 2] if rates else None

    rate: Fraction | None = Fraction(1) if case.mint_out == SOL.mint else median(SOL.mint, case.mint_out)
    if rate is None:
        for middle in (case.mint_in, USDC.mint):
            if middle not in (SOL.mint, case.mint_out):
                one, other = median(SOL.mint, middle), median(middle, case.mint_out)
                if one is not None and other is not None:
                    rate = one * other
                    break
    cost = (rate or Fraction(0)) * (_SIGNATURE + _PER_LEG * legs)
    return -(-cost.numerator // cost.denominator)
