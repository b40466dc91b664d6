"""The paper market: pools whose prices move, as a pure function of a seed and the time.

Every worker process sees the same pools at the same millisecond without sharing anything, on any platform: all
arithmetic is on integers, and chance comes from BLAKE2b of (seed, what, index).

How prices move. The logarithm of a token's price in USD is the base price plus a sum of noises of periods from two
seconds to a day and a half. Each noise joins random values at multiples of its period by straight lines, so that it
can be evaluated at any time without walking there; amplitudes grow with the root of the period, as a random walk's
do. Other tokens follow SOL in part. One ten-minute stretch in seven or so is *stormy*: the fast noises (up to two
minutes) are several times larger then.

How pools follow. A pool's price is the token's price plus a wandering of its own that stays within the pool's fee:
beyond that an arbitrageur would have traded it back. So venues disagree, but never by so much that a round trip
between two of them pays. DLMM pools charge their variable fee for what the price moved lately.

What is not modelled: an order does not move the market for those after it, since nothing is shared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from math import isqrt
from typing import ClassVar

from order_engine.domain import base58
from order_engine.domain.quote import Pool
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, USDT, Token
from order_engine.domain.venues import venue_of
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool, Volatility, price_of_bin
from order_engine.venues.raydium.clmm import ClmmPool, Tick, sqrt_price_at, tick_at
from order_engine.venues.raydium.cpmm import CpmmPool

_Q64 = 1 << 64
# Logarithms are integers in units of 1e-12; a basis point is 1e8 of them.
_LOG = 10**12
_LOG_BPS = _LOG // 10_000
_EXACT = Context(prec=40)

_PERIODS_MS = tuple(2_000 * 4**k for k in range(9))
_FAST_MS = 128_000
_STRETCH_MS = 600_000
_RAMP_MS = 60_000
_STORMY_PERCENT = 15
_STORM_FACTOR = 5  # the fast noises grow by this much on top of their size
_NOISE = 1 << 20  # the range of a noise value is -_NOISE to _NOISE
# A pool's own wandering, and its period.
_WANDER_MS = (3_000, 20_000)
_BURST_MS = 10_000


@dataclass(frozen=True, slots=True)
class _Coin:
    """A token's price process.

    Attributes:
        usd: the base price.
        follows_sol: percent of SOL's logarithm that it takes over.
        step: its own random walk, in units of 1e-12 per root second (1e8 is one basis point).
    """

    usd: Decimal
    follows_sol: int
    step: int


_COINS: dict[str, _Coin] = {
    SOL.mint: _Coin(Decimal(150), 0, 120 * _LOG_BPS // 100),
    USDC.mint: _Coin(Decimal(1), 0, 0),
    USDT.mint: _Coin(Decimal(1), 0, _LOG_BPS // 100),
    BONK.mint: _Coin(Decimal("0.00002"), 120, 200 * _LOG_BPS // 100),
    JUP.mint: _Coin(Decimal("0.8"), 90, 150 * _LOG_BPS // 100),
    RAY.mint: _Coin(Decimal(3), 100, 140 * _LOG_BPS // 100),
}


@dataclass(frozen=True, slots=True)
class _Listing:
    """A pool of the market.

    Attributes:
        grain: tick spacing (clmm) or bin step (dlmm); 0 elsewhere.
        fee: parts per million of the input.
        usd: what lies in it, both sides together, before the seed's own variation.
    """

    kind: str
    x: Token
    y: Token
    fee: int
    grain: int
    usd: int


def _listings() -> tuple[_Listing, ...]:
    """The pools, with the orders of magnitude of what the venues hold."""
    rows: tuple[tuple[Token, Token, tuple[tuple[str, int, int, int], ...]], ...] = (
        (
            SOL,
            USDC,
            (
                ("cpmm", 2_500, 0, 6_000_000),
                ("clmm", 500, 10, 8_000_000),
                ("dlmm", 400, 4, 3_000_000),
                ("dlmm", 1_000, 10, 2_000_000),
                ("damm2", 2_500, 0, 1_000_000),
            ),
        ),
        (
            SOL,
            USDT,
            (
                ("cpmm", 2_500, 0, 500_000),
                ("clmm", 500, 10, 1_500_000),
                ("dlmm", 1_000, 10, 600_000),
                ("damm2", 2_500, 0, 150_000),
            ),
        ),
        (
            USDC,
            USDT,
            (
                ("cpmm", 2_500, 0, 300_000),
                ("clmm", 100, 1, 3_000_000),
                ("dlmm", 100, 1, 2_000_000),
                ("damm2", 500, 0, 400_000),
            ),
        ),
        (
            BONK,
            SOL,
            (
                ("cpmm", 2_500, 0, 3_000_000),
                ("clmm", 2_500, 60, 1_200_000),
                ("dlmm", 2_000, 20, 900_000),
                ("damm2", 2_500, 0, 300_000),
            ),
        ),
        (
            BONK,
            USDC,
            (
                ("cpmm", 2_500, 0, 400_000),
                ("clmm", 2_500, 60, 500_000),
                ("dlmm", 2_500, 25, 300_000),
                ("damm2", 2_500, 0, 100_000),
            ),
        ),
        (
            JUP,
            SOL,
            (
                ("cpmm", 2_500, 0, 700_000),
                ("clmm", 2_500, 60, 800_000),
                ("dlmm", 2_000, 20, 1_000_000),
                ("damm2", 2_500, 0, 200_000),
            ),
        ),
        (
            JUP,
            USDC,
            (
                ("cpmm", 2_500, 0, 400_000),
                ("clmm", 2_500, 60, 600_000),
                ("dlmm", 2_000, 20, 1_600_000),
                ("damm2", 2_500, 0, 250_000),
            ),
        ),
        (
            RAY,
            SOL,
            (
                ("cpmm", 2_500, 0, 5_000_000),
                ("clmm", 2_500, 60, 1_500_000),
                ("dlmm", 2_000, 20, 500_000),
                ("damm2", 2_500, 0, 150_000),
            ),
        ),
        (
            RAY,
            USDC,
            (
                ("cpmm", 2_500, 0, 3_000_000),
                ("clmm", 2_500, 60, 1_000_000),
                ("dlmm", 2_000, 20, 400_000),
                ("damm2", 2_500, 0, 100_000),
            ),
        ),
    )
    return tuple(_Listing(kind, x, y, fee, grain, usd) for x, y, of in rows for kind, fee, grain, usd in of)


# The bands of a CLMM pool: half widths in tick spacings and the share of its value in percent, by tick spacing.
_BANDS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((4, 40), (15, 35), (60, 20), (600, 5)),
    10: ((8, 20), (25, 40), (80, 30), (500, 10)),
    60: ((3, 20), (8, 40), (25, 30), (120, 10)),
}
# A DLMM pool's value per bin, by distance from the active one: flat near it, thinning out.
_BINS_EACH_SIDE = 34
_WEIGHTS = tuple(100 * (_BINS_EACH_SIDE - d + 4) // (_BINS_EACH_SIDE + 4) for d in range(_BINS_EACH_SIDE + 1))
_WEIGHT_SUM = 2 * sum(_WEIGHTS) - _WEIGHTS[0]


@lru_cache(maxsize=1 << 15)
def _random(seed: int, what: str, index: int) -> int:
    """64 random bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{what}/{index}".encode(), digest_size=8).digest())


