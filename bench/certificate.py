"""Attack the certificate: worlds made to break it, and a reference that tries everything.

``python -m bench.certificate [--cases N] [--seed S] [--first K]``: of every world the router decides, and three things
must hold. It fills what can be filled; it gives no more than what can be given; and what it misses is no more than the
gap that it states. A world that breaks one is printed with its number, and the command fails; but an order of a few
dozen base units that is refused is only counted.

The worlds are of two kinds. *Small* ones are orders of up to 48 base units: the best of every division of every set of
at most four pools is found by dynamic programming over whole base units, without a bound, a price or a curve. There
rounding is everything: pools of a few units, bins of one, fees that take the last unit, caps that are reached at once.
*Large* ones have few pools and amounts up to 2^63, and every set of at most four pools is divided by exchange from
several random divisions: that finds the best or nearly so, where curves meet and where they end. Both have pools at the
ends of their ranges, ticks at the price itself, bins out of order with their fees, pools twice, capped transfer fees,
and reserves next to what an account can hold.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.exchange import Exchange, Set
from bench.networks import Case, any_pool, usable
from bench.optimum import network_fee
from bench.routing import route
from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Pool
from order_engine.domain.tokens import BONK, JUP, SOL, USDC
from order_engine.venues.meteora import damm2
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import Bin, CollectFeeMode, DlmmParameters, DlmmPool, Volatility
from order_engine.venues.raydium import clmm
from order_engine.venues.raydium.clmm import ClmmPool, Tick
from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn
from order_engine.venues.transfer_fee import TransferFee, TransferFeePool

LEGS = 4
REFUSED = "a few units refused"  # where only certain whole numbers of units fit through a path
_SMALL, _ARRIVES = 48, 160  # base units of a small order, and of an intermediate token that may arrive in its world
_STARTS = 4  # random divisions that a set is improved from
_NEVER = -(1 << 62)

type _Table = NDArray[np.int64]


# --- worlds --------------------------------------------------------------------------------------------------------


def world(number: int, seed: int = 1) -> tuple[Case, bool]:
    """A world by its number, and whether it is a small one."""
    rng = random.Random(f"certificate/{seed}/{number}")
    small = number % 2 == 0
    mint_out = rng.choice((BONK.mint, BONK.mint, USDC.mint, SOL.mint))
    middles = [mint for mint in (SOL.mint, USDC.mint) if mint != mint_out]
    most = 6 if small else 3
    pairs = [(JUP.mint, mint_out)] * rng.randint(0, most)
    for middle in middles:
        if rng.random() < 0.75:
            pairs += [(JUP.mint, middle)] * rng.randint(1, most - 1) + [(middle, mint_out)] * rng.randint(1, most - 1)
    if not small:
        pairs = pairs[:8]
    scale = rng.uniform(0.5, 2.5) if small else rng.uniform(3, 18.5)
    worth = {mint: 1.0 if small else 10 ** rng.uniform(-3, 3) for mint in (JUP.mint, *middles, mint_out)}
    if small:
        worth |= {middle: 10 ** rng.uniform(-0.7, 0.4) for middle in middles}
        worth[mint_out] = 10 ** rng.uniform(-1, 6)
    spread = rng.choice((0.0, 0.001, 0.05, 0.5))
    pools: list[Pool] = []
    for x, y in pairs:
        price = worth[y] / worth[x] * (1 + rng.uniform(-spread, spread))
        held = 10 ** (scale + rng.uniform(-1, 1))
        pools.append(_hostile(rng, f"pool{len(pools)}", x, y, max(1.0, held * worth[x]), price))
        if rng.random() < 0.15:
            pools.append(_again(pools[-1], f"pool{len(pools)}"))
    amount = rng.randint(1, _SMALL) if small else int(min(U64_MAX // 2, max(2, 10 ** (scale + rng.uniform(-2, 1)))))
    return Case(usable(pools), JUP.mint, mint_out, amount), small


def _again(pool: Any, name: str) -> Any:
    """The same pool by another name."""
    if isinstance(pool, TransferFeePool):
        return TransferFeePool(_again(pool.pool, name), pool.transfer_fees)
    return replace(pool, pool_id=name)


def _hostile(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    """A pool of any kind at some end of what it may be: base units of x, and base units of y for one."""
    make = rng.choice((_edge_cpmm, _edge_clmm, _edge_dlmm, _edge_damm2, any_pool, any_pool))
    pool = make(rng, name, x, y, reserve, price)
    if rng.random() < 0.2:
        fees = [
            TransferFee(rng.choice((0, 1, 100, 3_000, 9_999)), rng.choice((0, 1, 3, int(reserve / 50), U64_MAX)))
            for _ in range(2)
        ]
        inner: Any = pool.pool if isinstance(pool, TransferFeePool) else pool
        return TransferFeePool(inner, (fees[0], fees[1]))
    return pool


def _fee(rng: random.Random) -> float:
    return rng.choice((0.0, 0.0, 0.0001, 0.01, 0.1, 0.5, 0.9))


def _edge_cpmm(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    limit = rng.choice((U64_MAX, U64_MAX // 3))
    reserves = min(limit, max(1, int(reserve))), min(limit, max(1, int(reserve * price)))
    creator = rng.choice((0, 0, 1, 500_000))
    trade = min(int(_fee(rng) * 10**6), 10**6 - creator - 1)
    return CpmmPool(name, (x, y), reserves, trade, 120_000, 40_000, creator, rng.choice(list(CreatorFeeOn)))


def _edge_clmm(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    """The price on a tick, or one unit beside it; ranges of one tick, and holes between them."""
    root = min(max(int(price**0.5 * (1 << 64)), clmm.MIN_SQRT_PRICE * 16), clmm.MAX_SQRT_PRICE // 16)
    tick = clmm.tick_at(root)
    if rng.random() < 0.7:
        root = clmm.sqrt_price_at(tick) + rng.choice((0, 0, 1, -1))
        tick = clmm.tick_at(root)
    net: dict[int, int] = {}
    for _ in range(rng.randint(1, 5)):
        lower = tick + rng.choice((0, 0, -1, 1, rng.randint(-30, 30)))
        upper = lower + rng.choice((1, 1, 2, rng.randint(1, 300)))
        ratio = clmm.sqrt_price_at(upper) / clmm.sqrt_price_at(lower)
        liquidity = rng.choice((1, max(1, int(reserve * root / (1 << 64) / (ratio - 1)))))
        net[lower] = net.get(lower, 0) + liquidity
        net[upper] = net.get(upper, 0) - liquidity
    ticks = tuple(Tick(index, change) for index, change in sorted(net.items()) if change)
    held = sum(t.liquidity_net for t in ticks if t.index <= tick)
    return ClmmPool(name, (x, y), root, tick, held, ticks, int(_fee(rng) * 10**6), 120_000, 40_000)


def _edge_dlmm(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    """Bins of a few units, holes, orders, and a fee that changes much from bin to bin, either way."""
    step = rng.choice((1, 20, 100, 400))
    active = max(-40_000, min(40_000, round(np.log(price) / np.log(1 + step / 10_000))))
    each = rng.randint(0, 12)
    bins = []
    for bin_id in range(active - each, active + each + 1):
        holds = [int(reserve * rng.choice((0, 0, 0.01, 0.3, 1, 3)) * worth) for worth in (1, price)]
        holds = [min(U64_MAX, held or rng.randint(0, 2)) for held in holds]
        orders = [rng.choice((0, 0, 0, min(U64_MAX, int(reserve)))) for _ in range(2)]
        sells = rng.random() < 0.5
        amounts = (holds[0] if bin_id >= active else 0, holds[1] if bin_id <= active else 0)
        bins.append(Bin(bin_id, *amounts, orders[0], orders[1], sells))
    parameters = DlmmParameters(
        base_factor=rng.choice((0, 1, 10_000, 65_535)),
        variable_fee_control=rng.choice((0, 7_500, 500_000, 2_000_000)),
        filter_period=30,
        decay_period=600,
        reduction_factor=rng.choice((0, 5_000, 10_000)),
        max_volatility_accumulator=rng.choice((0, 100_000, 350_000)),
        protocol_share=500,
        collect_fee_mode=rng.choice(list(CollectFeeMode)),
        limit_orders=rng.random() < 0.3,
    )
    volatility = Volatility(rng.randrange(300_000), rng.randrange(100_000), active + rng.randint(-20, 20), 1_000)
    return DlmmPool(name, (x, y), active, step, parameters, tuple(bins), volatility, 1_000 + rng.randrange(700))


def _edge_damm2(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    """The price at an end of the range, or next to it."""
    root = min(max(int(price**0.5 * (1 << 64)), damm2.MIN_SQRT_PRICE * 4), damm2.MAX_SQRT_PRICE // 4)
    liquidity = max(1, int(reserve * root / (1 << 64))) << rng.choice((60, 64, 68))
    low = rng.choice((damm2.MIN_SQRT_PRICE, root, root - 1, int(root * 0.999)))
    high = rng.choice((damm2.MAX_SQRT_PRICE, root + 1, int(root * 1.001) + 1))
    mode = rng.choice(list(damm2.CollectFeeMode))
    return Damm2Pool(name, (x, y), root, liquidity, int(_fee(rng) * 10**9), mode, 20, low, high)


# --- what can be given ---------------------------------------------------------------------------------------------


class _World:
    """A case by edges, with its pools' exact quotes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.known: dict[tuple[int, int], int] = {}
        self.mint: dict[int, str] = {}
        self.direct = self._on(case.mint_in, case.mint_out)
        self.vias: list[tuple[list[int], list[int]]] = []
        for middle in (SOL.mint, USDC.mint):
            if middle not in (case.mint_in, case.mint_out):
                first, second = self._on(case.mint_in, middle), self._on(middle, case.mint_out)
                if first and second:
                    self.vias.append((first, second))
        self.fees = [network_fee(case, legs) for legs in range(LEGS + 1)]

    def _on(self, mint_in: str, mint_out: str) -> list[int]:
        places = [i for i, pool in enumerate(self.case.pools) if set(pool.mints) == {mint_in, mint_out}]
        self.mint |= dict.fromkeys(places, mint_in)
        return places

    def quote(self, place: int, amount: int) -> int:
        """Base units out; 0 where the pool refuses."""
        if not amount:
            return 0
        if (place, amount) not in self.known:
            try:
                self.known[place, amount] = self.case.pools[place].quote(self.mint[place], amount)
            except QuoteRefused:
                self.known[place, amount] = 0
        return self.known[place, amount]

    def end(self, place: int, amount: int) -> int:
        """The largest input up to an amount that is filled, by bisection."""
        good = amount
        while good and not self.quote(place, good):
            good //= 2
        bad = amount + 1 if good == amount else min(amount, 2 * good + 1)
        while good and bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self.quote(place, middle) else (good, middle)
        return good


