"""Pools of every kind as account bytes, to begin a chain with.

The programs themselves judge what is written here: a pool that is not as they expect it does not swap. Layouts as in
``order_engine.venues.solana.programs``, with the parts that only the programs read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isqrt
from struct import pack, pack_into

from order_engine.venues.meteora.damm2 import MAX_SQRT_PRICE, MIN_SQRT_PRICE
from order_engine.venues.meteora.dlmm import price_of_bin
from order_engine.venues.raydium.clmm import sqrt_price_at
from order_engine.venues.solana import addresses
from order_engine.venues.solana.addresses import TOKEN, TOKEN_2022, from_bytes, to_bytes
from order_engine.venues.solana.programs.clmm import TICKS_PER_ARRAY
from order_engine.venues.solana.programs.damm_v2 import AUTHORITY as DAMM_V2_AUTHORITY
from order_engine.venues.solana.programs.dlmm import BINS_PER_ARRAY

_NO_LIMIT = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Coin:
    """A token of the chain that is made.

    Attributes:
        transfer_fee_bps: what Token-2022 withholds of each transfer; None for a token of the older program.
    """

    mint: str
    decimals: int
    transfer_fee_bps: int | None = None

    @property
    def program(self) -> str:
        return TOKEN if self.transfer_fee_bps is None else TOKEN_2022


@dataclass(frozen=True, slots=True)
class Written:
    """An account to put: its owner and bytes."""

    owner: str
    data: bytes


type Accounts = dict[str, Written]


def address_of(name: str) -> str:
    """An address for an account that may lie anywhere."""
    return from_bytes(hashlib.sha256(f"local chain: {name}".encode()).digest())


def mint(coin: Coin) -> Written:
    """A token's mint, without authorities."""
    base = bytes(4 + 32) + pack("<QBB", 2**63, coin.decimals, 1) + bytes(4 + 32)
    if coin.transfer_fee_bps is None:
        return Written(TOKEN, base)
    fee = pack("<QQH", 0, _NO_LIMIT, coin.transfer_fee_bps)
    config = pack("<HH", 1, 108) + bytes(64) + pack("<Q", 0) + fee + fee
    return Written(TOKEN_2022, base + bytes(165 - len(base)) + b"\x01" + config)


def holding(coin: Coin, owner: str, amount: int) -> Written:
    """A token account."""
    data = to_bytes(coin.mint) + to_bytes(owner) + pack("<Q", amount) + bytes(36) + b"\x01" + bytes(56)
    if coin.transfer_fee_bps is not None:
        # An account of a mint with transfer fees notes what it withheld.
        data += b"\x02" + pack("<HHQ", 2, 8, 0)
    return Written(coin.program, data)


def _vaults(name: str, coins: tuple[Coin, Coin], owner: str, amounts: tuple[int, int]) -> tuple[list[str], Accounts]:
    names = [address_of(f"{name} vault {n}") for n in (0, 1)]
    held = {vault: holding(coin, owner, amount) for vault, coin, amount in zip(names, coins, amounts, strict=True)}
    return names, held


def _account(name: str, length: int, fields: Mapping[int, bytes]) -> bytes:
    """An Anchor account: its type and what is written where."""
    data = bytearray(length)
    data[:8] = hashlib.sha256(f"account:{name}".encode()).digest()[:8]
    for at, value in fields.items():
        data[at : at + len(value)] = value
    return bytes(data)


def _u(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0)


def sqrt_price(coins: tuple[Coin, Coin], price: Decimal) -> int:
    """Q64.64 of the second coin's base units per base unit of the first; ``price`` in whole coins."""
    ratio = price.scaleb(coins[1].decimals - coins[0].decimals)
    return isqrt(int(ratio * 2**128))


def cpmm(name: str, coins: tuple[Coin, Coin], amounts: tuple[int, int], *, fee: int = 2500) -> tuple[str, Accounts]:
    """A constant-product pool. ``fee`` in parts per million."""
    pool, config, observation = (address_of(f"{name} {part}") for part in ("pool", "config", "observation"))
    authority, bump = addresses.find(addresses.CPMM, [b"vault_and_lp_mint_auth_seed"])
    vaults, accounts = _vaults(name, coins, authority, amounts)
    accounts[config] = Written(
        addresses.CPMM, _account("AmmConfig", 236, {12: _u(fee), 20: _u(120_000), 28: _u(40_000)})
    )
    accounts[observation] = Written(
        addresses.CPMM, _account("ObservationState", 4075, {8: b"\x01", 11: to_bytes(pool)})
    )
    accounts[pool] = Written(
        addresses.CPMM,
        _account(
            "PoolState",
            637,
            {
                8: to_bytes(config),
                72: to_bytes(vaults[0]) + to_bytes(vaults[1]),
                168: to_bytes(coins[0].mint) + to_bytes(coins[1].mint),
                232: to_bytes(coins[0].program) + to_bytes(coins[1].program) + to_bytes(observation),
                328: bytes((bump, 0, 9, coins[0].decimals, coins[1].decimals)),
                333: _u(10**12),
            },
        ),
    )
    return pool, accounts


