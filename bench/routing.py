"""How fast the router decides, and how far its decisions are from the optimum.

``python -m bench.routing [--cases N] [--seed N] [--json FILE]``

Speed: CPU milliseconds of one decision, pools fresh as a venue would give them (their tables are built within).

Optimality: the net output is compared with references that know nothing of the router's method.

- ``cpmm``: eight constant-product pools of random depth, price and fee. Every set of at most four of them is solved
  in closed form (equal marginal prices), real-valued and therefore an upper bound for integers; the best set counts.
- ``network``: two direct pools and two on each edge of a path, all constant-product. Every set of at most four
  pools; the flow through the path by ternary search over closed forms.
- ``market``: the paper market's own pools of a pair (constant product, concentrated liquidity, bins) at random
  times. Every set of at most four; each pool sampled in 2000 steps, which are taken from the best price on.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, combinations
from math import sqrt
from pathlib import Path

from order_engine.domain.amounts import BONK, JUP, RAY, SOL, USDC, USDT, Token
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import METEORA, RAYDIUM, Pool
from order_engine.engine.routing.decide import decide
from order_engine.engine.routing.fee import LAMPORTS_PER_LEG, LAMPORTS_PER_SIGNATURE
from order_engine.engine.routing.network import INTERMEDIATES
from order_engine.engine.routing.search import MAX_LEGS
from order_engine.venues.cpmm import CpmmPool
from order_engine.venues.market import PaperMarket

_EPOCH_MS = 1_790_000_000_000
_NO_CEILING = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """A swap to route: base units."""

    pools: tuple[Pool, ...]
    mint_in: str
    mint_out: str
    amount_in: int


def _cpmm(rng: random.Random, name: str, x: Token, y: Token, price: float, usd_x: float) -> CpmmPool:
    """A constant-product pool at about a price (whole y per whole x), both sides worth the same."""
    whole_x = 10 ** rng.uniform(3.5, 7) / usd_x
    wander = 1 + rng.uniform(-0.002, 0.002)
    reserves = int(whole_x * x.unit), int(whole_x * price * wander * y.unit)
    return CpmmPool(name, (x.mint, y.mint), reserves, rng.choice((100, 500, 2_500, 10_000)), 120_000, 40_000)


def cpmm_case(rng: random.Random) -> Case:
    """Eight pools of SOL and USDC; from 1 to 30 000 SOL or USDC worth as much."""
    pools = tuple(_cpmm(rng, f"pool{i}", SOL, USDC, 150, 150) for i in range(8))
    whole = 10 ** rng.uniform(0, 4.5)
    if rng.random() < 0.5:
        return Case(pools, SOL.mint, USDC.mint, int(whole * SOL.unit))
    return Case(pools, USDC.mint, SOL.mint, int(whole * 150 * USDC.unit))


def network_case(rng: random.Random) -> Case:
    """JUP to USDC over two direct pools and two each into and out of SOL; from 100 to 1 000 000 JUP."""
    pools = [_cpmm(rng, f"direct{i}", JUP, USDC, 0.8, 0.8) for i in range(2)]
    pools += [_cpmm(rng, f"first{i}", JUP, SOL, 0.8 / 150, 0.8) for i in range(2)]
    pools += [_cpmm(rng, f"second{i}", SOL, USDC, 150, 150) for i in range(2)]
    return Case(tuple(pools), JUP.mint, USDC.mint, int(10 ** rng.uniform(2, 6) * JUP.unit))


def market_case(rng: random.Random, market: PaperMarket) -> Case:
    """The market's direct pools of a pair at some time; from 10 to 1 000 000 USD."""
    x, y = rng.choice(((SOL, USDC), (BONK, SOL), (JUP, USDC), (RAY, USDC), (USDC, USDT), (SOL, USDT)))
    if rng.random() < 0.5:
        x, y = y, x
    at = _EPOCH_MS + rng.randrange(86_400_000)
    pools = tuple(chain.from_iterable(market.pools(v, x.mint, y.mint, at) for v in (RAYDIUM, METEORA)))
    whole = 10 ** rng.uniform(1, 6) / float(market.price(x.mint, at))
    return Case(pools, x.mint, y.mint, int(whole * x.unit))


