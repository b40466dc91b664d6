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
from functools import lru_cache
from itertools import accumulate, combinations, pairwise

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
        self.fees = [network_fee(case, legs) for legs in range(LEGS + 1)]

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

    def pairs(self) -> list[list[tuple[Set, Set]]]:
        """Per intermediate token every choice of pools on either edge, as many as fit a route; none first."""
        per_via: list[list[tuple[Set, Set]]] = []
        for first, second in self.edges:
            own: list[tuple[Set, Set]] = [((), ())]
            for a in range(1, LEGS):
                for b in range(1, LEGS - a + 1):
                    own += [(x, y) for x in combinations(first, a) for y in combinations(second, b)]
            per_via.append(own)
        return per_via

    def best(self) -> Optimum | None:
        """Value all sets, look again closer at those that matter, and divide the best."""
        amount = self.case.amount_in
        steps = {i: self.sample(i, amount) for i in [*self.direct, *(i for first, _ in self.edges for i in first)]}
        for first, second in self.edges:
            arrives = sum(self.quote_up_to(i, amount) for i in first)
            steps |= {i: self.sample(i, arrives) for i in second}
        edges = _Edges(steps)
        ranked = self.rank(edges, self.survey(edges))
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
        known, quote = self.known[place], self.quote
        for knot in sorted(knots):
            gives = known[knot] if knot in known else quote(place, knot)
            if knot <= before or not gives:
                continue
            size, more = knot - before, gives - gave
            price = more / size
            # Where a step is better than the one before (rounding, or a fee's maximum), they count as one.
            while found and price > found[-1][0]:
                _, x, a = found.pop()
                size, more = size + x, more + a
                price = more / size
            found.append((price, size, more))
            before, gave = knot, gives
        return found

    def survey(self, edges: _Edges) -> list[_Route]:
        """The sets that may be the best, by what each takes and gives at some hundreds of prices."""
        pairs = self.pairs()
        parts, legs = _sets(len(self.direct), tuple(tuple(len(x) + len(y) for x, y in own) for own in pairs))

        def named(row: Sequence[int]) -> _Route:
            direct = tuple(self.direct[part] for part in row if part < len(self.direct))
            vias: list[tuple[Set, Set]] = [((), ()) for _ in pairs]
            start = len(self.direct)
            for number, own in enumerate(pairs):
                for part in row:
                    if start <= part < start + len(own) - 1:
                        vias[number] = own[part - start + 1]
                start += len(own) - 1
            return direct, tuple(vias)

        if len(parts) <= _AGAIN:
            return [named(row) for row in parts.tolist()]
        amount = float(self.case.amount_in)
        columns = [edges.rows[i] for i in self.direct] + [edges.path(via) for own in pairs for via in own[1:]]
        every = np.sort(np.concatenate([column[0] for column in columns]))[::-1]
        prices = every[np.unique(np.linspace(0, len(every) - 1, _PRICES).astype(np.int64))]
        # What a part takes and gives down to each price; the last row is that of no part.
        takes, gives = np.zeros((2, len(columns) + 1, len(prices) + 1))
        ends = np.zeros((2, 1 + max(column.shape[1] for column in columns)))
        falling = -prices
        for number, column in enumerate(columns):
            np.cumsum(column[1:], axis=1, out=ends[:, 1 : column.shape[1] + 1])
            place = (-column[0]).searchsorted(falling, side="right")
            ends[0].take(place, out=takes[number, 1:])
            ends[1].take(place, out=gives[number, 1:])

        def total(of: _Ends, prices: NDArray[np.int64]) -> _Ends:
            one, two, three, four = (of[parts[:, k], prices] for k in range(LEGS))
            return one + two + three + four

        # The first price down to which a set takes the order, by bisection: it takes ever more.
        last = np.full(len(parts), len(prices))
        full, after = np.zeros_like(last), last + 1
        while (full < after).any():
            middle = (full + after) // 2
            short = (total(takes, np.minimum(middle, last)) < amount) & (full < after)
            full, after = np.where(short, middle + 1, full), np.where(short, after, np.minimum(middle, after))
        full = np.minimum(full, last)
        low, high = total(takes, full - 1), total(takes, full)
        part = np.clip((amount - low) / np.maximum(high - low, 1.0), 0.0, 1.0)
        less, more = total(gives, full - 1), total(gives, full)
        values = less + part * (more - less) - np.array(self.fees, dtype=np.float64)[legs]
        values[total(takes, last) < amount * (1 - 2e-3) - 2 * LEGS] = -np.inf
        order = np.argsort(-values, kind="stable")
        best = values[order[0]]
        near = int((values >= best - abs(best) * _NEAR).sum())
        order = order[: max(_AGAIN, near)]
        return [named(row) for row in parts[order[values[order] > -np.inf]].tolist()]

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
            steps = np.empty((3, len(middle)))
            steps[1], steps[2] = np.interp(middle, given, takes), np.interp(middle, taken, gives)
            steps[1:, 1:] -= steps[1:, :-1].copy()
            real = steps[1] > 0
            if not real.all():
                steps = steps[:, real]
            np.divide(steps[2], steps[1], out=steps[0])
            self._paths[via] = steps
        return self._paths[via]


def _side_by_side(parts: Sequence[_Steps]) -> _Steps:
    """Pools beside each other: steps from the best price on."""
    if len(parts) == 1:
        return parts[0]
    together: _Steps = np.concatenate(parts, axis=1)
    return together[:, (-together[0]).argsort(kind="stable")]


@lru_cache(maxsize=64)
def _sets(direct: int, vias: tuple[tuple[int, ...], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every choice of pools that is a route, a row of parts each, and how many legs it has.

    Parts are numbered: the direct pools, then each intermediate token's pairs of sets but for the first, which is none.
    A number above all of them stands for no part.

    Args:
        direct: how many direct pools there are.
        vias: the legs of each pair of sets.
    """
    count = direct + sum(len(own) - 1 for own in vias)
    alone = [list(combinations(range(direct), n)) for n in range(min(LEGS, direct) + 1)]
    rows, legs = [], []
    for through, used in _through(vias, direct):
        for n, own in enumerate(alone[: LEGS - used + 1]):
            if n or through:
                rows += [(*one, *through, *[count] * (LEGS - n - len(through))) for one in own]
                legs += [n + used] * len(own)
    return np.array(rows, dtype=np.int64).reshape(-1, LEGS), np.array(legs, dtype=np.int64)


def _through(vias: tuple[tuple[int, ...], ...], start: int) -> Iterator[tuple[Set, int]]:
    """Every choice of a pair of sets per intermediate token, as numbers of parts, and its legs."""
    if not vias:
        yield (), 0
        return
    own, *others = vias
    for rest, used in _through(tuple(others), start + len(own) - 1):
        for number, legs in enumerate(own):
            if used + legs <= LEGS:
                yield ((start + number - 1, *rest) if number else rest), used + legs


def _take(parts: Sequence[_Steps], amount: int) -> list[int]:
    """What each part takes of an amount, from the best price on."""
    if len(parts) == 1:
        return [int(min(amount, parts[0][1].sum()))]
    prices, sizes, _ = together = np.concatenate(parts, axis=1)
    order = (-prices).argsort(kind="stable")
    most = sizes[order]
    takes = np.empty(together.shape[1])
    takes[order] = np.minimum(np.maximum(amount - most.cumsum() + most, 0.0), most)
    starts = accumulate((part.shape[1] for part in parts), initial=0)
    return [int(takes[a:b].sum()) for a, b in pairwise(starts)]


def network_fee(case: Case, legs: int) -> int:
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