def amm_v4(name: str, coins: tuple[Coin, Coin], amounts: tuple[int, int]) -> tuple[str, Accounts]:
    """A pool of the fourth version, whose order book is closed. The fee is a quarter of a percent."""
    pool = address_of(f"{name} pool")
    authority, bump = addresses.find(addresses.AMM_V4, [b"amm authority"])
    vaults, accounts = _vaults(name, coins, authority, amounts)
    data = bytearray(752)
    # Status: swaps only. The rest is what a pool is born with.
    pack_into("<QQQQQQQ", data, 0, 6, bump, 7, 3, coins[0].decimals, coins[1].decimals, 2)
    pack_into("<QQQQQQQ", data, 64, 10**6, 500, 0, 10**6, 10**6, 1, 10**9)
    pack_into("<Q", data, 120, 10**9)
    pack_into("<QQQQQQQQ", data, 128, 5, 10_000, 25, 10_000, 12, 100, 25, 10_000)
    data[336:400] = to_bytes(vaults[0]) + to_bytes(vaults[1])
    data[400:464] = to_bytes(coins[0].mint) + to_bytes(coins[1].mint)
    accounts[pool] = Written(addresses.AMM_V4, bytes(data))
    return pool, accounts


def damm_v2(
    name: str, coins: tuple[Coin, Coin], price: Decimal, depth: int, *, fee: int = 2_500_000
) -> tuple[str, Accounts]:
    """A pool over the whole range. ``depth`` in base units of the first coin, ``fee`` over 10^9."""
    pool = address_of(f"{name} pool")
    root = sqrt_price(coins, price)
    amounts = (depth, depth * root * root >> 128)
    vaults, accounts = _vaults(name, coins, DAMM_V2_AUTHORITY, amounts)
    accounts[pool] = Written(
        addresses.DAMM_V2,
        _account(
            "Pool",
            1112,
            {
                8: _u(fee),
                48: b"\x14",
                168: to_bytes(coins[0].mint) + to_bytes(coins[1].mint),
                232: to_bytes(vaults[0]) + to_bytes(vaults[1]),
                360: _u(depth * root, 16),
                424: _u(MIN_SQRT_PRICE, 16) + _u(MAX_SQRT_PRICE, 16) + _u(root, 16),
                # Activated by time, at its beginning; tokens by their programs; fees from the output.
                480: b"\x01\x00" + bytes((coins[0].program == TOKEN_2022, coins[1].program == TOKEN_2022)),
            },
        ),
    )
    return pool, accounts