def all_pools(market: PaperMarket, x: Token, y: Token, at_ms: int) -> list[Pool]:
    """What both venues give for a pair: direct pools and those through the intermediate tokens."""
    pairs = [(x.mint, y.mint)]
    for middle in INTERMEDIATES:
        if middle not in (x.mint, y.mint):
            pairs += [(x.mint, middle), (middle, y.mint)]
    return [pool for venue in (RAYDIUM, METEORA) for pair in pairs for pool in market.pools(venue, *pair, at_ms)]


# The references. A curve out = a * x / (b + x) is given by (a, b): a = reserve out, b = reserve in over 1 - fee.


def _curve(pool: Pool, mint_in: str) -> tuple[float, float]:
    assert isinstance(pool, CpmmPool)
    side = pool.mints.index(mint_in)
    return float(pool.reserves[1 - side]), pool.reserves[side] / (1 - pool.trade_fee_rate / 10**6)


def _parallel(curves: Sequence[tuple[float, float]], amount: float) -> float:
    """The best output of an amount over all of the curves, by equal marginal prices; idle curves are dropped."""
    active = list(curves)
    while True:
        # a * b / (b + x)^2 = m for all, so x = sqrt(a * b / m) - b, and the sum of all x is the amount.
        root = (amount + sum(b for _, b in active)) / sum(sqrt(a * b) for a, b in active)
        kept = [(a, b) for a, b in active if sqrt(a * b) * root > b]
        if not kept:
            return 0.0
        if len(kept) == len(active):
            return sum(a - sqrt(a * b) / root for a, b in active)
        active = kept


def _sets(size: int) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(range(size), n) for n in range(1, min(size, MAX_LEGS) + 1))


def _fee(legs: int, per_lamport: float) -> float:
    return (LAMPORTS_PER_SIGNATURE + LAMPORTS_PER_LEG * legs) * per_lamport


