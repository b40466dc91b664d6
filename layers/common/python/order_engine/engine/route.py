"""Choose how to fill an order: one pool, a path through one intermediate token, or a split over several.

The pools that can take part form a small network: pools that trade the pair directly, and for each intermediate
token (SOL, USDC) the pools into it and the pools out of it. Every pool belongs to one of these edges, so the best
division of an order is a separable concave problem: at the optimum all pools in use have the same marginal price.

How it is solved:

1. Every pool is sampled once into a ladder, a list of (amount, output) steps with falling prices, like the levels
   of an order book. Parallel pools merge by sorting their levels by price; two edges in series compose level by
   level. Filling an amount from the best level down is then the optimum of the sampled problem.
2. A leg costs a fee and a transaction holds few legs, so *which* pools to use is a choice of its own: a local
   search (add, drop, exchange) over sets of at most ``MAX_LEGS`` pools, valued on the ladders.
3. The best sets are divided exactly: around the solution the pools are sampled again with ever smaller steps of
   exact integer quotes. The sum of the pools' own integer results counts, never the model's. Then the ladders are
   sharpened around the marginal price that was found, and the search is run once more from there.

Considered are: every single pool; for each venue and over all of them the best path of two pools; every split
whose legs are any mixture of direct pools and of paths, of which a path may also divide each of its two edges.
What wins is the output net of the network fee. Money is int; the floats here are slopes that order the levels, and
a wrong last digit of one could only cost optimality, not correctness. Division and comparison of floats are the
same on every platform, so decisions are too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise, product

from order_engine.domain.amounts import BPS, BY_MINT, SOL, USDC, format_amount
from order_engine.domain.errors import NoRoute, PriceImpactTooHigh, QuoteRefused
from order_engine.domain.quote import VENUES, Candidate, Decision, LeftOut, Leg, Pool, RouteKind

# A transaction may lock 64 accounts, and a swap of these venues names about 15: four legs fit, five may not.
MAX_LEGS = 4
MAX_QUOTES = 6
INTERMEDIATES: tuple[str, ...] = (SOL.mint, USDC.mint)
# What Solana charges for the one signature of the transaction.
LAMPORTS_PER_SIGNATURE = 5_000
# The priority fee of one swap: about 100 000 compute units at 0.1 lamports.
LAMPORTS_PER_LEG = 10_000

_COARSE = 16  # steps of a pool's first ladder
_FINE = 8  # steps of a pool's window when the division is refined
_SHRINK = 3  # how much smaller the window is in the next round
_ROUNDS = 9
_CYCLES = 4  # how often a path's own division and its share of the order are set in turn
_ENOUGH = 10**8  # a gain of less than this part of the output ends that
_FINALISTS = 3  # sets of pools that are divided exactly
_MOVES = 12  # of the local search
_FOCUSES = 3  # how often a ladder is sampled again in a smaller range
_SHARPER = 5  # into how many a step near the marginal price is divided
_MARGIN = 64  # the last part of an order, whose price is its marginal price
_TINY = 10_000  # base units; below this, rounding hides what a step's price is
_CENT = Decimal("0.01")

type _Quote = Callable[[int], int]


class _Curve:
    """One pool in one direction: exact outputs, remembered; 0 for an amount that the pool refuses.

    Attributes:
        cap: the largest known input that the pool fills, at most the amount it was asked for; 0 if it fills none.
    """

    __slots__ = ("_known", "cap", "mint_in", "mint_out", "pool")

    def __init__(self, pool: Pool, mint_in: str) -> None:
        self.pool = pool
        self.mint_in = mint_in
        self.mint_out = pool.mints[1] if pool.mints[0] == mint_in else pool.mints[0]
        self.cap = 0
        self._known: dict[int, int] = {0: 0}

    def quote(self, amount: int) -> int:
        known = self._known.get(amount)
        if known is None:
            try:
                known = self.pool.quote(self.mint_in, amount)
            except QuoteRefused:
                known = 0
            self._known[amount] = known
        return known

    def spot(self) -> Fraction:
        return Fraction(*self.pool.spot(self.mint_in))

    def reach(self, amount: int) -> None:
        """Find ``cap``: bisect between what the pool fills and what it refuses."""
        if self.quote(amount):
            self.cap = amount
            return
        good, bad = amount // 4, amount
        while good and not self.quote(good):
            good, bad = good // 4, good
        while good and bad - good > max(1, good >> 26):
            middle = (good + bad) // 2
            if self.quote(middle):
                good = middle
            else:
                bad = middle
        self.cap = good


# A level of a ladder: cost (the negative of output per input, so that the best sorts first), input, output, and the
# pool it belongs to (a path is -1, -2, …).
type _Level = tuple[float, int, float, int]


@dataclass(frozen=True, slots=True)
class _Via:
    """The pools into an intermediate token and out of it, as positions in the list of curves."""

    first: tuple[int, ...]
    second: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Inputs per pool, by position. The second edge of a path is in base units of the intermediate token."""

    amounts: dict[int, int]
    amount_out: int


