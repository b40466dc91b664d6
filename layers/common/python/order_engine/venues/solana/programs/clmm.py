"""Raydium CLMM on the chain.

Sources: programs/amm/src/states/{pool, tick_array, tickarray_bitmap_extension, config}.rs of raydium-io/raydium-clmm.
Numbers are little-endian; offsets count from the account's first byte, so they include Anchor's discriminator.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.raydium.clmm import ClmmPool, Tick
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import View, check
from order_engine.venues.solana.addresses import MEMO, TOKEN, TOKEN_2022, from_bytes
from order_engine.venues.solana.messages import Instruction
from order_engine.venues.solana.programs.bitmap import ahead
from order_engine.venues.solana.programs.program import (
    ARRAYS_EACH_WAY,
    Arrays,
    LivePool,
    Trade,
    discriminator,
    existing,
    live,
    reads,
    sides,
    signs,
    writes,
)
from order_engine.venues.swap import SwapPool

TICKS_PER_ARRAY = 60

_SWAP = discriminator("global:swap_v2")
_POOL = discriminator("account:PoolState")
_CONFIG = discriminator("account:AmmConfig")
_TICK_ARRAY = discriminator("account:TickArrayState")
_EXTENSION = discriminator("account:TickArrayBitmapExtension")
_POOL_BYTES, _CONFIG_BYTES, _TICK_ARRAY_BYTES = 1544, 63, 10_240
_CONFIG_AT, _MINTS, _VAULTS, _OBSERVATION = 9, (73, 105), (137, 169), 201
_SPACING, _LIQUIDITY, _SQRT_PRICE, _TICK = 235, 237, 253, 269
_STATUS, _FEE_ON, _BITMAP, _BITMAP_BYTES, _OPEN_TIME, _DYNAMIC_FEE = 389, 390, 904, 128, 1080, 1096
_SWAP_DISABLED = 1 << 4
_RATES = Struct("<II4xI")  # protocol, trade, (spacing), fund
_RATES_AT = 43
_TICKS_AT = 44
_TICK_OF = Struct("<i16s16s44xQ80x")  # index, net, gross, what limit orders use
_TICK_BYTES = 168

# The pool's own bitmap covers this many arrays on either side of tick zero; each row of the extension as many more.
_ROW = 512
_ROWS, _ROW_BYTES = 14, _ROW // 8
_EXTENSION_BYTES = 40 + 2 * _ROWS * _ROW_BYTES


@dataclass(frozen=True, slots=True)
class ClmmState:
    """What swaps need of a CLMM pool's account.

    Attributes:
        spacing: ticks between two that may be initialised.
        bitmap: bit i is set where the tick array of index i - 512 has an initialised tick.
        open_time: unix seconds before which swaps are refused.
    """

    config: str
    mints: tuple[str, str]
    vaults: tuple[str, str]
    observation: str
    spacing: int
    liquidity: int
    sqrt_price: int
    tick: int
    bitmap: int
    swaps_enabled: bool
    open_time: int


def decode_state(data: bytes) -> ClmmState:
    """Read a CLMM PoolState account.

    Raises:
        MalformedAccount: too short, another account type, or fees that are not modelled.
    """
    check(data, _POOL, _POOL_BYTES, "CLMM pool")
    if data[_FEE_ON]:
        raise MalformedAccount("The pool takes its fee from one token only, which is not supported.")
    if any(data[_DYNAMIC_FEE:_POOL_BYTES]):
        raise MalformedAccount("The pool has a dynamic fee, which is not supported.")
    spacing = int.from_bytes(data[_SPACING : _SPACING + 2], "little")
    if spacing == 0:
        raise MalformedAccount("A CLMM pool's tick spacing cannot be zero.")
    return ClmmState(
        config=_address(data, _CONFIG_AT),
        mints=(_address(data, _MINTS[0]), _address(data, _MINTS[1])),
        vaults=(_address(data, _VAULTS[0]), _address(data, _VAULTS[1])),
        observation=_address(data, _OBSERVATION),
        spacing=spacing,
        liquidity=int.from_bytes(data[_LIQUIDITY : _LIQUIDITY + 16], "little"),
        sqrt_price=int.from_bytes(data[_SQRT_PRICE : _SQRT_PRICE + 16], "little"),
        tick=int.from_bytes(data[_TICK : _TICK + 4], "little", signed=True),
        bitmap=int.from_bytes(data[_BITMAP : _BITMAP + _BITMAP_BYTES], "little"),
        swaps_enabled=not data[_STATUS] & _SWAP_DISABLED,
        open_time=int.from_bytes(data[_OPEN_TIME : _OPEN_TIME + 8], "little"),
    )


def decode_rates(data: bytes) -> tuple[int, int, int]:
    """Read a CLMM AmmConfig account: the trade fee, and the protocol's and the fund's share of it, per million.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    check(data, _CONFIG, _CONFIG_BYTES, "CLMM configuration")
    protocol, trade, fund = _RATES.unpack_from(data, _RATES_AT)
    return trade, protocol, fund