def _per_lamport(pools: Sequence[Pool], mint_in: str, mint_out: str) -> float:
    """Output per lamport: the median marginal price of the pools that trade SOL for it."""
    if mint_out == SOL.mint:
        return 1.0
    rates = sorted(n / d for n, d in (p.spot(SOL.mint) for p in pools if set(p.mints) == {SOL.mint, mint_out}))
    return rates[(len(rates) - 1) // 2] if rates else 0.0


def cpmm_optimum(case: Case) -> float:
    """The best net output over all sets of pools."""
    curves = [_curve(pool, case.mint_in) for pool in case.pools]
    price = _per_lamport(case.pools, case.mint_in, case.mint_out)
    return max(
        _parallel([curves[i] for i in chosen], case.amount_in) - _fee(len(chosen), price)
        for chosen in _sets(len(curves))
    )


def network_optimum(case: Case) -> float:
    """The best net output over all sets of direct pools and pools of the path."""
    price = _per_lamport(case.pools, case.mint_in, case.mint_out)
    total = float(case.amount_in)
    best = 0.0
    for chosen in _sets(len(case.pools)):
        members = [case.pools[i] for i in chosen]
        direct = [_curve(p, case.mint_in) for p in members if set(p.mints) == {case.mint_in, case.mint_out}]
        first = [_curve(p, case.mint_in) for p in members if set(p.mints) == {case.mint_in, SOL.mint}]
        second = [_curve(p, SOL.mint) for p in members if set(p.mints) == {SOL.mint, case.mint_out}]
        if bool(first) != bool(second):
            continue

        def out(
            through: float,
            direct: list[tuple[float, float]] = direct,
            first: list[tuple[float, float]] = first,
            second: list[tuple[float, float]] = second,
        ) -> float:
            path = _parallel(second, _parallel(first, through)) if first and through > 0 else 0.0
            return path + (_parallel(direct, total - through) if direct and through < total else 0.0)

        value = _ternary(out, total) if first and direct else out(total if first else 0.0)
        best = max(best, value - _fee(len(chosen), price))
    return best


def _ternary(of: Callable[[float], float], high: float) -> float:
    """The maximum of a concave function between 0 and ``high``."""
    low, best = 0.0, max(of(0.0), of(high))
    for _ in range(80):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        at_one, at_two = of(one), of(two)
        best = max(best, at_one, at_two)
        if at_one < at_two:
            low = one
        else:
            high = two
    return best


def market_optimum(case: Case, steps: int = 2000) -> float:
    """The best net output over all sets of direct pools, each sampled finely."""
    price = _per_lamport(case.pools, case.mint_in, case.mint_out)
    ladders = []
    for pool in case.pools:
        before, at, ladder = 0, 0, []
        for k in range(1, steps + 1):
            to = case.amount_in * k // steps
            try:
                out = pool.quote(case.mint_in, to)
            except QuoteRefused:
                break
            ladder.append(((out - before) / (to - at), to - at))
            before, at = out, to
        ladders.append(ladder)
    best = 0.0
    for chosen in _sets(len(ladders)):
        left, parts = case.amount_in, dict.fromkeys(chosen, 0)
        for _, size, i in sorted(((*step, one) for one in chosen for step in ladders[one]), reverse=True):
            take = min(size, left)
            parts[i] += take
            left -= take
            if not left:
                # What the pools really give: rounding makes the steps' own sum a little too good.
                out_sum = sum(case.pools[i].quote(case.mint_in, x) for i, x in parts.items() if x)
                best = max(best, out_sum - _fee(len(chosen), price))
                break
    return best


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far the router stays behind a reference, in basis points of the reference's net output."""

    cases: int
    worst_bps: float
    mean_bps: float
    above_a_hundredth: int
    divided: int


def gap_bps(case: Case, optimum: float) -> tuple[float, bool]:
    """The router's gap to a reference (negative where it is better), and whether it divided the order."""
    decision = decide(
        case.pools,
        mint_in=case.mint_in,
        mint_out=case.mint_out,
        amount_in=case.amount_in,
        max_price_impact_bps=_NO_CEILING,
    )
    return (optimum - decision.chosen.net_out) / optimum * 10_000, decision.chosen.kind == "split"


def gaps(make: Callable[[random.Random], Case], optimum: Callable[[Case], float], cases: int, seed: int) -> Gaps:
    """Compare on random cases. A case that no set of pools can fill is drawn again."""
    rng = random.Random(seed)
    found: list[float] = []
    divided = 0
    for _ in range(2 * cases):
        case = make(rng)
        reference = optimum(case)
        if reference <= 0:
            continue
        gap, split = gap_bps(case, reference)
        found.append(gap)
        divided += split
        if len(found) == cases:
            break
    clipped = [max(0.0, gap) for gap in found]
    return Gaps(len(found), max(clipped), statistics.fmean(clipped), sum(g > 0.01 for g in found), divided)


def speed(make: Callable[[random.Random], Case], cases: int, seed: int) -> dict[str, float]:
    """CPU milliseconds per decision."""
    rng = random.Random(seed)
    taken = []
    for _ in range(cases):
        case = make(rng)
        began = time.process_time_ns()
        decide(
            case.pools,
            mint_in=case.mint_in,
            mint_out=case.mint_out,
            amount_in=case.amount_in,
            max_price_impact_bps=_NO_CEILING,
        )
        taken.append((time.process_time_ns() - began) / 1e6)
    taken.sort()
    return {"pools": len(case.pools), "p50_ms": taken[cases // 2], "p99_ms": taken[cases * 99 // 100]}


def main() -> None:
    """Print the figures, and write them where told."""
    parser = argparse.ArgumentParser(description="Routing: speed, and distance from the optimum.")
    parser.add_argument("--cases", type=int, default=2_000, help="cases against the closed form; others fewer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    market = PaperMarket(given.seed)

    def with_paths(rng: random.Random) -> Case:
        at = _EPOCH_MS + rng.randrange(86_400_000)
        pools = all_pools(market, JUP, RAY, at)
        return Case(tuple(pools), JUP.mint, RAY.mint, int(10 ** rng.uniform(1, 5) * JUP.unit))

    result = {
        "seed": given.seed,
        "speed": {
            "eight constant-product pools": speed(cpmm_case, 300, given.seed),
            "paper market, direct pools": speed(lambda rng: market_case(rng, market), 300, given.seed),
            "paper market, sixteen pools, paths only": speed(with_paths, 100, given.seed),
        },
        "gap": {
            "cpmm": asdict(gaps(cpmm_case, cpmm_optimum, given.cases, given.seed)),
            "network": asdict(gaps(network_case, network_optimum, max(10, given.cases // 50), given.seed)),
            "market": asdict(
                gaps(lambda rng: market_case(rng, market), market_optimum, max(10, given.cases // 50), given.seed)
            ),
        },
    }
    print(json.dumps(result, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
