"""Orders to route, drawn at random: networks that no market would have, and the paper market with all of its paths."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import isqrt, log, log10

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Pool
from order_engine.domain.tokens import JUP, SOL, USDC, Token
from order_engine.domain.venues import VENUES
from order_engine.engine.routing.network import INTERMEDIATES
from order_engine.venues.meteora import damm2
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool, Volatility
from order_engine.venues.meteora.dlmm import CollectFeeMode as DlmmFeeMode
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.raydium import clmm
from order_engine.venues.raydium.clmm import ClmmPool, Tick
from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn
from order_engine.venues.transfer_fee import TransferFee, TransferFeePool

EPOCH_MS = 1_790_000_000_000
_DAY_MS = 86_400_000
# Of a network: direct pools, and pools on each edge of each intermediate token.
_DIRECT, _EDGE = 12, 4
_LEAST_AMOUNT = 10**5


@dataclass(frozen=True, slots=True)
class Case:
    """A swap to route: base units, and what the order is worth in USD where that is known."""

    pools: tuple[Pool, ...]
    mint_in: str
    mint_out: str
    amount_in: int
    usd: float | None = None


def network_case(rng: random.Random) -> Case:
    """1 to 12 direct pools, 1 to 4 on each edge of two intermediate tokens, of all kinds and of any size.

    Pools are sized over ten orders of magnitude in the order's token, or close to one another, where the choice is
    hard. The amount goes from 10^5 base units to ten times the largest pool.
    """
    direct = rng.randint(1, _DIRECT)
    counts = [rng.randint(1, _EDGE) for _ in range(2 * len(INTERMEDIATES))]
    centre, reach = rng.uniform(7, 15), rng.choice((0.5, 2, 5))
    case, largest = _network(
        rng, direct, counts, lambda: min(16.0, max(5.0, rng.uniform(centre - reach, centre + reach)))
    )
    most = int(min(10 * largest, U64_MAX / 2))
    amount = int(10 ** rng.uniform(5, max(5.1, log10(most))))
    return replace(case, amount_in=max(_LEAST_AMOUNT, min(amount, most)))


def sized_case(rng: random.Random, pools: int) -> Case:
    """So many pools of all kinds, half of them direct, each worth 10^4 to 10^7 whole tokens; an order of 10 to 10^5."""
    edges = 2 * len(INTERMEDIATES)
    counts = [pools // 2 // edges] * edges
    case, _ = _network(rng, pools - sum(counts), counts, lambda: rng.uniform(10, 13))
    return replace(case, amount_in=int(10 ** rng.uniform(7, 11)))


def _network(
    rng: random.Random, direct: int, counts: Sequence[int], magnitude: Callable[[], float]
) -> tuple[Case, float]:
    """A network from JUP to some other token, and what its largest pool holds, in base units of JUP.

    Prices agree with one another to within a few per cent, as a market's do, since pools that do not are never used.

    Args:
        counts: pools into the first intermediate token, out of it, into the second one, out of it.
        magnitude: draws the logarithm of what a pool holds.
    """
    mint_out = rng.choice([t.mint for t in TOKENS if t.mint not in (JUP.mint, SOL.mint, USDC.mint)])
    # Base units of each token that are worth one of the order's.
    worth = {JUP.mint: 1.0, mint_out: 10 ** rng.uniform(-4, 4)}
    worth |= {middle: 10 ** rng.uniform(-3, 3) for middle in INTERMEDIATES}
    spread = rng.choice((0.0005, 0.005, 0.05))
    pairs = [(JUP.mint, mint_out)] * direct
    for number, middle in enumerate(INTERMEDIATES):
        pairs += [(JUP.mint, middle)] * counts[2 * number] + [(middle, mint_out)] * counts[2 * number + 1]
    pools, largest = [], 0.0
    for number, (x, y) in enumerate(pairs):
        size = 10 ** magnitude()
        largest = max(largest, size)
        price = worth[y] / worth[x] * (1 + rng.uniform(-spread, spread))
        pools.append(any_pool(rng, f"pool{number}", x, y, size * worth[x], price))
    return Case(usable(pools), JUP.mint, mint_out, _LEAST_AMOUNT), largest


def usable(pools: Sequence[Pool]) -> tuple[Pool, ...]:
    """The pools that have a price: those that round to nothing are no part of a case."""
    good = []
    for pool in pools:
        try:
            numerator, denominator = pool.spot(pool.mints[0])
        except (QuoteRefused, ArithmeticError):
            continue
        if numerator > 0 and denominator > 0:
            good.append(pool)
    return tuple(good)


def any_pool(rng: random.Random, name: str, x: str, y: str, reserve: float, price: float) -> Pool:
    """A pool of any kind, in either order of its mints.

    Args:
        reserve: about what it holds of x, base units.
        price: base units of y per base unit of x.
    """
    if rng.random() < 0.5:
        x, y, reserve, price = y, x, reserve * price, 1 / price
    make = rng.choice((_cpmm, _clmm, _dlmm, _damm2))
    pool = make(rng, name, (x, y), max(reserve, 10.0), price)
    if rng.random() < 0.05:
        fees = [TransferFee(rng.choice((0, 10, 500)), int(10 ** rng.uniform(2, 12))) for _ in range(2)]
        return TransferFeePool(pool, (fees[0], fees[1]))
    return pool


def _fee(rng: random.Random) -> float:
    """As a fraction: what pools charge, and now and then up to a tenth."""
    return rng.choice((0.0, 0.0001, 0.0005, 0.0025, 0.003, 0.01, rng.uniform(0, 0.1)))


def _cpmm(rng: random.Random, name: str, mints: tuple[str, str], reserve: float, price: float) -> CpmmPool:
    limit = U64_MAX // 4
    reserves = min(limit, max(1, int(reserve))), min(limit, max(1, int(reserve * price)))
    creator = rng.choice((0, 0, 0, 500, 5_000))
    return CpmmPool(
        name, mints, reserves, int(_fee(rng) * 10**6), 120_000, 40_000, creator, rng.choice(list(CreatorFeeOn))
    )


def _root(price: float) -> int:
    """The square-root price, Q64.64, within the programs' range."""
    root = isqrt(int(price * (1 << 128)))
    return min(max(root, clmm.MIN_SQRT_PRICE * 16), clmm.MAX_SQRT_PRICE // 16)


def _damm2(rng: random.Random, name: str, mints: tuple[str, str], reserve: float, price: float) -> Damm2Pool:
    root = _root(price)
    # Of a pool without a range, liquidity is the root of the reserves' product.
    liquidity = max(1, int(reserve * root / (1 << 64))) << 64
    low, high = damm2.MIN_SQRT_PRICE, damm2.MAX_SQRT_PRICE
    if rng.random() < 0.5:
        low, high = max(low, int(root * rng.uniform(0.5, 0.99))), min(high, int(root * rng.uniform(1.01, 2)))
    mode = rng.choice(list(damm2.CollectFeeMode))
    return Damm2Pool(name, mints, root, liquidity, int(_fee(rng) * 10**9), mode, 20, low, high)


def _clmm(rng: random.Random, name: str, mints: tuple[str, str], reserve: float, price: float) -> ClmmPool:
    root = _root(price)
    tick = clmm.tick_at(root)
    spacing = rng.choice((1, 10, 60))
    centre = tick // spacing * spacing
    net: dict[int, int] = {}
    for _ in range(rng.randint(1, 4)):
        half = rng.randint(1, 200) * spacing
        lower = max(clmm.MIN_TICK, centre - half + rng.randint(-half, half) // 2 // spacing * spacing)
        upper = min(clmm.MAX_TICK, lower + 2 * half)
        if lower >= upper:
            continue
        ratio = clmm.sqrt_price_at(upper) / clmm.sqrt_price_at(lower)
        liquidity = max(1, int(reserve * root / (1 << 64) / max(1e-4, ratio - 1)))
        net[lower] = net.get(lower, 0) + liquidity
        net[upper] = net.get(upper, 0) - liquidity
    ticks = tuple(Tick(index, change) for index, change in sorted(net.items()) if change)
    held = sum(t.liquidity_net for t in ticks if t.index <= tick)
    return ClmmPool(name, mints, root, tick, held, ticks, int(_fee(rng) * 10**6), 120_000, 40_000)


def _dlmm(rng: random.Random, name: str, mints: tuple[str, str], reserve: float, price: float) -> DlmmPool:
    step = rng.choice((1, 4, 10, 20, 100))
    active = int(log(price) / log(1 + step / 10_000))
    bins = []
    each = rng.randint(1, 30)
    for bin_id in range(active - each, active + each + 1):
        part = reserve / each * rng.uniform(0, 2) * (rng.random() < 0.9)
        x = int(part) if bin_id >= active else 0
        y = int(part * price) if bin_id <= active else 0
        bins.append(Bin(bin_id, min(x, U64_MAX // 8), min(y, U64_MAX // 8)))
    fee = _fee(rng)
    parameters = DlmmParameters(
        base_factor=min(65_535, int(fee * 10**9 / (step * 10))),
        variable_fee_control=rng.choice((0, 7_500, 40_000)),
        filter_period=30,
        decay_period=600,
        reduction_factor=5_000,
        max_volatility_accumulator=350_000,
        protocol_share=500,
        collect_fee_mode=rng.choice(list(DlmmFeeMode)),
    )
    volatility = Volatility(rng.randrange(100_000), rng.randrange(50_000), active + rng.randint(-10, 10), 1_000)
    return DlmmPool(name, mints, active, step, parameters, tuple(bins), volatility, 1_000 + rng.randrange(700))


def all_pools(market: PaperMarket, x: Token, y: Token, at_ms: int) -> list[Pool]:
    """What both venues give for a pair: direct pools and those through the intermediate tokens."""
    pairs = [(x.mint, y.mint)]
    for middle in INTERMEDIATES:
        if middle not in (x.mint, y.mint):
            pairs += [(x.mint, middle), (middle, y.mint)]
    return [pool for venue in VENUES for pair in pairs for pool in market.pools(venue, *pair, at_ms)]


def market_case(rng: random.Random, market: PaperMarket, usd: Callable[[random.Random], float] | None = None) -> Case:
    """Any pair of the paper market at some time, with all of its paths; from 1 to 1 000 000 USD."""
    x, y = rng.choice(list(permutations(TOKENS, 2)))
    at = EPOCH_MS + rng.randrange(_DAY_MS)
    value = 10 ** rng.uniform(0, 6) if usd is None else usd(rng)
    amount = max(1, int(value / float(market.price(x.mint, at)) * x.unit))
    return Case(tuple(all_pools(market, x, y, at)), x.mint, y.mint, amount, value)