class _Network:
    """The pools of one order and what they give."""

    def __init__(self, pools: Iterable[Pool], mint_in: str, mint_out: str, amount_in: int) -> None:
        self.amount_in = amount_in
        self.curves: list[_Curve] = []
        self._levels: dict[int, list[_Level]] = {}
        ranked = sorted({(p.venue, p.pool_id): p for p in pools}.values(), key=_pool_order)
        middles = [m for m in INTERMEDIATES if m not in (mint_in, mint_out)]
        self.direct = self._edge(ranked, mint_in, mint_out, amount_in)
        self.vias: list[_Via] = []
        for middle in middles:
            first = self._edge(ranked, mint_in, middle, amount_in)
            if not first:
                continue
            # The most that can arrive at the second edge: all pools of the first together, and what a ladder misses.
            most, _ = self._output(self.merged(first))
            second = self._edge(ranked, middle, mint_out, round(most * 1.05))
            if second:
                self.vias.append(_Via(first, second))
        self._paths: dict[tuple[int, ...], list[_Level]] = {}
        self._values: dict[frozenset[int], float] = {}

    def _edge(self, pools: Sequence[Pool], mint_in: str, mint_out: str, amount: int) -> tuple[int, ...]:
        start = len(self.curves)
        for pool in pools:
            if set(pool.mints) == {mint_in, mint_out}:
                curve = _Curve(pool, mint_in)
                curve.reach(amount)
                if curve.cap:
                    self.curves.append(curve)
        return tuple(range(start, len(self.curves)))

    def levels(self, index: int) -> list[_Level]:
        """The ladder of a pool."""
        found = self._levels.get(index)
        if found is None:
            found = self._levels[index] = self._sample(index, self.curves[index].cap)
        return found

    def _sample(self, index: int, useful: int) -> list[_Level]:
        """Steps up to ``useful``, small at first, where a small share of the order would lie, and one for the rest."""
        curve = self.curves[index]
        knots = {useful * k * k // (_COARSE * _COARSE) for k in range(_COARSE + 1)}
        return self._steps(index, knots | {curve.cap})

    def _steps(self, index: int, knots: Iterable[int]) -> list[_Level]:
        curve = self.curves[index]
        levels: list[_Level] = []
        for a, b in pairwise(sorted(knots)):
            gives = curve.quote(b) - curve.quote(a)
            levels.append((-gives / (b - a), b - a, float(gives), index))
        return levels

    def focus(self, floor: float) -> None:
        """Sample every pool again where it matters: above a marginal price that the best division cannot fall below.

        Args:
            floor: output per input of the whole way; on an edge of a path it is divided by the best price that the
                other edge offers.
        """
        tops = [-min(level[0] for level in self.levels(i)) for i in range(len(self.curves))]
        floors = dict.fromkeys(self.direct, floor)
        for via in self.vias:
            floors |= dict.fromkeys(via.first, floor / max(tops[i] for i in via.second))
            floors |= dict.fromkeys(via.second, floor / max(tops[i] for i in via.first))
        for index, least in floors.items():
            reach = self.curves[index].cap
            for _ in range(_FOCUSES):
                levels, useful = self.levels(index), 0
                for cost, size, _, _ in levels:
                    useful += size
                    if -cost < least:
                        break
                if useful > reach // 4 or useful < _TINY:
                    break
                reach = useful
                self._levels[index] = self._sample(index, reach)

    def best_price(self) -> float:
        """The price of the first level of all, output per input."""
        direct, vias = self.edges(frozenset(range(len(self.curves))))
        return -self.ladder(direct, vias)[0][0]

    def sharpen(self, plan: _Plan) -> None:
        """Divide the steps of every ladder around the marginal price of a plan, so that like sets can be told apart."""
        for edge in [self.direct] + [edge for via in self.vias for edge in (via.first, via.second)]:
            used = [i for i in edge if i in plan.amounts]
            if not used:
                continue
            price = max(self._slope(i, plan.amounts[i]) for i in used)
            for i in edge:
                levels = self.levels(i)
                at = bisect_left(levels, (-price, 0, 0.0, 0))
                near = levels[max(0, at - 1) : at + 1]
                start = sum(level[1] for level in levels[: max(0, at - 1)])
                knots = {start}
                for _, size, _, _ in near:
                    knots |= {start + size * k // _SHARPER for k in range(1, _SHARPER + 1)}
                    start += size
                levels[max(0, at - 1) : at + 1] = self._steps(i, knots)
        self._values.clear()
        self._paths.clear()

    def _slope(self, index: int, amount: int) -> float:
        """The marginal output of a pool that works at an amount."""
        quote, part = self.curves[index].quote, max(1, amount // _MARGIN)
        return (quote(amount) - quote(amount - part)) / part

    def merged(self, indices: Iterable[int]) -> list[_Level]:
        levels = [level for i in indices for level in self.levels(i)]
        levels.sort()
        return levels

    def ladder(self, direct: Sequence[int], vias: Sequence[tuple[list[int], list[int]]]) -> list[_Level]:
        """The merged levels of direct pools and of paths."""
        levels = self.merged(direct)
        for position, (first, second) in enumerate(vias):
            key = (-1 - position, *first, -1, *second)
            path = self._paths.get(key)
            if path is None:
                path = _in_series(self.merged(first), self.merged(second), -1 - position, self.amount_in)
                self._paths[key] = path
            levels += path
        levels.sort()
        return levels

    def edges(self, chosen: frozenset[int]) -> tuple[list[int], list[tuple[list[int], list[int]]]]:
        """The direct pools of a set, and per intermediate token its pools on the two edges."""
        direct = [i for i in self.direct if i in chosen]
        vias = [([i for i in v.first if i in chosen], [i for i in v.second if i in chosen]) for v in self.vias]
        return direct, [v for v in vias if v[0] and v[1]]

    def value(self, chosen: frozenset[int]) -> float:
        """The output that a set of pools gives for the whole order, on the ladders; -1 where it cannot fill it."""
        known = self._values.get(chosen)
        if known is not None:
            return known
        out, left = self._output(self.ladder(*self.edges(chosen)))
        result = -1.0 if left else out
        self._values[chosen] = result
        return result

    def _output(self, levels: list[_Level]) -> tuple[float, int]:
        """What the order gives when it takes the levels in turn, and how much of it they leave."""
        left, out = self.amount_in, 0.0
        for cost, size, gives, _ in levels:
            if size >= left:
                return out - cost * left, 0
            left -= size
            out += gives
        return out, left

    def divide(self, chosen: frozenset[int]) -> _Plan | None:
        """Divide the order over a set of pools with exact quotes; None where the set cannot fill it."""
        direct, vias = self.edges(chosen)
        flows = _fill(self.ladder(direct, vias), self.amount_in)
        if flows is None:
            return None
        amounts = {i: flows.get(i, 0) for i in direct}
        inner: list[_Series] = []
        for position, (first, second) in enumerate(vias):
            inner.append(_Series(self, first, second, flows.get(-1 - position, 0)))
        before = -1
        for _ in range(_CYCLES if any(series.divided for series in inner) else 1):
            quotes = [self.curves[i].quote for i in direct] + [series.quote for series in inner]
            caps = [self.curves[i].cap for i in direct] + [self.amount_in] * len(inner)
            start = [amounts[i] for i in direct] + [series.amount for series in inner]
            refined = _refine(quotes, caps, start)
            amounts = dict(zip(direct, refined, strict=False))
            for series, amount in zip(inner, refined[len(direct) :], strict=True):
                series.settle(amount)
            out = sum(self.curves[i].quote(x) for i, x in amounts.items())
            out += sum(series.quote(series.amount) for series in inner)
            if out - before <= out // _ENOUGH:
                break
            before = out
        for series in inner:
            amounts |= series.amounts()
        amounts = {i: x for i, x in amounts.items() if x}
        if any(not self.curves[i].quote(x) for i, x in amounts.items()):
            return None
        return _Plan(amounts, out)


class _Series:
    """The pools of a path through one intermediate token, and how the flow is shared on each edge."""

    def __init__(self, network: _Network, first: list[int], second: list[int], amount: int) -> None:
        self._curves = network.curves
        self._edges = (first, second)
        self.amount = amount
        self.divided = len(first) + len(second) > 2
        self._shares: list[list[int]] = [[1] * len(first), [1] * len(second)]
        for edge, members in enumerate(self._edges):
            total = amount if edge == 0 else self._through(0, amount)
            flows = _fill(network.merged(members), total) or {}
            if any(flows.values()):
                self._shares[edge] = [flows.get(i, 0) for i in members]

    def quote(self, amount: int) -> int:
        """Output of the path with the present shares; 0 where a pool refuses its part."""
        return self._through(1, self._through(0, amount))

    def settle(self, amount: int) -> None:
        """Give the path its input and divide it anew on both edges."""
        self.amount = amount
        for edge, members in enumerate(self._edges):
            total = amount if edge == 0 else self._through(0, amount)
            if len(members) > 1 and total:
                curves = [self._curves[i] for i in members]
                parts = _share(total, self._shares[edge])
                self._shares[edge] = _refine([c.quote for c in curves], [c.cap for c in curves], parts)

    def amounts(self) -> dict[int, int]:
        """Inputs per pool."""
        middle = self._through(0, self.amount)
        first = zip(self._edges[0], _share(self.amount, self._shares[0]), strict=True)
        second = zip(self._edges[1], _share(middle, self._shares[1]), strict=True)
        return {**dict(first), **dict(second)}

    def _through(self, edge: int, amount: int) -> int:
        out = 0
        for i, part in zip(self._edges[edge], _share(amount, self._shares[edge]), strict=True):
            gives = self._curves[i].quote(part)
            if part and not gives:
                return 0
            out += gives
        return out


def _pool_order(pool: Pool) -> tuple[int, str, str]:
    known = VENUES.index(pool.venue) if pool.venue in VENUES else len(VENUES)
    return known, pool.venue, pool.pool_id


def _in_series(first: list[_Level], second: list[_Level], index: int, amount: int) -> list[_Level]:
    """Compose two ladders, up to an input: what the first gives is what the second takes."""
    levels: list[_Level] = []
    ahead = iter(second)
    next_cost, takes, _, _ = next(ahead)
    room = float(takes)
    for cost, size, gives, _ in first:
        left, taken = gives, 0
        while left > 0:
            step = min(left, room)
            left -= step
            room -= step
            # Counted from the level's end, so that the parts of a level add up to it.
            part = size - round(size * left / gives) - taken
            taken += part
            if part:
                levels.append((-cost * next_cost, part, -step * next_cost, index))
            if taken >= amount:
                return levels
            if room <= 0:
                level = next(ahead, None)
                if level is None:
                    return levels
                next_cost, room = level[0], float(level[1])
        amount -= size
    return levels


def _fill(levels: list[_Level], amount: int) -> dict[int, int] | None:
    """Take levels in order until ``amount`` is used up: inputs per index. None where they hold too little."""
    flows: dict[int, int] = {}
    for _, size, _, index in levels:
        take = min(size, amount)
        flows[index] = flows.get(index, 0) + take
        amount -= take
        if not amount:
            return flows
    return None


def _share(amount: int, shares: Sequence[int]) -> list[int]:
    """Divide in proportion, rounded down; the largest share takes the remainder."""
    if len(shares) == 1:
        return [amount]
    total = sum(shares)
    parts = [amount * share // total for share in shares]
    parts[shares.index(max(shares))] += amount - sum(parts)
    return parts


def _refine(quotes: Sequence[_Quote], caps: Sequence[int], start: Sequence[int]) -> list[int]:
    """Move a division of a total towards the optimum of concave curves, in windows of shrinking steps.

    Within a window around the present division every curve is sampled in ``_FINE`` steps, and the steps are taken
    from the best price on. A window whose edge is reached is moved before it is shrunk. Returns the best division
    seen, which is never worse than ``start``.
    """
    best = list(start)
    if len(best) < 2:
        return best
    total = sum(best)
    best_out = sum(quote(x) for quote, x in zip(quotes, best, strict=True))
    present = best
    width = max(_FINE, total // 8)
    for _ in range(_ROUNDS):
        levels: list[_Level] = []
        flows: list[int] = []
        tops: list[int] = []
        for index, (quote, cap, x) in enumerate(zip(quotes, caps, present, strict=True)):
            low, high = max(0, x - width), min(cap, total, x + width)
            step = max(1, (high - low) // _FINE)
            flows.append(low)
            tops.append(high)
            at, gave = low, quote(low)
            while at < high:
                to = high if high - at < 2 * step else at + step
                gives = quote(to)
                levels.append(((gave - gives) / (to - at), to - at, float(gives - gave), index))
                at, gave = to, gives
        levels.sort()
        for index, extra in (_fill(levels, total - sum(flows)) or {}).items():
            flows[index] += extra
        if sum(flows) != total:
            break
        out = sum(quote(x) for quote, x in zip(quotes, flows, strict=True))
        edge = any(
            (x == top and top < min(cap, total)) or (x <= old - width and x > 0)
            for x, old, top, cap in zip(flows, present, tops, caps, strict=True)
        )
        present = flows
        if out > best_out:
            best, best_out = flows, out
        if not edge:
            if width <= _FINE:
                break
            width = max(_FINE, width // _SHRINK)
    return best


def _search(network: _Network, seeds: Iterable[frozenset[int]], fee_per_leg: float) -> list[frozenset[int]]:
    """Local search over sets of at most ``MAX_LEGS`` pools. Returns the best sets of more than one way, best first."""
    worth: dict[frozenset[int], float] = {}

    def look(chosen: frozenset[int]) -> float:
        if chosen not in worth:
            value = network.value(chosen)
            worth[chosen] = value - fee_per_leg * len(chosen) if value >= 0 else float("-inf")
        return worth[chosen]

    for seed in seeds:
        present = seed
        for _ in range(_MOVES):
            step = max(_neighbours(network, present), key=look, default=present)
            if look(step) <= look(present):
                break
            present = step
    ranked = sorted((s for s in worth if worth[s] > float("-inf")), key=lambda s: (-worth[s], sorted(s)))
    return ranked[:_FINALISTS]


def _neighbours(network: _Network, present: frozenset[int]) -> list[frozenset[int]]:
    """The sets that dropping, adding or exchanging one pool or one path leads to, always in the same order.

    In a valid set every path has pools on both of its edges.
    """
    paths = [frozenset((*via.first, *via.second)) for via in network.vias]
    smaller = [present, *(present - {i} for i in sorted(present)), *(present - path for path in paths)]
    found: dict[frozenset[int], None] = {}
    for base in dict.fromkeys(smaller):
        more = [frozenset({i}) for i in network.direct]
        for via, path in zip(network.vias, paths, strict=True):
            if base.isdisjoint(path):
                more += [frozenset(pair) for pair in product(via.first, via.second)]
            else:
                more += [frozenset({i}) for i in sorted(path)]
        for chosen in (base, *(base | unit for unit in more)):
            whole = all(chosen.isdisjoint(via.first) == chosen.isdisjoint(via.second) for via in network.vias)
            if whole and 0 < len(chosen) <= MAX_LEGS:
                found[chosen] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class _Fee:
    """The network fee, and its price: output base units per lamport."""

    per_leg: int
    rate: Fraction

    def lamports(self, legs: int) -> int:
        return LAMPORTS_PER_SIGNATURE + self.per_leg * legs

    def in_output(self, legs: int) -> int:
        cost = self.lamports(legs) * self.rate
        return -(-cost.numerator // cost.denominator)


def _lamport_price(pools: Sequence[Pool], mint_in: str, mint_out: str) -> Fraction:
    """Output base units per lamport, by the pools' marginal prices: directly, or through one other token.

    The median pool of an edge counts, so that one pool with an absurd price cannot make the fee absurd. Zero where
    the pools at hand do not price SOL in the output token; every candidate's fee then counts as zero.
    """
    if mint_out == SOL.mint:
        return Fraction(1)

    def rate(a: str, b: str) -> Fraction | None:
        rates = sorted(Fraction(*p.spot(a)) for p in pools if set(p.mints) == {a, b})
        return rates[(len(rates) - 1) // 2] if rates else None

    straight = rate(SOL.mint, mint_out)
    if straight is not None:
        return straight
    for middle in dict.fromkeys((mint_in, *INTERMEDIATES)):
        if middle in (SOL.mint, mint_out):
            continue
        into, out_of = rate(SOL.mint, middle), rate(middle, mint_out)
        if into is not None and out_of is not None:
            return into * out_of
    return Fraction(0)


def _bps(part: Fraction | int, whole: Fraction | int) -> Decimal:
    """``part / whole`` in basis points with two decimals; ``whole`` is positive."""
    ratio = Fraction(part) * BPS / Fraction(whole)
    return (Decimal(ratio.numerator) / Decimal(ratio.denominator)).quantize(_CENT, ROUND_HALF_EVEN)


def _gain(over: Candidate, chosen: Candidate) -> Decimal:
    """How much more net output ``chosen`` gives, in basis points of what the other gives (before the fee eats it)."""
    return _bps(chosen.net_out - over.net_out, over.net_out if over.net_out > 0 else over.amount_out)


def _candidate(network: _Network, amounts: dict[int, int], amount_out: int, fee: _Fee) -> Candidate:
    """Write a division down as legs in the order of execution: into an intermediate token before out of it."""
    order = sorted(amounts)
    legs: list[Leg] = []
    for i in order:
        curve = network.curves[i]
        gives = curve.quote(amounts[i])
        legs.append(Leg(curve.pool.venue, curve.pool.pool_id, curve.mint_in, curve.mint_out, amounts[i], gives))
    direct, vias = network.edges(frozenset(order))
    ideal = sum((network.curves[i].spot() * amounts[i] for i in direct), Fraction(0))
    for first, second in vias:
        arrives = sum((network.curves[i].spot() * amounts[i] for i in first), Fraction(0))
        planned = sum(amounts[i] for i in second)
        ideal += sum((network.curves[i].spot() * amounts[i] * arrives / planned for i in second), Fraction(0))
    kind: RouteKind = "single"
    if len(order) > 1:
        kind = "path" if not direct and len(order) == 2 else "split"
    used = {leg.venue for leg in legs}
    venue = "+".join([v for v in VENUES if v in used] + sorted(used.difference(VENUES)))
    impact = max(Decimal("0.00"), _bps(ideal - amount_out, ideal)) if ideal else Decimal("0.00")
    return Candidate(venue, kind, tuple(legs), amount_out, amount_out - fee.in_output(len(legs)), impact)


def _singles(network: _Network, fee: _Fee) -> list[Candidate]:
    """Every pool that fills the order alone."""
    full = network.amount_in
    return [
        _candidate(network, {i: full}, network.curves[i].quote(full), fee)
        for i in network.direct
        if network.curves[i].cap == full
    ]


def _paths(network: _Network, fee: _Fee) -> list[Candidate]:
    """Per intermediate token the best path of two pools, of each venue by itself and of all together.

    Outputs are monotone in the input, so the pool that gives most on the first edge is right for any second.
    """
    full, curves = network.amount_in, network.curves
    found: dict[tuple[int, int], Candidate] = {}
    venues = {c.pool.venue for c in curves}
    for via in network.vias:
        for allowed in [{v} for v in sorted(venues)] + [venues]:
            first = [i for i in via.first if curves[i].cap == full and curves[i].pool.venue in allowed]
            if not first:
                continue
            one = max(first, key=lambda i: curves[i].quote(full))
            middle = curves[one].quote(full)
            second = [i for i in via.second if curves[i].pool.venue in allowed and curves[i].quote(middle)]
            if not second:
                continue
            two = max(second, key=lambda i: curves[i].quote(middle))
            out = curves[two].quote(middle)
            found[one, two] = _candidate(network, {one: full, two: middle}, out, fee)
    return list(found.values())


def _seeds(network: _Network, alone: Sequence[Candidate], fee_per_leg: float) -> list[frozenset[int]]:
    """Where the search begins; nothing where no division can be better than the best without one."""
    if not alone:
        # No way fills the order alone: start from the largest pools.
        largest = sorted(network.direct, key=lambda i: (-network.curves[i].cap, i))
        seeds = [frozenset(largest[:n]) for n in range(2, MAX_LEGS + 1)]
        for via in network.vias:
            one = max(via.first, key=lambda i: network.curves[i].cap)
            two = max(via.second, key=lambda i: network.curves[i].cap)
            seeds.append(frozenset({one, two}))
        return seeds
    by_pool = {(c.pool.pool_id, c.mint_in): i for i, c in enumerate(network.curves)}
    seeds = [frozenset(by_pool[leg.pool_id, leg.mint_in] for leg in c.legs) for c in alone[:2]]
    floor = _marginal(network, [network.curves[by_pool[x.pool_id, x.mint_in]] for x in alone[0].legs])
    if floor:
        network.focus(floor)
    # A step of a ladder misses at most an eighth of its size times the fall of the price within it; steps are up to
    # twice the even size, and as much again is allowed for. The bound is taken higher by that.
    fall = network.best_price() / floor - 1 if floor else 1.0
    everything = network.value(frozenset(range(len(network.curves))))
    bound = everything * (1 + fall / (2 * _COARSE * _COARSE)) - fee_per_leg * 2
    return seeds if bound > alone[0].amount_out - fee_per_leg * len(alone[0].legs) else []


def _splits(network: _Network, alone: Sequence[Candidate], fee: _Fee) -> list[Candidate]:
    """The best divisions over several pools, if any can be better than the best without dividing."""
    if len(network.curves) < 2:
        return []
    fee_per_leg = float(fee.per_leg * fee.rate)
    seeds = _seeds(network, alone, fee_per_leg)
    found: list[Candidate] = []
    tried: set[frozenset[int]] = set()
    for _ in range(2 if seeds else 0):
        best: tuple[float, _Plan] | None = None
        for chosen in _search(network, seeds, fee_per_leg):
            plan = None if chosen in tried else network.divide(chosen)
            tried.add(chosen)
            if plan is None or len(plan.amounts) < 2:
                continue
            found.append(_candidate(network, plan.amounts, plan.amount_out, fee))
            worth = plan.amount_out - fee_per_leg * len(plan.amounts)
            if best is None or worth > best[0]:
                best = worth, plan
        if best is None:
            break
        network.sharpen(best[1])
        seeds = [frozenset(best[1].amounts)]
    return found


def _marginal(network: _Network, curves: Sequence[_Curve]) -> float:
    """What the last part of the order gives per input when it goes through these pools alone, a little less at most.

    A division takes flow away from them, so at the optimum no pool works at a lower marginal price. 0 where the
    part is too small for its price to be told from rounding.
    """
    part = network.amount_in // _MARGIN
    whole, less = network.amount_in, network.amount_in - part
    for curve in curves:
        whole, less = curve.quote(whole), curve.quote(less)
    if whole - less < _TINY:
        return 0.0
    return (whole - less) / part * (1 - 2 * (whole - less) / whole / _MARGIN)


def _best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    def key(c: Candidate) -> tuple[int, int, list[tuple[int, str, str]]]:
        venues = [VENUES.index(leg.venue) if leg.venue in VENUES else len(VENUES) for leg in c.legs]
        order = [(rank, leg.venue, leg.pool_id) for rank, leg in zip(venues, c.legs, strict=True)]
        return -c.net_out, len(c.legs), order

    return sorted(candidates, key=key)


def _amount(units: int, mint: str) -> str:
    token = BY_MINT.get(mint)
    if token is None:
        return f"{units} base units"
    return f"{'-' if units < 0 else ''}{format_amount(abs(units), token)} {token.symbol}"


def _describe(c: Candidate) -> str:
    if c.kind == "single":
        return f"one {c.venue} pool"
    if c.kind == "path":
        middle = BY_MINT.get(c.legs[0].mint_out)
        return f"a path through {middle.symbol if middle else 'another token'} on {c.venue}"
    return f"a split over {len(c.legs)} pools of {c.venue}"


def decide(
    pools: Sequence[Pool],
    *,
    mint_in: str,
    mint_out: str,
    amount_in: int,
    left_out: Sequence[LeftOut] = (),
    max_price_impact_bps: int,
    lamports_per_leg: int = LAMPORTS_PER_LEG,
) -> Decision:
    """Choose the way that gives most of the output token, net of the network fee. Pure and deterministic.

    The network fee is ``LAMPORTS_PER_SIGNATURE`` plus ``lamports_per_leg`` per leg, converted to the output token at
    the pools' marginal prices and rounded up. Ties go to fewer legs, then to the order of ``VENUES``, then to the
    lower pool id. The order in which the pools are given does not matter.

    A venue's own quote, against which the improvement is measured, is the best that it gives without dividing the
    order: one of its pools, or a path over two of them. Where no venue can fill the order alone, the improvement
    is 0.

    Args:
        pools: snapshots, of the pair and of its intermediate tokens; others are ignored.
        amount_in: base units of ``mint_in``, positive.
        left_out: the venues that gave no pools, kept in the decision.
        max_price_impact_bps: the most that the chosen way may lose against the marginal price, basis points.
        lamports_per_leg: the priority fee of one swap.

    Raises:
        NoRoute: no way fills the whole amount.
        PriceImpactTooHigh: the best way loses more than the ceiling.
        ValueError: the amount is not positive or the mints are the same.
    """
    if amount_in <= 0 or mint_in == mint_out:
        raise ValueError("A route needs a positive amount and two different mints.")
    network = _Network(pools, mint_in, mint_out, amount_in)
    fee = _Fee(lamports_per_leg, _lamport_price(pools, mint_in, mint_out))
    alone = _best_first(_singles(network, fee) + _paths(network, fee))
    ranked = _best_first([*alone, *_splits(network, alone, fee)])
    if not ranked:
        absent = "".join(f" {gone.venue} was left out: {gone.reason}" for gone in left_out)
        raise NoRoute(f"No pool or path can fill {_amount(amount_in, mint_in)}.{absent}")
    chosen = ranked[0]
    if chosen.price_impact_bps > max_price_impact_bps:
        raise PriceImpactTooHigh(
            f"The best route ({_describe(chosen)}) loses {chosen.price_impact_bps} bps against the market price; "
            f"at most {max_price_impact_bps} bps are allowed."
        )
    own = {venue: next((c for c in alone if c.venue == venue), None) for venue in {p.venue for p in pools}}
    venue_quotes = _best_first(c for c in own.values() if c is not None)
    improvement = _gain(venue_quotes[0], chosen) if venue_quotes else Decimal("0.00")
    # Where the route uses one venue, the other is the other one; where it uses both, the one that quoted less.
    others = [c for c in venue_quotes if c.venue != chosen.venue][-1:]
    if chosen.venue not in own and len(venue_quotes) < 2:
        others = []
    over_other = _gain(others[0], chosen) if others else None
    keep = [chosen, *(c for c in venue_quotes if c != chosen)]
    keep += [c for c in ranked if c not in keep]
    quotes = _best_first(keep[:MAX_QUOTES])
    reason = f"{_describe(chosen)} gives {_amount(chosen.net_out, mint_out)} after all fees"
    if venue_quotes and improvement > 0:
        reason += f", {improvement} bps more than the best single venue ({_describe(venue_quotes[0])})"
    elif over_other is not None:
        reason += f", {over_other} bps more than {others[0].venue}"
    else:
        reason += ", the only venue that can fill it" if venue_quotes else "; no venue can fill it alone"
    reason = reason[0].upper() + reason[1:] + "."
    return Decision(
        chosen, tuple(quotes), tuple(left_out), reason, improvement, over_other, fee.lamports(len(chosen.legs))
    )