def _noise(seed: int, what: str, at_ms: int, period_ms: int) -> int:
    """Straight lines between random values at multiples of a period, -_NOISE to _NOISE."""
    index, within = divmod(at_ms, period_ms)
    before = _random(seed, what, index) % (2 * _NOISE + 1) - _NOISE
    after = _random(seed, what, index + 1) % (2 * _NOISE + 1) - _NOISE
    return before + (after - before) * within // period_ms


def _exp_q64(log: int) -> int:
    """e ^ (log * 1e-12) as Q64.64, by its series on integers; for exponents of a few units at most."""
    x = (log << 64) // _LOG
    term = total = _Q64
    n = 1
    while term and term != -1:
        term = (term * x >> 64) // n
        total += term
        n += 1
    return total


def _ln(value: Decimal) -> int:
    """The natural logarithm in units of 1e-12. Decimal's is correctly rounded, the same everywhere."""
    return int(_EXACT.multiply(_EXACT.ln(value), Decimal(_LOG)).to_integral_value())


class _Source:
    """One pool of the market, with all of it that does not depend on the time."""

    def __init__(self, seed: int, number: int, listing: _Listing) -> None:
        self.venue = venue_of(listing.kind)
        self.listing = listing
        self.mints = (listing.x.mint, listing.y.mint)
        name = f"pool/{seed}/{listing.kind}/{listing.x.symbol}/{listing.y.symbol}/{listing.grain}/{number}"
        self.pool_id = base58.encode(hashlib.sha256(name.encode()).digest())
        self.what = f"{listing.kind}{number}"
        x, y = _COINS[listing.x.mint], _COINS[listing.y.mint]
        ratio = _EXACT.divide(x.usd, y.usd).scaleb(listing.y.decimals - listing.x.decimals, _EXACT)
        self.base_log = _ln(ratio)
        self.base_price = int(ratio * _Q64)
        # Half of the pool's value, in base units of y at the base price; the seed varies it by 30 %.
        usd = listing.usd * (70 + _random(seed, self.what, -1) % 61) // 100
        self.half_y = int(Decimal(usd) / 2 / y.usd * listing.y.unit)
        # The invariant of the constant-product kinds, x * y.
        self.product = self.half_y * self.half_y * _Q64 // self.base_price
        # The price's wandering stays within the fee. A DLMM price also steps by half a bin either way.
        self.wander = listing.fee * (_LOG // 10**6) * (4 if listing.kind == "dlmm" else 8) // 10
        if listing.kind == "dlmm":
            self.bin_log = _ln(1 + Decimal(listing.grain) / 10_000)
            self.parameters = DlmmParameters(
                base_factor=listing.fee * 100 // listing.grain,
                variable_fee_control=7_500 if listing.grain > 4 else 30_000,
                filter_period=30,
                decay_period=600,
                reduction_factor=5_000,
                max_volatility_accumulator=350_000,
                protocol_share=500,
            )


class PaperMarket:
    """The pools of the paper market at any time. Holds no state but caches of what is static."""

    _MARKET: ClassVar[tuple[_Listing, ...]] = _listings()

    def __init__(self, seed: int) -> None:
        self.seed = seed
        sources = [_Source(seed, number, listing) for number, listing in enumerate(self._MARKET)]
        self._by_id = {source.pool_id: source for source in sources}
        self._by_pair: dict[tuple[str, frozenset[str]], list[_Source]] = {}
        for source in sources:
            self._by_pair.setdefault((source.venue, frozenset(source.mints)), []).append(source)

    def pools(self, venue_name: str, mint_a: str, mint_b: str, at_ms: int) -> tuple[Pool, ...]:
        """The pools of a venue that trade two mints directly, as they are at a time (milliseconds since the epoch)."""
        sources = self._by_pair.get((venue_name, frozenset((mint_a, mint_b))), [])
        return tuple(self._pool(source, at_ms) for source in sources)

    def pool(self, pool_id: str, at_ms: int) -> Pool | None:
        """One pool at a time; None where there is no such pool."""
        source = self._by_id.get(pool_id)
        return None if source is None else self._pool(source, at_ms)

    def price(self, mint: str, at_ms: int) -> Decimal:
        """The price of a whole token in USD (USDC stands for it) outside of any pool, to 12 digits."""
        factor = Decimal(_exp_q64(self._log(mint, at_ms))) / _Q64
        return Context(prec=12).multiply(_COINS[mint].usd, factor)

    def storm(self, at_ms: int) -> int:
        """How stormy it is, 0 (calm) to 1000."""
        stretch, within = divmod(at_ms, _STRETCH_MS)
        now = 1000 * (_random(self.seed, "storm", stretch) % 100 < _STORMY_PERCENT)
        if within >= _RAMP_MS:
            return now
        before = 1000 * (_random(self.seed, "storm", stretch - 1) % 100 < _STORMY_PERCENT)
        return before + (now - before) * within // _RAMP_MS

    def _log(self, mint: str, at_ms: int) -> int:
        """What the logarithm of a token's price differs from its base price by, in units of 1e-12."""
        coin = _COINS[mint]
        total = self._log(SOL.mint, at_ms) * coin.follows_sol // 100 if coin.follows_sol else 0
        if not coin.step:
            return total
        storm = 1000 + _STORM_FACTOR * self.storm(at_ms)
        for period in _PERIODS_MS:
            moved = coin.step * isqrt(period * 1000) // 1000 * _noise(self.seed, mint, at_ms + period // 3, period)
            total += moved * storm // (1000 * _NOISE) if period <= _FAST_MS else moved // _NOISE
        return total

    def _pool_log(self, source: _Source, at_ms: int) -> int:
        """The same for a pool's price of x in y, its own wandering included."""
        wander = sum(_noise(self.seed, source.what, at_ms, period) for period in _WANDER_MS) // len(_WANDER_MS)
        x, y = source.mints
        return self._log(x, at_ms) - self._log(y, at_ms) + source.wander * wander // _NOISE

    def _pool(self, source: _Source, at_ms: int) -> Pool:
        log = self._pool_log(source, at_ms)
        kind = source.listing.kind
        if kind == "dlmm":
            return self._dlmm(source, log, at_ms)
        price = source.base_price * _exp_q64(log) >> 64
        if kind == "cpmm":
            reserves = isqrt(source.product * _Q64 // price), isqrt(source.product * price >> 64)
            return CpmmPool(source.pool_id, source.mints, reserves, source.listing.fee, 120_000, 40_000)
        sqrt_price = isqrt(price << 64)
        if kind == "damm2":
            return Damm2Pool(
                source.pool_id, source.mints, sqrt_price, isqrt(source.product) << 64, source.listing.fee * 1000
            )
        tick = tick_at(sqrt_price)
        spacing = source.listing.grain
        ticks = _clmm_ticks(source.half_y, spacing, _round_to(tick, spacing))
        liquidity = sum(t.liquidity_net for t in ticks if t.index <= tick)
        fee = source.listing.fee
        return ClmmPool(source.pool_id, source.mints, sqrt_price, tick, liquidity, ticks, fee, 120_000, 40_000)

    def _dlmm(self, source: _Source, log: int, at_ms: int) -> Pool:
        step = source.listing.grain
        log += source.base_log + source.bin_log // 2
        active, within = divmod(log, source.bin_log)
        burst = (at_ms // _BURST_MS) * _BURST_MS
        reference = (source.base_log + source.bin_log // 2 + self._pool_log(source, burst)) // source.bin_log
        bins = []
        for bin_id in range(active - _BINS_EACH_SIDE, active + _BINS_EACH_SIDE + 1):
            price, texture = _bin(self.seed, source.what, bin_id, step)
            value = 2 * source.half_y * _WEIGHTS[abs(bin_id - active)] * texture // (100 * _WEIGHT_SUM)
            # Below the active bin lies y, above it x; the active one turns from x to y as the price rises through it.
            y = value if bin_id < active else 0 if bin_id > active else value * within // source.bin_log
            bins.append(Bin(bin_id, ((value - y) << 64) // price, y, price=price))
        return DlmmPool(
            source.pool_id,
            source.mints,
            active,
            step,
            DlmmParameters(
                source.listing.fee * 100 // step, 7_500 if step > 4 else 30_000, 30, 600, 5_000, 350_000, 500
            ),
            tuple(bins),
            Volatility(abs(active - reference) * 10_000, 0, reference, at_ms // 1000),
            at_ms // 1000,
        )


def _round_to(value: int, grain: int) -> int:
    """The nearest multiple of ``grain``."""
    return (value + grain // 2) // grain * grain


@lru_cache(maxsize=1 << 14)
def _bin(seed: int, what: str, bin_id: int, step: int) -> tuple[int, int]:
    """A bin's price (Q64.64) and how much more or less than its share lies in it, in percent (60 to 140)."""
    return price_of_bin(bin_id, step), 60 + _random(seed, what + "/bin", bin_id) % 81


@lru_cache(maxsize=1 << 10)
def _clmm_ticks(half_y: int, spacing: int, centre: int) -> tuple[Tick, ...]:
    """The initialised ticks of a pool whose providers hold bands around a price, ``half_y`` on either side of it."""
    net: dict[int, int] = {}
    middle = sqrt_price_at(centre)
    for half_width, percent in _BANDS[spacing]:
        lower, upper = centre - half_width * spacing, centre + half_width * spacing
        liquidity = (half_y * percent // 100 << 64) // (middle - sqrt_price_at(lower))
        net[lower] = net.get(lower, 0) + liquidity
        net[upper] = net.get(upper, 0) - liquidity
    return tuple(Tick(index, change) for index, change in sorted(net.items()) if change)
