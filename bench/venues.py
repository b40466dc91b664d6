"""How long the venues' mathematics takes: medians per quote, beside a naive implementation.

The naive ones compute in exact fractions, for DLMM in decimals (fractional powers of its prices would be absurd).

python -m bench.venues [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from order_engine.domain.tokens import SOL, USDC
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool, Volatility
from order_engine.venues.raydium.clmm import ClmmPool, Tick, sqrt_price_at
from order_engine.venues.raydium.cpmm import CpmmPool

MINTS = (SOL.mint, USDC.mint)
CROSSED = 20
_ROUNDS = 15
_ROUND_NS = 10_000_000
_Q64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the report. Times in microseconds."""

    name: str
    quote_us: float
    first_quote_us: float
    naive_us: float

    @property
    def speedup(self) -> float:
        """How many times faster than the naive implementation a quote is."""
        return self.naive_us / self.quote_us


def median_us(run: Callable[[], object]) -> float:
    """Microseconds per call: the median over rounds of about 10 ms each, after a first call to warm up."""
    run()
    started = perf_counter_ns()
    run()
    calls = max(1, _ROUND_NS // max(1, perf_counter_ns() - started))
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        started = perf_counter_ns()
        for _ in range(calls):
            run()
        rounds.append((perf_counter_ns() - started) / calls / 1_000)
    return median(rounds)


def cpmm() -> CpmmPool:
    """SOL/USDC, about 1.5 million dollars deep."""
    return CpmmPool("cpmm", MINTS, (5_000 * 10**9, 750_000 * 10**6), 2_500, 120_000, 40_000)


def naive_cpmm(pool: CpmmPool, amount: int) -> int:
    """The constant product in fractions."""
    fee = ceil(Fraction(amount * pool.trade_fee_rate, 1_000_000))
    net = Fraction(amount - fee)
    return floor(net * pool.reserves[1] / (pool.reserves[0] + net))


def dlmm() -> DlmmPool:
    """140 bins of 10 basis points, two arrays, with the active bin in the middle."""
    active = -6_000
    return DlmmPool(
        pool_id="dlmm",
        mints=MINTS,
        active_id=active,
        bin_step=10,
        parameters=DlmmParameters(10_000, 40_000, 30, 600, 5_000, 350_000, 500),
        bins=tuple(
            Bin(i, 0 if i < active else 10**9, 0 if i > active else 2 * 10**6) for i in range(active - 70, active + 70)
        ),
        volatility=Volatility(20_000, 10_000, active, 1_000),
        now=1_100,
    )


def naive_dlmm(pool: DlmmPool, amount: int) -> int:
    """X to Y from bin to bin with decimal prices and fee rates."""
    left, out, fixed = Decimal(amount), 0, pool.parameters
    reference = pool.volatility.accumulator * fixed.reduction_factor // 10_000
    for met in (b for b in reversed(pool.bins) if b.bin_id <= pool.active_id and b.amount_y):
        price = (1 + Decimal(pool.bin_step) / 10_000) ** met.bin_id
        volatility = min(reference + abs(pool.active_id - met.bin_id) * 10_000, fixed.max_volatility_accumulator)
        rate = Decimal(fixed.fee_rate(volatility, pool.bin_step)) / 10**9
        net = left - ceil(left * rate)
        need = ceil(met.amount_y / price)
        if net <= need:
            return out + min(floor(net * price), met.amount_y)
        out += met.amount_y
        left -= need + ceil(need * rate / (1 - rate))
    raise ValueError("too little liquidity")


def clmm() -> ClmmPool:
    """A position of ever less width around every tenth tick, so that the liquidity changes every 10 ticks."""
    net: dict[int, int] = {}
    for width in range(10, 10 * (CROSSED + 20), 10):
        net[-width] = net.get(-width, 0) + 10**11
        net[width] = net.get(width, 0) - 10**11
    return ClmmPool(
        pool_id="clmm",
        mints=MINTS,
        sqrt_price=sqrt_price_at(0) + 1,
        tick=0,
        liquidity=10**11 * (CROSSED + 19),
        ticks=tuple(Tick(*item) for item in sorted(net.items())),
        trade_fee_rate=2_500,
    )


def naive_clmm(pool: ClmmPool, amount: int) -> int:
    """Token 0 to token 1 from tick to tick in fractions."""
    left = amount * (1 - Fraction(pool.trade_fee_rate, 1_000_000))
    price, liquidity, out = Fraction(pool.sqrt_price, _Q64), pool.liquidity, Fraction(0)
    for tick in (t for t in reversed(pool.ticks) if t.index <= pool.tick):
        target = Fraction(sqrt_price_at(tick.index), _Q64)
        need = liquidity * (1 / target - 1 / price)
        if need >= left:
            return floor(out + liquidity * (price - liquidity / (liquidity / price + left)))
        out += liquidity * (price - target)
        left, price, liquidity = left - need, target, liquidity - tick.liquidity_net
    raise ValueError("too little liquidity")


def damm2() -> Damm2Pool:
    """A pool over the whole range at a price of 0.15."""
    return Damm2Pool("damm2", MINTS, 7_144_393_258_922_745_604, 10**13 << 64, 2_500_000)


def naive_damm2(pool: Damm2Pool, amount: int) -> int:
    """Token A to token B in fractions."""
    price, liquidity = Fraction(pool.sqrt_price, _Q64), Fraction(pool.liquidity, _Q64)
    out = floor(liquidity * (price - liquidity * price / (liquidity + amount * price)))
    return out - ceil(Fraction(out * pool.fee_numerator, 10**9))


def crossing_amount(pool: DlmmPool | ClmmPool) -> int:
    """The least input that crosses the wanted number of bins, or of ticks, and a hundredth more."""

    def crossed(amount: int) -> int:
        after = pool.swap(MINTS[0], amount).pool
        if isinstance(pool, DlmmPool) and isinstance(after, DlmmPool):
            return pool.active_id - after.active_id
        assert isinstance(pool, ClmmPool)
        assert isinstance(after, ClmmPool)
        return sum(after.tick < tick.index <= pool.tick for tick in pool.ticks)

    low, high = 1_000, 1_000
    while crossed(high) < CROSSED:
        # In small steps, so as not to ask for more than the pool holds.
        low, high = high, high + high // 16
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if crossed(middle) >= CROSSED else (middle, high)
    return high + high // 100


def measure() -> list[Measured]:
    """Measure all four programs, and check that the naive implementation agrees to within its missing rounding."""
    lines: list[Measured] = []

    def add[P: (CpmmPool, DlmmPool, ClmmPool, Damm2Pool)](
        name: str, pool: P, amount: int, naive: Callable[[P, int], int]
    ) -> None:
        quoted, expected = pool.quote(MINTS[0], amount), naive(pool, amount)
        if abs(quoted - expected) > 4 * CROSSED:
            raise SystemExit(f"{name}: quoted {quoted}, naive {expected}")
        lines.append(
            Measured(
                name,
                median_us(lambda: pool.quote(MINTS[0], amount)),
                # A copy has no table yet, so this is what the first quote of a fresh snapshot costs.
                median_us(lambda: replace(pool).quote(MINTS[0], amount)),
                median_us(lambda: naive(pool, amount)),
            )
        )

    add("CPMM", cpmm(), 10**9, naive_cpmm)
    across_bins, across_ticks = dlmm(), clmm()
    add(f"DLMM across {CROSSED} bins", across_bins, crossing_amount(across_bins), naive_dlmm)
    add(f"CLMM across {CROSSED} ticks", across_ticks, crossing_amount(across_ticks), naive_clmm)
    add("DAMM v2", damm2(), 10**9, naive_damm2)
    return lines


def main() -> None:
    """Print the medians; with --json also write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    lines = measure()
    sys.stdout.write(f"{'':24}{'quote':>12}{'first quote':>14}{'naive':>14}{'ratio':>9}\n")
    for line in lines:
        sys.stdout.write(
            f"{line.name:24}{line.quote_us:>9.2f} us{line.first_quote_us:>11.2f} us"
            f"{line.naive_us:>11.2f} us{line.speedup:>8.0f}x\n"
        )
    if arguments.json:
        results = [asdict(line) | {"speedup": line.speedup} for line in lines]
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        arguments.json.write_text(json.dumps({**machine, "venues": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
