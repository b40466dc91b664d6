"""What the certificate rests on: supply curves, a search for the minimum, and a bound above every route."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.networks import Case, network_case
from order_engine.domain.quote import Curve, Piece
from order_engine.engine.routing.bound import Family, minimum
from order_engine.engine.routing.descent import Descent
from order_engine.engine.routing.ladder import Ladder, sampled
from order_engine.engine.routing.network import Network

MOST = 1e12


@st.composite
def curves(draw: st.DrawFn) -> list[Piece]:
    """Concave: prices that fall within and from piece to piece, straight pieces and bent ones."""
    price = 10 ** draw(st.floats(-6, 6))
    pieces = []
    for _ in range(draw(st.integers(1, 6))):
        size = 10 ** draw(st.floats(1, 10))
        bend = draw(st.just(0.0) | st.floats(0.01, 10)) / size
        pieces.append(Piece(price, bend, size))
        price *= draw(st.floats(0.3, 1.0)) / (1 + bend * size) ** 2
    return pieces


def along(pieces: list[Piece], amount: float) -> float:
    out = 0.0
    for price, bend, size in pieces:
        part = min(size, amount)
        out += price * part / (1 + bend * part)
        amount -= part
    return out


@given(curves(), st.floats(-8, 8), st.lists(st.floats(0, 1.2), min_size=20, max_size=20), st.floats(0.1, 1.5))
def test_no_amount_makes_more_profit_than_the_offer(
    pieces: list[Piece], magnitude: float, parts: list[float], share: float
) -> None:
    total = sum(piece.size for piece in pieces)
    most = total * share
    ladder = Ladder(Curve(iter(pieces)), 0, 0, most)
    price = 10**magnitude
    profit, takes, gives, _ = ladder.at(price, 1 / sqrt(price))
    assert 0 <= takes <= most * (1 + 1e-12)
    assert gives == pytest.approx(along(pieces, takes), rel=1e-9, abs=1e-9)
    assert profit == pytest.approx(gives - price * takes, rel=1e-9, abs=1e-6 * gives)
    for part in parts:
        amount = min(most, total * part)
        assert along(pieces, amount) - price * amount <= profit + 1e-9 * along(pieces, amount)


@given(curves(), st.floats(0.01, 1.5))
def test_a_ladder_gives_what_its_curve_gives(pieces: list[Piece], part: float) -> None:
    total = sum(piece.size for piece in pieces)
    ladder = Ladder(Curve(iter(pieces)), 0, 0, 2 * total)
    assert ladder.gives(total * part) == pytest.approx(along(pieces, total * part), rel=1e-9)
    assert ladder.capacity() == pytest.approx(total)
    assert along(pieces, ladder.takes_for(along(pieces, total * part))) == pytest.approx(along(pieces, total * part))


def test_idle_input_and_a_toll_cost_the_offer_its_profit() -> None:
    plain = Ladder(Curve([Piece(2.0, 1e-6, 1e6)]), 0, 0, MOST)
    taxed = Ladder(Curve([Piece(2.0, 1e-6, 1e6)], idle=1_000, toll=50), 0, 0, MOST)
    profit, takes, gives, growth = plain.at(1.0, 1.0)
    assert taxed.at(1.0, 1.0) == pytest.approx((profit - 1_050, takes + 1_000, gives - 50, growth))


@given(curves(), st.floats(0.05, 1.0), st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_a_sampled_pool_is_bounded_from_above(pieces: list[Piece], share: float, parts: list[float]) -> None:
    most = max(1, int(sum(piece.size for piece in pieces) * share))

    def quote(amount: int) -> int:
        return int(along(pieces, amount))

    curve = sampled(quote, pieces[0].price, most)
    found = list(curve.pieces)
    assert [piece.price for piece in found] == sorted((piece.price for piece in found), reverse=True)
    ladder = Ladder(Curve(found), 0, 0, float(most))
    for part in parts:
        amount = int(most * part)
        assert quote(amount) <= ladder.gives(amount) * (1 + 1e-9) + 1e-6


@dataclass
class At:
    where: float
    value: float
    slope: float
    growth: float


@given(st.floats(-5, 5), st.floats(-7, 7), st.floats(0.5, 1e6))
def test_a_smooth_minimum_is_found(at: float, start: float, scale: float) -> None:
    # The root of the price and its inverse, weighed: Newton's step in the inverse is exact.
    target = 10**at

    def value(price: float) -> At:
        slope = scale * (1 - sqrt(target / price))
        return At(price, scale * (sqrt(price) - sqrt(target)) ** 2, slope, scale * sqrt(target))

    search = Descent(value, 1e-9, 1e9, 10**start)
    search.run(-inf, 1e-12 * scale * target)
    assert search.best.value <= 1e-8 * scale * target


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3)), min_size=2, max_size=12, unique_by=lambda line: line[1]
    ),
    st.floats(-3, 3),
)
def test_a_minimum_between_straight_lines_is_found(lines: list[tuple[float, float]], start: float) -> None:
    def value(price: float) -> At:
        best = max((height + slope * price, slope) for height, slope in lines)
        return At(price, best[0], best[1], 0.0)

    low, high = 1e-4, 1e4
    search = Descent(value, low, high, 10**start)
    search.run(-inf, 1e-7)
    corners = [low, high]
    for (a, s), (b, t) in pairwise(sorted(lines, key=lambda line: line[1])):
        corners.append(min(high, max(low, (a - b) / (t - s))))
    every = [(a - b) / (t - s) for a, s in lines for b, t in lines if s != t]
    least = min(value(min(high, max(low, price))).value for price in [*corners, *every])
    assert search.best.value <= least + 1e-3 + 1e-6 * abs(least)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_division_gives_more_than_the_bound_of_its_family(seed: int, choice: int) -> None:
    """Any division in whole base units over any pools of a family, however unwise."""
    case: Case = network_case(random.Random(seed))
    network = Network(case.pools, case.mint_in, case.mint_out, case.amount_in)
    rng = random.Random(choice)
    via = rng.choice([None, *network.vias])
    edges = [0] if via is None else [0, via.first, via.second]
    rooms = tuple(min(4, len(edge)) if number in edges else 0 for number, edge in enumerate(network.edges))
    family = Family(
        rooms,
        tuple(() for _ in rooms),
        tuple(edge if room else () for edge, room in zip(network.edges, rooms, strict=True)),
    )
    fee = rng.choice((0.0, 10.0 ** rng.randint(0, 6)))
    bound = minimum(network, family, fee, -inf).bound
    for _ in range(20):
        used: list[tuple[int, int]] = []
        for number in edges[:2]:
            members = sorted({ladder.channel for ladder in network.edges[number]})
            used += [(number, place) for place in rng.sample(members, min(len(members), rng.randint(0, rooms[number])))]
        if not used:
            continue
        cuts = sorted(rng.randint(0, case.amount_in) for _ in used[1:])
        ends = [0, *cuts, case.amount_in]
        parts = {place: b - a for (_, place), (a, b) in zip(used, pairwise(ends), strict=True)}
        gives = {place: network.channels[place].quote(amount) for place, amount in parts.items()}
        if any(parts[place] and not gives[place] for place in parts):
            continue
        out = sum(gives[place] for number, place in used if number == 0)
        legs = sum(1 for amount in parts.values() if amount)
        arrives = sum(gives[place] for number, place in used if number)
        if arrives and via is not None:
            last = rng.choice(sorted({ladder.channel for ladder in network.edges[via.second]}))
            sold = network.channels[last].quote(arrives)
            if not sold:
                continue
            out, legs = out + sold, legs + 1
        assert out - fee * legs <= bound * (1 + 1e-12) + 1e-6
