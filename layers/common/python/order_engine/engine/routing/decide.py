"""Choose how to fill an order: the decision, its reason, and how far from the best it can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from order_engine.domain.amounts import BPS, format_amount
from order_engine.domain.errors import NoRoute, PriceImpactTooHigh, VenuesUnavailable
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg, Pool, RouteKind, runner_up
from order_engine.domain.tokens import Token
from order_engine.domain.venues import VENUES
from order_engine.engine.routing.divide import Plan
from order_engine.engine.routing.fee import LAMPORTS_PER_LEG, NetworkFee, lamport_price
from order_engine.engine.routing.network import MIDDLES, BrokenPool, Network, name_broken, pool_order, sound
from order_engine.engine.routing.search import search

MAX_QUOTES = 6
_CENT = Decimal("0.01")
_GAP_STEP = Decimal("0.0001")


def decide(
    pools: Sequence[Pool],
    *,
    mint_in: str,
    mint_out: str,
    amount_in: int,
    left_out: Sequence[LeftOut] = (),
    max_price_impact_bps: int,
    lamports_per_leg: int = LAMPORTS_PER_LEG,
    tokens: Sequence[Token] = (),
    most_legs: int | None = None,
) -> Decision:
    """Choose the way that gives most of the output token, net of the network fee. Pure and deterministic.

    The network fee is ``LAMPORTS_PER_SIGNATURE`` plus ``lamports_per_leg`` per leg, converted to the output token at
    the pools' marginal prices and rounded up. Ties go to fewer legs, then to the order of ``VENUES``, then to the
    lower pool id. The order in which the pools are given does not matter, and a pool that does not work is left out
    and named.

    A venue's own quote, against which the improvement is measured, is the best that it gives without dividing the
    order: one of its pools, or a path over two of them. Where no venue can fill the order alone, the improvement
    is 0.

    Args:
        pools: snapshots, of the pair and of its intermediate tokens; others are ignored.
        amount_in: base units of ``mint_in``, positive.
        left_out: the venues that gave no pools, kept in the decision.
        max_price_impact_bps: the most that the chosen way may lose against the marginal price, basis points.
        lamports_per_leg: the priority fee of one swap.
        tokens: the pair's, by which its amounts are said; without them they are said in base units.
        most_legs: the best way of so many swaps is chosen, where there is one.

    Raises:
        NoRoute: no way fills the whole amount.
        PriceImpactTooHigh: the best way loses more than the ceiling.
        VenuesUnavailable: either of them, while something is left out that may be there when asked again.
        ValueError: the amount is not positive or the mints are the same.
    """
    if amount_in <= 0 or mint_in == mint_out:
        raise ValueError("A route needs a positive amount and two different mints.")
    usable, broken = sound(pools, mint_in, amount_in)
    called = {token.mint: token for token in (*MIDDLES, *tokens)}
    while True:
        try:
            found = _Routes(usable, mint_in, mint_out, amount_in, lamports_per_leg)
            break
        except BrokenPool as one:
            # It broke when it was asked: begin again without it.
            broken.append(one)
            usable = [pool for pool in usable if pool is not one.pool]
    gone = (*left_out, *name_broken(broken))
    if not found.ranked:
        nothing = f"No pool or path can fill {_amount(amount_in, called.get(mint_in))}.{_absent(gone)}"
        raise NoRoute(nothing) if all(one.answered for one in left_out) else VenuesUnavailable(nothing)
    few = [route for route in found.ranked if most_legs is None or len(route.order) <= most_legs]
    chosen = found.candidate((few or found.ranked)[0])
    decision = _decision(found, chosen, gone, called)
    if chosen.price_impact_bps > max_price_impact_bps:
        too_high = (
            f"The best route ({_describe(chosen, called)}) loses {chosen.price_impact_bps} bps against the market "
            f"price; at most {max_price_impact_bps} bps are allowed.{_absent(gone)}"
        )
        if not all(one.answered for one in left_out):
            raise VenuesUnavailable(too_high)
        raise PriceImpactTooHigh(too_high, decision)
    return decision


@dataclass(frozen=True, slots=True)
class _Route:
    """A plan and what it is worth."""

    plan: Plan
    net_out: int
    order: tuple[tuple[int, str, str], ...]


class _Routes:
    """All ways that were considered.

    Attributes:
        ranked: best first.
        own: by venue, the best way that it has without dividing the order.
        bound: no way gives more net output.
    """

    def __init__(self, pools: Sequence[Pool], mint_in: str, mint_out: str, amount: int, per_leg: int) -> None:
        self.fee = NetworkFee(per_leg, lamport_price(pools, mint_in, mint_out))
        self.network = Network(pools, mint_in, mint_out, amount)
        alone = self._rank([*self._singles(), *self._paths()])
        divided = search(self.network, self.fee, alone[0].net_out if alone else None)
        known = {frozenset(route.plan.amounts) for route in alone}
        plans = [plan for key, plan in divided.plans.items() if key not in known]
        self.ranked = self._rank([*(route.plan for route in alone), *plans])
        self.bound = divided.bound
        self.own: dict[str, _Route] = {}
        for route in alone:
            venues = {venue for _, venue, _ in route.order}
            if len(venues) == 1:
                self.own.setdefault(venues.pop(), route)
        self.venues = {pool.venue for pool in pools}

    def _rank(self, plans: Iterable[Plan]) -> list[_Route]:
        routes = []
        for plan in plans:
            channels = [self.network.channels[place] for place in sorted(plan.amounts)]
            order = tuple(pool_order((c.pool.venue, c.pool.pool_id)) for c in channels)
            routes.append(_Route(plan, plan.amount_out - self.fee.in_output(len(order)), order))
        return sorted(routes, key=lambda route: (-route.net_out, len(route.order), route.order))

    def _singles(self) -> list[Plan]:
        """Every pool that fills the order alone."""
        amount = self.network.amount
        places = dict.fromkeys(ladder.channel for ladder in self.network.edges[0])
        outs = [(place, self.network.channels[place].quote(amount)) for place in places]
        return [Plan({place: amount}, out) for place, out in outs if out]

    def _paths(self) -> list[Plan]:
        """Per intermediate token the best path of two pools, of each venue by itself and of all together.

        Outputs are monotone in the input, so the pool that gives most on the first edge is right for any second.
        """
        amount, channels = self.network.amount, self.network.channels
        found: dict[tuple[int, int], Plan] = {}
        for via in self.network.vias:
            firsts = [(channels[x.channel].quote(amount), -x.channel) for x in self.network.edges[via.first]]
            seconds = list(dict.fromkeys(x.channel for x in self.network.edges[via.second]))
            venues = {channels[-place].pool.venue for _, place in firsts}
            either = venues | {channels[place].pool.venue for place in seconds}
            for allowed in [*({venue} for venue in sorted(venues)), either]:
                middle, first = max((one for one in firsts if channels[-one[1]].pool.venue in allowed), default=(0, 0))
                if not middle:
                    continue
                ends = [
                    (channels[place].quote(middle), -place)
                    for place in seconds
                    if channels[place].pool.venue in allowed
                ]
                out, second = max(ends, default=(0, 0))
                if out:
                    found[-first, -second] = Plan({-first: amount, -second: middle}, out)
        return list(found.values())

    def candidate(self, route: _Route) -> Candidate:
        """Write a plan down as legs in the order of execution: into an intermediate token before out of it."""
        amounts, channels = route.plan.amounts, self.network.channels
        legs = []
        for place in sorted(amounts):
            channel, amount = channels[place], amounts[place]
            out = channel.quote(amount)
            legs.append(Leg(channel.pool.venue, channel.pool.pool_id, channel.mint_in, channel.mint_out, amount, out))
        ideal = self._ideal(amounts)
        kind: RouteKind = "single"
        if len(legs) > 1:
            path = len(legs) == 2 and legs[0].mint_out == legs[1].mint_in
            kind = "path" if path else "split"
        used = {leg.venue for leg in legs}
        venue = "+".join([v for v in VENUES if v in used] + sorted(used.difference(VENUES)))
        out = route.plan.amount_out
        impact = max(Decimal("0.00"), _bps(ideal - out, ideal)) if ideal else Decimal("0.00")
        return Candidate(venue, kind, tuple(legs), out, route.net_out, impact)

    def _ideal(self, amounts: Mapping[int, int]) -> Fraction:
        """What the amounts would give at the marginal prices before fees."""
        channels, total = self.network.channels, Fraction(0)
        used = self.network.by_edge(amounts)
        for place in used[0]:
            total += channels[place].spot() * amounts[place]
        for via in self.network.vias:
            if not used[via.first]:
                continue
            arrives = sum((channels[place].spot() * amounts[place] for place in used[via.first]), Fraction(0))
            planned = sum(amounts[place] for place in used[via.second])
            gives = sum((channels[place].spot() * amounts[place] for place in used[via.second]), Fraction(0))
            total += gives * arrives / planned
        return total


def _decision(
    found: _Routes, chosen: Candidate, left_out: tuple[LeftOut, ...], called: Mapping[str, Token]
) -> Decision:
    venue_quotes = [found.candidate(route) for route in found.own.values()]
    improvement = _gain(venue_quotes[0], chosen) if venue_quotes else Decimal("0.00")
    second = runner_up(chosen, venue_quotes)
    if chosen.venue not in found.venues and len(venue_quotes) < 2:
        second = None
    over_other = _gain(second, chosen) if second else None
    keep = [chosen, *(c for c in venue_quotes if c != chosen)]
    for route in found.ranked:
        if len(keep) >= MAX_QUOTES:
            break
        candidate = found.candidate(route)
        if candidate not in keep:
            keep.append(candidate)
    mints = {mint for candidate in keep for leg in candidate.legs for mint in (leg.mint_in, leg.mint_out)}
    rank = {candidate.legs: number for number, candidate in enumerate(keep)}
    quotes = sorted(keep[:MAX_QUOTES], key=lambda c: (-c.net_out, len(c.legs), rank[c.legs]))
    gives = _amount(chosen.net_out, called.get(chosen.legs[-1].mint_out))
    reason = f"{_describe(chosen, called)} gives {gives} after all fees"
    if venue_quotes and improvement > 0:
        reason += f", {improvement} bps more than the best single venue ({_describe(venue_quotes[0], called)})"
    elif second is not None:
        reason += f", {over_other} bps more than {second.venue}"
    else:
        reason += ", the only venue that can fill it" if venue_quotes else "; no venue can fill it alone"
    return Decision(
        chosen,
        tuple(quotes),
        left_out,
        reason[0].upper() + reason[1:] + ".",
        improvement,
        over_other,
        found.fee.lamports(len(chosen.legs)),
        _gap(found.bound, chosen),
        tuple(called[mint] for mint in sorted(mints) if mint in called),
    )


def _gap(bound: float, chosen: Candidate) -> Decimal:
    """How much more than the chosen way any other can give, in basis points of its net output, rounded up."""
    whole = chosen.net_out if chosen.net_out > 0 else chosen.amount_out
    more = max(Fraction(0), Fraction(bound) - chosen.net_out) * BPS / whole
    return (Decimal(more.numerator) / Decimal(more.denominator)).quantize(_GAP_STEP, ROUND_CEILING)


def _bps(part: Fraction | int, whole: Fraction | int) -> Decimal:
    """``part / whole`` in basis points with two decimals; ``whole`` is positive."""
    ratio = Fraction(part) * BPS / Fraction(whole)
    return (Decimal(ratio.numerator) / Decimal(ratio.denominator)).quantize(_CENT, ROUND_HALF_EVEN)


def _gain(over: Candidate, chosen: Candidate) -> Decimal:
    """How much more net output ``chosen`` gives, in basis points of what the other gives (before the fee eats it)."""
    return _bps(chosen.net_out - over.net_out, over.net_out if over.net_out > 0 else over.amount_out)


def _absent(gone: Iterable[LeftOut]) -> str:
    return "".join(f" {one.venue} was left out: {one.reason}" for one in gone)


def _amount(units: int, token: Token | None) -> str:
    if token is None:
        return f"{units} base units"
    return f"{'-' if units < 0 else ''}{format_amount(abs(units), token)} {token.name}"


def _describe(c: Candidate, called: Mapping[str, Token]) -> str:
    if c.kind == "single":
        return f"one {c.venue} pool"
    if c.kind == "path":
        middle = called.get(c.legs[0].mint_out)
        return f"a path through {middle.name if middle else 'another token'} on {c.venue}"
    return f"a split over {len(c.legs)} pools of {c.venue}"
