"""The router: best net output over single pools, paths and splits, and a decision that explains itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain, combinations, permutations
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.networks import Case, all_pools, market_case, network_case
from bench.optimum import Optimum, optimum
from bench.routing import (
    TOLERATED_BPS,
    TOLERATED_UNITS,
    References,
    Tally,
    broken_promises,
    compare,
    examine,
    numbered,
    proved,
)
from bench.routing import route as routed
from order_engine.domain.errors import NoRoute, PriceImpactTooHigh, QuoteRefused
from order_engine.domain.quote import Decision, LeftOut, Pool
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT, Token
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.routing.decide import MAX_QUOTES, decide
from order_engine.engine.routing.search import MAX_LEGS
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.raydium.cpmm import CpmmPool

# How many cases are compared with the best of all routes; `make routing-proof` compares as many as one likes.
CASES = 200
MARKET = PaperMarket(7)
AT = 1_790_000_000_000


@dataclass(frozen=True, slots=True)
class Flat:
    """A pool with one price for everything up to a capacity."""

    pool_id: str
    venue: str
    mints: tuple[str, str]
    price: tuple[int, int]
    capacity: int = 10**18
    kind: str = "flat"

    def quote(self, mint_in: str, amount_in: int) -> int:
        numerator, denominator = self.spot(mint_in)
        out = amount_in * numerator // denominator
        if amount_in > self.capacity or not out:
            raise QuoteRefused("No.")
        return out

    def spot(self, mint_in: str) -> tuple[int, int]:
        numerator, denominator = self.price
        return (numerator, denominator) if mint_in == self.mints[0] else (denominator, numerator)


def flat(pool_id: str, venue: str, x: Token, y: Token, price: tuple[int, int], capacity: int = 10**18) -> Flat:
    return Flat(pool_id, venue, (x.mint, y.mint), price, capacity)


def route(
    pools: list[Pool],
    amount_in: int,
    *,
    x: Token = USDC,
    y: Token = SOL,
    left_out: tuple[LeftOut, ...] = (),
    ceiling: int = 10_000,
    per_leg: int = 10_000,
) -> Decision:
    return decide(
        pools,
        mint_in=x.mint,
        mint_out=y.mint,
        amount_in=amount_in,
        left_out=left_out,
        max_price_impact_bps=ceiling,
        lamports_per_leg=per_leg,
    )


def check_shape(decision: Decision, x: Token, y: Token, amount_in: int) -> None:
    """What holds for every decision: the amounts of the legs add up, in every token, for every candidate."""
    assert decision.chosen == decision.quotes[0]
    assert len(decision.quotes) <= MAX_QUOTES
    nets = [c.net_out for c in decision.quotes]
    assert nets == sorted(nets, reverse=True)
    for candidate in decision.quotes:
        assert 1 <= len(candidate.legs) <= MAX_LEGS
        assert candidate.price_impact_bps >= 0
        held = {x.mint: amount_in}
        for leg in candidate.legs:
            assert leg.amount_in > 0
            assert leg.amount_out > 0
            held[leg.mint_in] = held.get(leg.mint_in, 0) - leg.amount_in
            assert held[leg.mint_in] >= 0
            held[leg.mint_out] = held.get(leg.mint_out, 0) + leg.amount_out
        assert held.pop(y.mint) == candidate.amount_out
        assert set(held.values()) == {0}


@pytest.mark.parametrize(("x", "y"), [(SOL, USDC), (JUP, USDC), (BONK, RAY), (USDC, SOL)])
def test_no_two_candidates_use_the_same_pools(x: Token, y: Token) -> None:
    """Of a small order's ways to a huge one's: a set of pools is listed once, with its best division."""
    pools, kinds = all_pools(MARKET, x, y, AT), set()
    for magnitude in range(1, 15):
        amount = max(1, int(10 ** (magnitude / 2) / float(MARKET.price(x.mint, AT)) * x.unit))
        try:
            decision = route(pools, amount, x=x, y=y)
        except NoRoute:
            break
        used = [frozenset(leg.pool_id for leg in candidate.legs) for candidate in decision.quotes]
        assert len(set(used)) == len(used) > 1
        kinds |= {candidate.kind for candidate in decision.quotes}
    assert "split" in kinds


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(a, b) for a in TOKENS for b in TOKENS if a != b]),
    st.integers(0, 86_400_000),
    st.floats(-2, 6.5),
    st.randoms(use_true_random=False),
)
def test_a_decision_adds_up_is_never_worse_than_one_pool_and_does_not_depend_on_the_order(
    pair: tuple[Token, Token], later: int, magnitude: float, shuffle: random.Random
) -> None:
    x, y = pair
    at = AT + later
    pools = all_pools(MARKET, x, y, at)
    amount = max(1, int(10**magnitude / float(MARKET.price(x.mint, at)) * x.unit))
    try:
        decision = route(pools, amount, x=x, y=y)
    except NoRoute:
        for pool in pools:
            if set(pool.mints) == {x.mint, y.mint}:
                with pytest.raises(QuoteRefused):
                    pool.quote(x.mint, amount)
        return
    check_shape(decision, x, y, amount)
    by_id = {pool.pool_id: pool for pool in pools}
    for leg in decision.chosen.legs:
        assert by_id[leg.pool_id].quote(leg.mint_in, leg.amount_in) == leg.amount_out
    one_leg = next((c.amount_out - c.net_out for c in decision.quotes if len(c.legs) == 1), 0)
    for pool in pools:
        if set(pool.mints) == {x.mint, y.mint}:
            try:
                alone = pool.quote(x.mint, amount)
            except QuoteRefused:
                continue
            assert decision.chosen.net_out >= alone - one_leg
    shuffle.shuffle(pools)
    assert route(pools, amount, x=x, y=y) == decision


def equal_price_optimum(case: Case) -> float:
    """The best output of constant-product pools in closed form, real-valued: every set of at most four of them.

    At the optimum a * b / (b + x)^2 is the same for all, for curves a * x / (b + x); idle ones are dropped.
    """
    curves = []
    for pool in case.pools:
        assert isinstance(pool, CpmmPool)
        side = pool.mints.index(case.mint_in)
        curves.append((float(pool.reserves[1 - side]), pool.reserves[side] / (1 - pool.trade_fee_rate / 10**6)))
    best = 0.0
    for chosen in chain.from_iterable(combinations(curves, n) for n in range(1, MAX_LEGS + 1)):
        active = list(chosen)
        while True:
            root = (case.amount_in + sum(b for _, b in active)) / sum(sqrt(a * b) for a, b in active)
            kept = [(a, b) for a, b in active if sqrt(a * b) * root > b]
            if len(kept) == len(active):
                break
            active = kept
        best = max(best, sum(a - sqrt(a * b) / root for a, b in active))
    return best


@pytest.mark.parametrize("seed", range(CASES // 10))
def test_the_reference_and_the_router_reach_the_closed_form_and_not_more(seed: int) -> None:
    rng = random.Random(seed)
    pools: list[Pool] = []
    for number in range(8):
        size = int(10 ** rng.uniform(11, 15))
        other = int(size * 0.8 * (1 + rng.uniform(-0.002, 0.002)))
        pools.append(
            CpmmPool(f"pool{number}", (JUP.mint, RAY.mint), (size, other), rng.choice((100, 2_500, 10_000)), 0, 0)
        )
    # Nothing prices SOL in RAY here, so the network fee counts as zero.
    case = Case(tuple(pools), JUP.mint, RAY.mint, int(10 ** rng.uniform(9, 14)))
    most, best, decision = equal_price_optimum(case), optimum(case), routed(case)
    assert best is not None
    assert decision is not None
    for net_out in (best.net_out, decision.chosen.net_out):
        assert most * (1 - 1e-8) - 8 <= net_out <= most * (1 + 1e-12)


@pytest.mark.parametrize(("first", "last"), [(0, CASES // 5), (50_000, 50_000 + CASES // 5)])
def test_decisions_are_the_best_of_all_routes_and_say_how_far_from_it_they_can_be(first: int, last: int) -> None:
    tables: dict[str, Tally] = {}
    for number in range(first, last):
        examine(number, tables)
    assert len(tables) > 3
    for tally in tables.values():
        assert tally.refused_falsely == 0
        assert tally.gap_too_small == []
        assert tally.broken == []
        assert tally.missed == []
        assert tally.cases > tally.refused + tally.heavy


# In the first, outputs of a pool would not fit in an account; in the second, another pool takes the few units that let
# an intermediate token arrive whole; in the third, two pools share some thousand units of an intermediate token, and
# the best sum of them is 5 % away. In the next two, there are many pools of which one makes most of the last units. In
# the others, few units of an intermediate token arrive, and the best number of them is up to a third away from the one
# that real numbers say.
@pytest.mark.parametrize(
    "number",
    [
        10_540,
        10_032,
        2_056,
        12_198,
        13_084,
        4_416,
        17_302,
        26_022,
        26_686,
        33_966,
        46_440,
        48_396,
        59_590,
        61_210,
        69_188,
        77_068,
        88_920,
        93_012,
        94_922,
    ],
)
def test_cases_that_were_once_far_from_the_best(number: int) -> None:
    tables: dict[str, Tally] = {}
    examine(number, tables)
    (tally,) = tables.values()
    assert (tally.missed, tally.gap_too_small, tally.broken) == ([], [], [])


@pytest.mark.parametrize(("proves", "asks"), [(True, 0), (False, 3)])
def test_the_reference_need_not_be_asked_where_a_decision_proves_itself(
    proves: bool, asks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Case] = []

    def counted(case: Case) -> Optimum | None:
        asked.append(case)
        return optimum(case)

    monkeypatch.setattr("bench.routing.optimum", counted)
    monkeypatch.setattr("bench.routing.proved", lambda _: proves)
    for number in range(3):
        examine(number, {}, unproved=True)
    assert len(asked) == asks
    # Nothing fills it, and who is to say so is the reference.
    monkeypatch.setattr("bench.routing.route", lambda _: None)
    examine(0, {}, unproved=True)
    assert len(asked) == asks + 1


def test_the_comparison_notices_what_is_wrong() -> None:
    rng = random.Random(1)
    case = market_case(rng, MARKET, lambda _: 50_000.0)
    decision, best = routed(case), optimum(case)
    assert decision is not None
    assert best is not None
    assert broken_promises(case, decision, rng) == []
    leg = decision.chosen.legs[0]
    short = replace(leg, amount_in=leg.amount_in - 1)
    wrong = replace(decision.chosen, legs=(short, *decision.chosen.legs[1:]))
    assert "the legs do not add up" in broken_promises(case, replace(decision, quotes=(wrong,)), rng)
    worse = replace(
        decision.chosen, net_out=int(decision.chosen.net_out * (1 - 2 * TOLERATED_BPS / 10_000)) - TOLERATED_UNITS
    )
    tally = Tally()
    assert proved(decision)
    assert not proved(replace(decision, optimality_gap_bps=Decimal("0.0101")))
    tally.add(7, replace(decision, chosen=worse), best, [])
    assert tally.missed == [7]
    assert tally.gap_too_small == [7]
    tally.add(8, None, best, ["a promise"])
    assert tally.refused_falsely == 1
    assert tally.broken == ["8: a promise"]


def test_what_the_reference_found_is_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "optimum.jsonl"
    made = References(path)
    first = [made.of(number) for number in range(3)]
    best = optimum(numbered(0)[1])
    assert best is not None
    assert first[0] is not None
    assert (first[0].net_out, first[0].impact_bps) == (best.net_out, best.impact_bps)
    # The last line was not written whole.
    path.write_text(path.read_text() + "[1")
    with monkeypatch.context() as context:
        context.setattr("bench.routing.optimum", lambda _: pytest.fail("It is known."))
        again = References(path)
        assert [again.of(number) for number in range(3)] == first
    assert again.of(3) is not None
    assert len(path.read_text().splitlines()) == 1 + 4
    # Other sources that find the same, and others that do not.
    monkeypatch.setattr("bench.routing._sources", lambda: "other mathematics")
    assert References(path).of(1) == first[1]
    assert path.read_text().startswith("other mathematics\n")
    monkeypatch.setattr("bench.routing._sources", lambda: "mathematics that find more")
    monkeypatch.setattr("bench.routing.optimum", lambda case: replace(best, net_out=best.net_out + 1))
    with pytest.raises(ValueError, match="see case 0"):
        References(path)


def test_several_processes_find_what_one_does_and_go_on_where_another_stopped(tmp_path: Path) -> None:
    alone = compare(4, None)
    state, references = tmp_path / "state.json", tmp_path / "optimum.jsonl"
    compare(1, state, references)
    assert compare(4, state, references, workers=2) == alone
    assert len(references.read_text().splitlines()) == 1 + 4


def test_the_reference_refuses_what_no_pool_fills_and_takes_network_cases_of_any_size() -> None:
    flats = (flat("a", RAYDIUM, USDC, SOL, (7, 1), 600), flat("b", METEORA, USDC, SOL, (6, 1), 500))
    best = optimum(Case(flats, USDC.mint, SOL.mint, 1_100))
    assert best is not None
    assert best.amounts == {0: 600, 1: 500}
    assert optimum(Case(flats, USDC.mint, SOL.mint, 1_101)) is None
    sizes = {len(network_case(random.Random(seed)).pools) for seed in range(60)}
    assert min(sizes) < 12
    assert max(sizes) > 20


def test_equal_pools_are_tied_and_the_tie_goes_to_the_first_venue_and_the_lower_id() -> None:
    price = (1_000, 150)
    pools: list[Pool] = [
        flat("aaa", METEORA, USDC, SOL, price),
        flat("zzz", RAYDIUM, USDC, SOL, price),
        flat("mmm", RAYDIUM, USDC, SOL, price),
    ]
    decision = route(pools, 10**9)
    assert [(leg.venue, leg.pool_id) for leg in decision.chosen.legs] == [(RAYDIUM, "mmm")]
    assert decision.improvement_bps == 0
    assert decision.improvement_over_other_bps == 0


def test_a_second_leg_must_earn_its_network_fee() -> None:
    # 1 000 USDC; the better pool takes half of them and gives 50 000 lamports more on it than the other.
    pools: list[Pool] = [
        flat("deep", RAYDIUM, USDC, SOL, (7, 1)),
        flat("better", METEORA, USDC, SOL, (70_001, 10_000), 500 * USDC.unit),
    ]
    cheap = route(pools, 1_000 * USDC.unit, per_leg=10_000)
    assert cheap.chosen.kind == "split"
    assert cheap.chosen.net_out == cheap.chosen.amount_out - 25_000
    assert cheap.network_fee_lamports == 25_000
    dear = route(pools, 1_000 * USDC.unit, per_leg=60_000)
    assert dear.chosen.kind == "single"
    assert dear.network_fee_lamports == 65_000


def test_a_path_must_earn_its_second_leg_too() -> None:
    direct = flat("direct", RAYDIUM, JUP, SOL, (5_000, 1_000))
    pools: list[Pool] = [
        direct,
        flat("in", METEORA, JUP, USDC, (8_000, 10_000)),
        flat("out", METEORA, USDC, SOL, (62_501, 10_000)),
    ]
    # The path gives 0.08 lamports more per thousand base units of JUP.
    small = route(pools, 100 * JUP.unit, x=JUP)
    assert small.chosen.kind == "single"
    large = route(pools, 10_000 * JUP.unit, x=JUP)
    assert large.chosen.kind == "path"
    assert large.chosen.venue == METEORA
    assert [leg.mint_out for leg in large.chosen.legs] == [USDC.mint, SOL.mint]
    assert large.chosen.legs[1].amount_in == large.chosen.legs[0].amount_out


def test_the_network_fee_is_expressed_in_the_output_token_at_the_median_price() -> None:
    pools: list[Pool] = [
        flat("a", RAYDIUM, SOL, USDC, (150, 1_000)),
        flat("b", METEORA, SOL, USDC, (149, 1_000)),
        # An absurd price does not make the fee absurd.
        flat("c", METEORA, SOL, USDC, (9, 1_000_000)),
    ]
    decision = route(pools, SOL.unit, x=SOL, y=USDC)
    assert decision.chosen.amount_out - decision.chosen.net_out == 15_000 * 149 // 1_000
    # For JUP the fee goes through USDC: 15 000 lamports are 2 250 units of USDC, and those 2 812.5 of JUP.
    via: list[Pool] = [
        flat("a", RAYDIUM, SOL, USDC, (150, 1_000)),
        flat("d", RAYDIUM, USDC, JUP, (125, 100)),
    ]
    decision = route(via, 100 * USDC.unit, x=USDC, y=JUP)
    assert decision.chosen.amount_out - decision.chosen.net_out == 2_813


def test_an_order_that_no_pool_can_fill_alone_is_divided() -> None:
    pools: list[Pool] = [
        flat("a", RAYDIUM, USDC, SOL, (7, 1), 600),
        flat("b", METEORA, USDC, SOL, (6, 1), 500),
    ]
    decision = route(pools, 1_000, per_leg=0)
    assert {leg.pool_id: leg.amount_in for leg in decision.chosen.legs} == {"a": 600, "b": 400}
    assert decision.improvement_bps == 0
    assert decision.improvement_over_other_bps is None
    assert "no venue can fill it alone" in decision.reason
    with pytest.raises(NoRoute):
        route(pools, 1_101)


def test_a_path_whose_second_edge_is_divided_fills_what_single_pools_cannot() -> None:
    pools: list[Pool] = [
        flat("in", RAYDIUM, JUP, USDC, (8, 10)),
        flat("one", RAYDIUM, USDC, SOL, (7, 1), 500 * USDC.unit),
        flat("two", METEORA, USDC, SOL, (6, 1), 400 * USDC.unit),
    ]
    decision = route(pools, 1_000 * JUP.unit, x=JUP)
    check_shape(decision, JUP, SOL, 1_000 * JUP.unit)
    legs = {leg.pool_id: leg.amount_in for leg in decision.chosen.legs}
    assert set(legs) == {"in", "one", "two"}
    # The end of a pool is found to one part in 2^26.
    assert 500 * USDC.unit - 16 <= legs["one"] <= 500 * USDC.unit
    assert decision.chosen.kind == "split"


def test_without_any_way_the_reason_names_who_was_left_out() -> None:
    with pytest.raises(NoRoute, match="meteora was left out: No answer within 5 ms"):
        route([], 1_000, left_out=(LeftOut(METEORA, "No answer within 5 ms."),))


def test_a_route_above_the_impact_ceiling_is_refused_with_both_numbers() -> None:
    pool = CpmmPool("thin", (USDC.mint, SOL.mint), (10**9, 10**10), 0, 0, 0)
    # A tenth of the reserve: out = R / 11, that is 1 / 1.1 of the marginal price.
    assert route([pool], 10**8).chosen.price_impact_bps == Decimal("909.09")
    with pytest.raises(PriceImpactTooHigh, match=r"909\.09 bps .* at most 900 bps"):
        route([pool], 10**8, ceiling=900)


def test_the_impact_of_a_path_counts_on_both_legs() -> None:
    first = CpmmPool("first", (JUP.mint, USDC.mint), (10**9, 10**9), 0, 0, 0)
    second = CpmmPool("second", (USDC.mint, SOL.mint), (10**9, 10**9), 0, 0, 0)
    decision = route([first, second], 10**8, x=JUP)
    out = 10**9 * 90_909_090 // (10**9 + 90_909_090)
    assert decision.chosen.amount_out == out
    assert decision.chosen.price_impact_bps == Decimal("1666.67")


def test_the_improvement_is_measured_against_each_venues_own_quote() -> None:
    pools: list[Pool] = [
        flat("a", RAYDIUM, USDC, SOL, (700, 100)),
        flat("b", METEORA, USDC, SOL, (690, 100)),
    ]
    decision = route(pools, 1_000 * USDC.unit, per_leg=0)
    assert decision.chosen.venue == RAYDIUM
    assert decision.improvement_bps == 0
    # (7 000 000 000 - 5 000) / (6 900 000 000 - 5 000) is 144.93 bps above one.
    assert decision.improvement_over_other_bps == Decimal("144.93")
    assert {c.venue for c in decision.quotes} == {RAYDIUM, METEORA}
    assert decision.runner_up is not None
    assert decision.runner_up.venue == METEORA
    assert decision.reason == "One raydium pool gives 6.999995 SOL after all fees, 144.93 bps more than meteora."


@pytest.mark.parametrize(("best", "second", "third"), list(permutations((RAYDIUM, METEORA, "a third"), 3)))
def test_the_runner_up_is_the_best_of_those_that_are_not_used(best: str, second: str, third: str) -> None:
    places = {best: 700, second: 690, third: 680}
    pools: list[Pool] = [flat(venue, venue, USDC, SOL, (price, 100)) for venue, price in sorted(places.items())]
    decision = route(pools, 1_000 * USDC.unit, per_leg=0)
    assert decision.chosen.venue == best
    assert decision.runner_up is not None
    assert decision.runner_up.venue == second
    assert decision.improvement_over_other_bps == Decimal("144.93")
    assert decision.reason.endswith(f"144.93 bps more than {second}.")


def test_without_another_venues_quote_there_is_no_runner_up() -> None:
    decision = route([flat("a", RAYDIUM, USDC, SOL, (700, 100))], 1_000 * USDC.unit)
    assert decision.improvement_over_other_bps is None
    assert decision.runner_up is None


def test_the_same_mint_or_no_amount_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="positive amount"):
        route([], 0)
    with pytest.raises(ValueError, match="two different mints"):
        route([], 5, x=SOL, y=SOL)


@pytest.mark.parametrize("amount", [1, 2, 999, 10**18])
def test_amounts_at_the_ends_of_the_range_are_decided_or_refused(amount: int) -> None:
    pools = all_pools(MARKET, BONK, USDT, AT)
    try:
        decision = route(pools, amount, x=BONK, y=USDT)
    except NoRoute:
        return
    check_shape(decision, BONK, USDT, amount)


def test_a_large_order_between_two_lesser_tokens_is_divided_over_paths() -> None:
    decision = route(all_pools(MARKET, JUP, RAY, AT), 125_000 * JUP.unit, x=JUP, y=RAY)
    check_shape(decision, JUP, RAY, 125_000 * JUP.unit)
    assert decision.chosen.kind == "split"
    assert decision.improvement_bps > 5