def clmm(
    name: str, coins: tuple[Coin, Coin], price: Decimal, depth: int, *, spacing: int = 10, fee: int = 500
) -> tuple[str, Accounts]:
    """A concentrated pool: three ranges around the price, each narrower and deeper. ``fee`` in parts per million.

    Args:
        coins: in the order of their mints' bytes.
        depth: about how much of the first coin, base units, a fall of the price by a tenth takes.
    """
    if to_bytes(coins[0].mint) >= to_bytes(coins[1].mint):
        raise ValueError("The program wants the mints in order.")
    config, observation = address_of(f"{name} config"), address_of(f"{name} observation")
    seeds = (b"pool", to_bytes(config), to_bytes(coins[0].mint), to_bytes(coins[1].mint))
    pool, bump = addresses.find(addresses.CLMM, seeds)
    root = sqrt_price(coins, price)
    tick = _tick_at(root)
    liquidity = (depth * root >> 64) * 6
    span = spacing * TICKS_PER_ARRAY
    net: dict[int, int] = {}
    for width, share in ((200, 3), (900, 2), (4000, 1)):
        for sign, at in ((1, tick - width), (-1, tick + width)):
            place = at // spacing * spacing
            net[place] = net.get(place, 0) + sign * liquidity * share
    vaults, accounts = _vaults(name, coins, pool, (depth * 10**4, depth * 10**4 * root * root >> 128))
    bitmap = 0
    for index in {at // span for at in net}:
        bitmap |= 1 << index + 512
        ticks = {at: value for at, value in net.items() if at // span == index}
        fields = {8: to_bytes(pool), 40: _u(index * span, 4)}
        for at, value in ticks.items():
            place = 44 + (at - index * span) // spacing * 168
            fields[place] = at.to_bytes(4, "little", signed=True) + value.to_bytes(16, "little", signed=True)
            fields[place + 20] = _u(abs(value), 16)
        fields[10_124] = bytes((len(ticks),))
        accounts[addresses.clmm_tick_array(pool, index * span)] = Written(
            addresses.CLMM, _account("TickArrayState", 10_240, _signed_start(fields, index * span))
        )
    accounts[addresses.clmm_bitmap_extension(pool)] = Written(
        addresses.CLMM, _account("TickArrayBitmapExtension", 1832, {8: to_bytes(pool)})
    )
    accounts[observation] = Written(
        addresses.CLMM, _account("ObservationState", 4483, {8: b"\x01", 19: to_bytes(pool)})
    )
    accounts[config] = Written(
        addresses.CLMM, _account("AmmConfig", 117, {43: pack("<IIHI", 120_000, fee, spacing, 40_000)})
    )
    inside = sum(value for at, value in net.items() if at <= tick)
    accounts[pool] = Written(
        addresses.CLMM,
        _account(
            "PoolState",
            1544,
            {
                8: bytes((bump,)) + to_bytes(config),
                73: to_bytes(coins[0].mint) + to_bytes(coins[1].mint) + to_bytes(vaults[0]) + to_bytes(vaults[1]),
                201: to_bytes(observation) + bytes((coins[0].decimals, coins[1].decimals)),
                235: _u(spacing, 2) + _u(inside, 16) + _u(root, 16) + tick.to_bytes(4, "little", signed=True),
                904: _u(bitmap, 128),
            },
        ),
    )
    return pool, accounts


def _signed_start(fields: dict[int, bytes], start: int) -> dict[int, bytes]:
    return fields | {40: start.to_bytes(4, "little", signed=True)}


def _tick_at(root: int) -> int:
    low, high = -443_636, 443_636
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sqrt_price_at(middle) <= root else (low, middle - 1)
    return low


def dlmm(
    name: str, coins: tuple[Coin, Coin], price: Decimal, depth: int, *, step: int = 10, arrays: int = 3
) -> tuple[str, Accounts]:
    """A pair of bins, equally deep on both sides. The base fee is ``step`` basis points; ``depth`` is a bin's.

    Args:
        depth: base units of the first coin in each bin above the price, and their worth below it.
        arrays: how many arrays of 70 bins on each side of the active one.
    """
    low, high = sorted((to_bytes(coins[0].mint), to_bytes(coins[1].mint)))
    factor = 10_000
    pair, bump = addresses.find(addresses.DLMM, [low, high, _u(step, 2), _u(factor, 2)])
    target = int(price.scaleb(coins[1].decimals - coins[0].decimals) * 2**64)
    active = _bin_at(target, step)
    middle = active // BINS_PER_ARRAY
    held = [0, 0]
    accounts: Accounts = {}
    bitmap = 0
    for index in range(middle - arrays, middle + arrays + 1):
        bitmap |= 1 << index + 512
        fields = {8: index.to_bytes(8, "little", signed=True), 16: b"\x02", 24: to_bytes(pair)}
        for n in range(BINS_PER_ARRAY):
            bin_id = index * BINS_PER_ARRAY + n
            at_price = price_of_bin(bin_id, step)
            x = depth if bin_id > active else depth // 2 if bin_id == active else 0
            y = depth * at_price >> 64 if bin_id < active else depth * at_price >> 65 if bin_id == active else 0
            held[0] += x
            held[1] += y
            fields[56 + n * 144] = pack("<QQ", x, y) + _u(at_price, 16) + _u(x * at_price + (y << 64), 16)
        accounts[addresses.dlmm_bin_array(pair, index)] = Written(addresses.DLMM, _account("BinArray", 10_136, fields))
    reserves, vaults = _vaults(name, coins, pair, (held[0], held[1]))
    oracle = address_of(f"{name} oracle")
    accounts[oracle] = Written(addresses.DLMM, _account("Oracle", 3232, {24: _u(100)}))
    # Static parameters; then the volatility of a pair that nobody has traded in.
    static = pack("<HHHHIIiiHBBB", factor, 30, 600, 5000, 40_000, 350_000, -443_636, 443_636, 500, 0, 0, 0)
    accounts[pair] = Written(
        addresses.DLMM,
        _account(
            "LbPair",
            904,
            {
                8: static,
                48: active.to_bytes(4, "little", signed=True),
                72: bytes((bump,)) + _u(step, 2) + b"\x00" + active.to_bytes(4, "little", signed=True) + _u(step, 2),
                83: b"\x01" + _u(factor, 2),
                88: to_bytes(coins[0].mint) + to_bytes(coins[1].mint) + to_bytes(reserves[0]) + to_bytes(reserves[1]),
                552: to_bytes(oracle),
                584: _u(bitmap, 128),
                880: bytes((coins[0].program == TOKEN_2022, coins[1].program == TOKEN_2022)),
            },
        ),
    )
    return pair, accounts | vaults


def _bin_at(target: int, step: int) -> int:
    low, high = -400_000 // step, 400_000 // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if price_of_bin(middle, step) <= target else (low, middle - 1)
    return low