def decode_ticks(data: bytes) -> tuple[Tick, ...]:
    """Read a CLMM TickArrayState account: its initialised ticks, ascending.

    Raises:
        MalformedAccount: too short, another account type, or ticks with limit orders, which are not modelled.
    """
    check(data, _TICK_ARRAY, _TICK_ARRAY_BYTES, "CLMM tick array")
    ticks: list[Tick] = []
    for number in range(TICKS_PER_ARRAY):
        index, net, gross, orders = _TICK_OF.unpack_from(data, _TICKS_AT + number * _TICK_BYTES)
        if orders:
            raise MalformedAccount("The pool has limit orders, which are not supported.")
        if any(gross):
            ticks.append(Tick(index, int.from_bytes(net, "little", signed=True)))
    return tuple(ticks)


def decode_extension(data: bytes) -> tuple[int, int]:
    """Read a CLMM bitmap extension: the bits of array index 512 and up, and those of index -7680 to -513.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    check(data, _EXTENSION, _EXTENSION_BYTES, "CLMM bitmap extension")
    half = _ROWS * _ROW_BYTES
    above = int.from_bytes(data[40 : 40 + half], "little")
    # Row k of the lower half begins at index -512 (k + 2): the rows descend, the bits within each ascend.
    rows = [data[40 + half + k * _ROW_BYTES : 40 + half + (k + 1) * _ROW_BYTES] for k in range(_ROWS)]
    return above, int.from_bytes(b"".join(reversed(rows)), "little")


def _bitmap(state: ClmmState, extension: bytes | None) -> tuple[int, int]:
    """All initialised arrays as one bitmap, and the array index of its lowest bit."""
    if extension is None:
        return state.bitmap, -_ROW
    above, below = decode_extension(extension)
    first = -_ROW * (_ROWS + 1)
    return below | state.bitmap << _ROW * _ROWS | above << _ROW * (_ROWS + 2), first


@dataclass(frozen=True, slots=True)
class ClmmAccounts:
    """What a swap names.

    Attributes:
        span: how many ticks an array covers.
        tick_arrays: for each of the two mints as the one that goes in: the initialised arrays that the swap may
            cross, in the order in which it crosses them.
    """

    pool: str
    config: str
    vaults: tuple[str, str]
    mints: tuple[str, str]
    token_programs: tuple[str, str]
    observation: str
    span: int
    tick_arrays: tuple[Arrays, Arrays]

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """``swap_v2`` of an exact input. Its price limit of zero is none: the minimum output bounds the price."""
        arrays = self.tick_arrays[self.mints.index(trade.mint_in)]
        end = after.tick // self.span if isinstance(after, ClmmPool) else arrays.indexes[-1]
        at = sides(self, self.vaults, trade)
        return Instruction(
            addresses.CLMM,
            (
                *signs(trade.user),
                *reads(self.config),
                *writes(self.pool, at.account_in, at.account_out, at.vault_in, at.vault_out, self.observation),
                *reads(TOKEN, TOKEN_2022, MEMO, at.mint_in, at.mint_out),
                *writes(addresses.clmm_bitmap_extension(self.pool)),
                *writes(*arrays.upto(end)),
            ),
            _SWAP + trade.amounts + bytes(16) + b"\x01",
        )


class Clmm:
    """Implements ``Program``."""

    address: ClassVar[str] = addresses.CLMM
    pool_bytes: ClassVar[int] = _POOL_BYTES
    mint_offsets: ClassVar[tuple[int, int]] = _MINTS

    def read(self, pool: str, view: View) -> LivePool:
        """Implements ``Program.read``."""
        state = decode_state(view.of(pool, self.address, "CLMM pool"))
        extension_at = addresses.clmm_bitmap_extension(pool)
        view.demand((state.config, *state.mints, extension_at, addresses.CLOCK))
        if not state.swaps_enabled or view.clock().unix_time < state.open_time:
            raise QuoteRefused("The pool is not open for swaps.")
        (extension,) = view.demand((extension_at,))
        bits, first = _bitmap(state, None if extension is None else extension.data)
        span = TICKS_PER_ARRAY * state.spacing
        down, up = ahead(bits, first, state.tick // span, ARRAYS_EACH_WAY)
        at = {index: addresses.clmm_tick_array(pool, index * span) for index in {*down, *up}}
        view.demand(at.values())
        ways = (existing(down, at, view), existing(up, at, view))
        known = sorted({*ways[0].indexes, *ways[1].indexes})
        ticks = [tick for index in known for tick in decode_ticks(view.of(at[index], self.address, "CLMM tick array"))]
        mints = (view.mint(state.mints[0]), view.mint(state.mints[1]))
        trade, protocol, fund = decode_rates(view.of(state.config, self.address, "CLMM configuration"))
        quoted = ClmmPool(
            pool_id=pool,
            mints=state.mints,
            sqrt_price=state.sqrt_price,
            tick=state.tick,
            liquidity=state.liquidity,
            ticks=tuple(ticks),
            trade_fee_rate=trade,
            protocol_fee_rate=protocol,
            fund_fee_rate=fund,
        )
        named = ClmmAccounts(
            pool=pool,
            config=state.config,
            vaults=state.vaults,
            mints=state.mints,
            token_programs=(mints[0].program, mints[1].program),
            observation=state.observation,
            span=span,
            tick_arrays=ways,
        )
        return live(quoted, mints, named)


def _address(data: bytes, at: int) -> str:
    return from_bytes(data[at : at + 32])