def everything(case: Case) -> int | None:
    """The most net output of a small world, over every division; None where nothing fills the order.

    Raises:
        OverflowError: more of an intermediate token may arrive than is looked at.
    """
    world_ = _World(case)
    amount = case.amount_in
    paths = [_path(world_, first, second, amount) for first, second in world_.vias]
    # By legs and input, the most output: of all parts together.
    best = _beside(world_, world_.direct, amount)
    for path in paths:
        joined = np.full_like(best, _NEVER)
        for a in range(LEGS + 1):
            for b in range(LEGS + 1 - a):
                for x in range(amount + 1):
                    if path[b, x] > _NEVER:
                        np.maximum(
                            joined[a + b, x:],
                            np.where(
                                best[a, : amount + 1 - x] > _NEVER, best[a, : amount + 1 - x] + path[b, x], _NEVER
                            ),
                            out=joined[a + b, x:],
                        )
        best = joined
    nets = [int(best[legs, amount]) - world_.fees[legs] for legs in range(1, LEGS + 1) if best[legs, amount] > _NEVER]
    return max(nets, default=None)


def _beside(world_: _World, places: Sequence[int], most: int) -> _Table:
    """By legs and input: the most output of pools beside each other that take just so much."""
    best = np.full((LEGS + 1, most + 1), _NEVER, dtype=np.int64)
    best[0, 0] = 0
    for place in places:
        before = best.copy()
        for amount in range(1, most + 1):
            gives = world_.quote(place, amount)
            if gives:
                rest = before[:-1, : most + 1 - amount]
                np.maximum(best[1:, amount:], np.where(rest > _NEVER, rest + gives, _NEVER), out=best[1:, amount:])
    return best


