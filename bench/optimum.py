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
from itertools import combinations

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
        ranked = self.rank(steps, self.survey(steps, list(self.sets())))
        for _ in range(2):
            steps = self.sharpen(steps, ranked)
            ranked = self.rank(steps, [(direct, vias) for _, direct, vias in ranked])
        if not ranked:
            return None
        best: Optimum | None = None
        floor = ranked[0][0]
        for number, (value, direct, vias) in enumerate(ranked[: 2 * _SETS]):
            near = value >= floor - abs(floor) * _CLOSE - LEGS
            if number >= _SETS and not near:
                break
            found = self.divide(steps, direct, vias)
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

    def survey(self, steps: dict[int, list[_Step]], routes: Sequence[_Route]) -> list[_Route]:
        """The sets that may be the best, by what each takes and gives at some hundreds of prices."""
        if len(routes) <= _AGAIN:
            return list(routes)
        amount = float(self.case.amount_in)
        rows = {i: _rows(own) for i, own in steps.items()}
        numbers: dict[int | tuple[Set, Set], int] = {}
        columns: list[_Steps] = []
        members: list[list[int]] = []
        for direct, vias in routes:
            own = []
            parts: list[int | tuple[Set, Set]] = [*direct, *(via for via in vias if via[0])]
            for part in parts:
                if part not in numbers:
                    numbers[part] = len(columns)
                    columns.append(rows[part] if isinstance(part, int) else self.path(rows, part))
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

    def path(self, rows: dict[int, _Steps], via: tuple[Set, Set]) -> _Steps:
        first, second = (_side_by_side([rows[i] for i in edge]) for edge in via)
        return _one_behind_the_other(first, second)

    def rank(self, steps: dict[int, list[_Step]], routes: Iterable[_Route]) -> _Ranked:
        """Sets by what their samples promise, less the network fee."""
        rows = {i: _rows(own) for i, own in steps.items()}
        paths: dict[tuple[Set, Set], _Steps] = {}
        ranked: _Ranked = []
        amount = self.case.amount_in
        fees = [float(fee) for fee in self.fees]
        for direct, vias in routes:
            parts = [rows[i] for i in direct]
            legs = _legs((direct, vias))
            for via in vias:
                if via[0]:
                    if via not in paths:
                        paths[via] = self.path(rows, via)
                    parts.append(paths[via])
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

    def sharpen(self, steps: dict[int, list[_Step]], ranked: _Ranked) -> dict[int, list[_Step]]:
        """Sample again, densely where one of the best sets would put a pool."""
        ranges: dict[int, tuple[int, int]] = {}
        for _, direct, vias in ranked[:24]:
            for place, flow in self.fill(steps, direct, vias).items():
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

    def fill(self, steps: dict[int, list[_Step]], direct: Set, vias: Sequence[tuple[Set, Set]]) -> dict[int, int]:
        """Inputs per pool when the samples are taken from the best price on."""
        tagged = [(*step, i) for i in direct for step in steps[i]]
        for number, (first, second) in enumerate(vias):
            if first:
                path = _series(_parallel([steps[i] for i in first]), _parallel([steps[i] for i in second]))
                tagged += [(*step, -1 - number) for step in path]
        tagged.sort(key=lambda step: -step[0])
        flows = _take(tagged, self.case.amount_in)
        for number, (first, second) in enumerate(vias):
            through = flows.pop(-1 - number, 0)
            if not through:
                continue
            into = _take(sorted(((*s, i) for i in first for s in steps[i]), key=lambda s: -s[0]), through)
            flows |= into
            arrives = sum(self.quote(i, x) for i, x in into.items())
            flows |= _take(sorted(((*s, i) for i in second for s in steps[i]), key=lambda s: -s[0]), arrives)
        return flows

    # --- whole base units ------------------------------------------------------------------------------------------

    def divide(self, steps: dict[int, list[_Step]], direct: Set, vias: tuple[tuple[Set, Set], ...]) -> Optimum | None:
        """Divide over one set by exchange."""
        amount = self.case.amount_in
        flows = self.fill(steps, direct, vias)
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


def _rows(steps: list[_Step]) -> _Steps:
    return np.array(steps, dtype=np.float64).reshape(-1, 3).T


def _side_by_side(parts: Sequence[_Steps]) -> _Steps:
    """Pools beside each other: steps from the best price on."""
    if len(parts) == 1:
        return parts[0]
    together = np.concatenate(parts, axis=1)
    return together[:, np.argsort(-together[0], kind="stable")]


def _one_behind_the_other(first: _Steps, second: _Steps) -> _Steps:
    """What the first edge gives the second takes, in steps between all their ends."""
    given, taken = np.cumsum(first[2]), np.cumsum(second[1])
    if not len(given) or not len(taken):
        return np.zeros((3, 0))
    middle = np.sort(np.concatenate([given, taken]))
    middle = middle[middle <= min(given[-1], taken[-1])]
    sizes = np.diff(np.interp(middle, np.r_[0.0, given], np.r_[0.0, np.cumsum(first[1])]), prepend=0.0)
    gives = np.diff(np.interp(middle, np.r_[0.0, taken], np.r_[0.0, np.cumsum(second[2])]), prepend=0.0)
    real = sizes > 0
    return np.stack([gives[real] / sizes[real], sizes[real], gives[real]])


def _product(of: list[list[tuple[Set, Set]]]) -> Iterator[tuple[tuple[Set, Set], ...]]:
    if not of:
        yield ()
        return
    for rest in _product(of[1:]):
        for one in of[0]:
            yield one, *rest


def _parallel(ladders: Sequence[list[_Step]]) -> list[_Step]:
    """Pools side by side: steps from the best price on."""
    if len(ladders) == 1:
        return ladders[0]
    steps = [step for ladder in ladders for step in ladder]
    steps.sort(reverse=True)
    return steps


def _series(first: list[_Step], second: list[_Step]) -> list[_Step]:
    """One edge behind the other: what the first gives the second takes."""
    found: list[_Step] = []
    number, used = 0, 0.0
    for price, size, gives in first:
        left, x = float(gives), float(size)
        while left > 1e-9 and number < len(second):
            next_price, next_size, _ = second[number]
            part = min(left, next_size - used)
            taken = x * part / left
            found.append((price * next_price, taken, part * next_price))  # type: ignore[arg-type]
            left -= part
            x -= taken
            used += part
            if next_size - used <= 1e-9:
                number, used = number + 1, 0.0
        if number >= len(second):
            break
    return found


def _take(steps: Sequence[tuple[float, int, int, int]], amount: int) -> dict[int, int]:
    flows: dict[int, int] = {}
    for _, size, _, place in steps:
        part = int(min(size, amount))
        flows[place] = flows.get(place, 0) + part
        amount -= part
        if amount <= 0:
            break
    return flows


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
