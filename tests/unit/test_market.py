"""The paper market: the same world for every worker, with prices that behave like prices."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Pool
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT, Token
from order_engine.domain.venues import METEORA, RAYDIUM, VENUES
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import DlmmPool
from order_engine.venues.paper.market import _PERIODS_MS, PaperMarket
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.raydium.clmm import ClmmPool
from order_engine.venues.raydium.cpmm import CpmmPool

AT = 1_790_000_000_000
DAY_MS = 86_400_000
MARKET = PaperMarket(1)
PAIRS = list(combinations(TOKENS, 2))


def of_pair(x: Token, y: Token, at_ms: int, market: PaperMarket = MARKET) -> list[Pool]:
    return [pool for venue in VENUES for pool in market.pools(venue, x.mint, y.mint, at_ms)]


def digest() -> str:
    """A hash of every pool at several times; also run in another process."""
    text = "".join(
        repr(pool) for later in (0, 12_345, 7_654_321) for x, y in PAIRS for pool in of_pair(x, y, AT + later)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def test_another_process_sees_the_same_pools() -> None:
    script = "from tests.unit.test_market import digest; print(digest())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert other.stdout.strip() == digest()


def test_another_seed_is_another_market() -> None:
    one, two = of_pair(SOL, USDC, AT), of_pair(SOL, USDC, AT, PaperMarket(2))
    assert {pool.pool_id for pool in one}.isdisjoint(pool.pool_id for pool in two)
    assert [pool.spot(SOL.mint) for pool in one] != [pool.spot(SOL.mint) for pool in two]


def test_each_venue_has_its_own_kinds_of_pools() -> None:
    def kinds(venue: str) -> set[str]:
        return {pool.kind for x, y in PAIRS for pool in MARKET.pools(venue, x.mint, y.mint, AT)}

    assert kinds(RAYDIUM) == {"cpmm", "clmm"}
    assert kinds(METEORA) == {"dlmm", "damm2"}
    classes = {type(pool) for x, y in PAIRS for pool in of_pair(x, y, AT)}
    assert classes == {CpmmPool, ClmmPool, DlmmPool, Damm2Pool}


def test_every_pair_is_reachable_on_each_venue_directly_or_through_sol_or_usdc() -> None:
    for venue in VENUES:
        for x, y in PAIRS:
            ways = [(x, y)], [(x, SOL), (SOL, y)], [(x, USDC), (USDC, y)]
            assert any(all(MARKET.pools(venue, a.mint, b.mint, AT) for a, b in way if a != b) for way in ways), (x, y)


def test_a_pool_is_found_by_its_id_and_is_the_same_in_both_orders_of_the_pair() -> None:
    for pool in of_pair(BONK, SOL, AT):
        assert MARKET.pool(pool.pool_id, AT) == pool
    assert of_pair(SOL, BONK, AT) == of_pair(BONK, SOL, AT)
    assert MARKET.pool("nothing", AT) is None
    ids = [pool.pool_id for x, y in PAIRS for pool in of_pair(x, y, AT)]
    assert len(set(ids)) == len(ids)
    assert all(32 <= len(pool_id) <= 44 for pool_id in ids)


@pytest.mark.parametrize(
    ("of", "low", "high"),
    [(SOL, 110, 200), (JUP, 0.5, 1.2), (RAY, 2, 4.5), (BONK, 0.00001, 0.00004), (USDT, 0.995, 1.005), (USDC, 1, 1)],
)
def test_prices_stay_of_their_order_of_magnitude(of: Token, low: float, high: float) -> None:
    prices = [float(MARKET.price(of.mint, AT + k * 3_600_000)) for k in range(24 * 30)]
    assert low <= min(prices)
    assert max(prices) <= high


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 365 * DAY_MS), st.sampled_from([pair for pair in PAIRS if of_pair(*pair, AT)]))
def test_no_round_trip_between_two_pools_pays(later: int, pair: tuple[Token, Token]) -> None:
    x, y = pair
    pools = of_pair(x, y, AT + later)
    # Ten dollars: small enough not to move a price, large enough not to drown in rounding.
    start = int(10 / float(MARKET.price(x.mint, AT + later)) * x.unit)
    for there in pools:
        for back in pools:
            assert back.quote(y.mint, there.quote(x.mint, start)) < start


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 365 * DAY_MS), st.sampled_from([pair for pair in PAIRS if of_pair(*pair, AT)]))
def test_pools_stay_within_one_percent_of_the_price_outside(later: int, pair: tuple[Token, Token]) -> None:
    x, y = pair
    outside = float(MARKET.price(x.mint, AT + later) / MARKET.price(y.mint, AT + later))
    for pool in of_pair(x, y, AT + later):
        numerator, denominator = pool.spot(x.mint)
        assert numerator / denominator * x.unit / y.unit == pytest.approx(outside, rel=0.01)


@pytest.mark.parametrize("of", [SOL, BONK, JUP, RAY, USDT])
def test_a_price_does_not_jump_between_two_milliseconds(of: Token) -> None:
    # Five seconds hold every kind of corner of the fastest noise; the others have theirs where a period begins.
    moments = list(range(AT, AT + 5_000))
    for period in _PERIODS_MS:
        corner = (AT // period + 1) * period - period // 3
        moments += range(corner - 2, corner + 2)
    for at in moments:
        assert abs(float(MARKET.price(of.mint, at + 1) / MARKET.price(of.mint, at)) - 1) < 3e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30 * DAY_MS), st.sampled_from([pair for pair in PAIRS if of_pair(*pair, AT)]), st.booleans())
def test_larger_orders_get_a_worse_price(later: int, pair: tuple[Token, Token], turned: bool) -> None:
    x, y = reversed(pair) if turned else pair
    for pool in of_pair(x, y, AT + later):
        prices = []
        for usd in (100, 3_000, 100_000, 3_000_000):
            amount = int(usd / float(MARKET.price(x.mint, AT + later)) * x.unit)
            try:
                prices.append(pool.quote(x.mint, amount) / amount)
            except QuoteRefused:
                break
        assert prices
        # A part in 10^6 for the rounding of the smallest.
        assert all(b <= a * (1 + 1e-6) for a, b in pairwise(prices))


def returns_bps(of: Token, stormy: bool) -> list[float]:
    """Price changes over a landing of 2.5 s, in the weather asked for."""
    found = []
    for k in range(4_000):
        at = AT + k * 31_000
        if MARKET.storm(at) == (1000 if stormy else 0):
            found.append(abs(float(MARKET.price(of.mint, at + 2_500) / MARKET.price(of.mint, at)) - 1) * 10_000)
    return found


def test_storms_are_rare_and_move_prices_several_times_as_much() -> None:
    calm, stormy = returns_bps(SOL, stormy=False), returns_bps(SOL, stormy=True)
    assert 0.05 < len(stormy) / (len(calm) + len(stormy)) < 0.3
    assert 3 < statistics.fmean(stormy) / statistics.fmean(calm) < 8
    # SOL moves by one or two basis points within a landing, BONK by more.
    assert 0.5 < statistics.fmean(calm) < 3
    assert statistics.fmean(returns_bps(BONK, stormy=False)) > 1.3 * statistics.fmean(calm)


def test_tokens_follow_sol() -> None:
    sol = [float(MARKET.price(SOL.mint, AT + k * 600_000)) for k in range(500)]
    jup = [float(MARKET.price(JUP.mint, AT + k * 600_000)) for k in range(500)]
    moves = [[b / a - 1 for a, b in pairwise(of)] for of in (sol, jup)]
    assert statistics.correlation(*moves) > 0.3


def test_each_venue_is_the_better_one_now_and_then() -> None:
    best = []
    for k in range(300):
        at = AT + k * 97_000
        amount = 50 * SOL.unit
        quotes = {v: max(p.quote(SOL.mint, amount) for p in MARKET.pools(v, SOL.mint, USDC.mint, at)) for v in VENUES}
        best.append(max(VENUES, key=lambda v: quotes[v]))
    assert 0.1 < best.count(RAYDIUM) / len(best) < 0.9


def test_a_lively_price_raises_the_variable_fee_of_bins() -> None:
    def dearest(stormy: bool) -> float:
        worst = 0.0
        for k in range(2_000):
            at = AT + k * 31_000
            if MARKET.storm(at) != (1000 if stormy else 0):
                continue
            pool = next(p for p in MARKET.pools(METEORA, SOL.mint, USDC.mint, at) if isinstance(p, DlmmPool))
            rate = pool.parameters.fee_rate(pool.volatility.accumulator, pool.bin_step)
            worst = max(worst, rate / 10**5)
        return worst

    calm, stormy = dearest(stormy=False), dearest(stormy=True)
    assert stormy > calm > 4


def test_building_a_venues_pools_of_a_pair_takes_well_under_two_milliseconds() -> None:
    taken = []
    for k in range(60):
        began = time.process_time_ns()
        MARKET.pools(METEORA, SOL.mint, USDC.mint, AT + k * 1_013)
        taken.append((time.process_time_ns() - began) / 1e6)
    assert statistics.median(taken) < 2