def _path(world_: _World, first: Sequence[int], second: Sequence[int], most: int) -> _Table:
    """By legs and input: the most output of both edges of a path, all that arrives being swapped on."""
    reach = np.zeros((LEGS + 1, most + 1, _ARRIVES + 1), dtype=bool)
    reach[0, 0, 0] = True
    for place in first:
        before = reach.copy()
        for amount in range(1, most + 1):
            gives = world_.quote(place, amount)
            if gives > _ARRIVES:
                raise OverflowError("More arrives than is looked at.")
            if gives:
                reach[1:, amount:, gives:] |= before[:-1, : most + 1 - amount, : _ARRIVES + 1 - gives]
    if reach[1:LEGS].any(axis=(0, 1))[_ARRIVES - 8 :].any():
        raise OverflowError("More arrives than is looked at.")
    sold = _beside(world_, second, _ARRIVES)
    best = np.full((LEGS + 1, most + 1), _NEVER, dtype=np.int64)
    best[0, 0] = 0
    for a in range(1, LEGS):
        for b in range(1, LEGS + 1 - a):
            np.maximum(best[a + b], np.where(reach[a], sold[b], _NEVER).max(axis=1), out=best[a + b])
    return best


def much(case: Case, rng: random.Random) -> int | None:
    """The most net output that exchange finds from random divisions over every set; None where it finds none."""
    world_ = _World(case)
    best: int | None = None
    for direct, vias in _sets(world_):
        source = [*direct, *(i for first, _ in vias for i in first)]
        for start in range(_STARTS if len(source) + sum(len(s) for _, s in vias) > 1 + len(vias) else 1):
            weights = [rng.random() ** 4 + 1e-9 if start else 1.0 for _ in source]
            parts = {i: int(case.amount_in * w / sum(weights)) for i, w in zip(source, weights, strict=True)}
            parts[source[-1]] += case.amount_in - sum(parts.values())
            behind: dict[int, int] = {}
            for first, second in vias:
                arrives = sum(world_.quote(i, parts[i]) for i in first)
                shares = [rng.random() ** 4 + 1e-9 if start else 1.0 for _ in second]
                behind |= {i: int(arrives * w / sum(shares)) for i, w in zip(second, shares, strict=True)}
            state = Exchange(world_, direct, vias, parts, behind)
            if state.run(case.amount_in) and state.out >= 0:
                legs = sum(1 for x in (*state.parts.values(), *state.behind.values()) if x)
                net = state.out - world_.fees[legs]
                best = net if best is None else max(best, net)
    return best


def _sets(world_: _World) -> list[tuple[Set, list[tuple[Set, Set]]]]:
    found: list[tuple[Set, list[tuple[Set, Set]], int]] = [((), [], 0)]
    found = [(one, [], n) for n in range(LEGS + 1) for one in combinations(world_.direct, n)]
    for first, second in world_.vias:
        more = []
        for direct, vias, used in found:
            for a in range(1, LEGS):
                for b in range(1, LEGS + 1 - a - used):
                    more += [
                        (direct, [*vias, (x, y)], used + a + b)
                        for x in combinations(first, a)
                        for y in combinations(second, b)
                    ]
        found += more
    return [(direct, vias) for direct, vias, used in found if used]


def broken(number: int, seed: int = 1) -> tuple[str | None, bool]:
    """What does not hold of a world; and whether it could be looked at.

    A small order that is refused though something fills it is told by ``REFUSED``.
    """
    case, small = world(number, seed)
    decision = route(case)
    if small:
        try:
            best = everything(case)
        except OverflowError:
            return None, False
    else:
        best = much(case, random.Random(number))
    if decision is None:
        return (None if best is None else f"{REFUSED if small else 'refused'}, though {best} can be given"), True
    chosen, gap = decision.chosen, decision.optimality_gap_bps
    whole = chosen.net_out if chosen.net_out > 0 else chosen.amount_out
    if small and (best is None or best < chosen.net_out):
        return f"gives {chosen.net_out}, though no more than {best} can be given", True
    if best is None:
        return None, True
    behind = best - chosen.net_out
    if gap is None or behind * 10_000 > float(gap) * whole * (1 + 1e-9) + 1e-6:
        return f"{behind} behind {best}: {behind / whole * 10_000:.6f} bps, and states {gap}", True
    return None, True


def main() -> None:
    """Try so many worlds, and name those in which something does not hold."""
    parser = argparse.ArgumentParser(description="Worlds made to break the certificate.")
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tried, wrong, refused = 0, 0, 0
    for number in range(given.first, given.first + given.cases):
        why, looked = broken(number, given.seed)
        tried += looked
        if why is not None:
            refused += why.startswith(REFUSED)
            wrong += not why.startswith(REFUSED)
            print(f"world {number}: {why}", flush=True)
    print(f"{tried} of {given.cases} worlds looked at, {wrong} broken, {refused} orders of a few units refused")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
