"""Meteora DLMM on the chain.

Sources: the public interface description of lb_clmm. Numbers are little-endian; offsets count from the account's first
byte, so they include Anchor's discriminator of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.meteora.dlmm import Bin, CollectFeeMode, DlmmParameters, DlmmPool, Volatility
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import ChainClock, View, check
from order_engine.venues.solana.addresses import MEMO, from_bytes
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

BINS_PER_ARRAY = 70

_SWAP = discriminator("global:swap2")
_PAIR = discriminator("account:LbPair")
_BIN_ARRAY = discriminator("account:BinArray")
_EXTENSION = discriminator("account:BinArrayBitmapExtension")
_PAIR_BYTES, _BIN_ARRAY_BYTES, _EXTENSION_BYTES = 904, 10_136, 1576
_MINTS, _RESERVES, _ORACLE, _BITMAP, _BITMAP_BYTES = (88, 120), (152, 184), 552, 584, 128
_ACTIVATION_POINT = 816
_REWARDS = ((264, 296), (408, 440))

_PAIR_ENABLED = 0
# Permissioned and customisable permissionless pairs trade from a point in time on.
_PAIR_TYPES_WITH_ACTIVATION = (1, 2)
_ACTIVATED_BY_TIMESTAMP = 1
_FUNCTION_UNDETERMINED = 0
_FUNCTION_LIMIT_ORDER = 2

_U64 = Struct("<Q")
_STATIC = Struct("<HHHHIIiiHBBB")
_VARIABLE = Struct("<IIi4xq")
_STATE = Struct("<BiHB3xB")
_ARRAY_INDEX = Struct("<q")
_BIN = Struct("<QQ16s80xQ8xQ4xB3x")
_BINS_AT = 56

# The pair's own bitmap covers array index -512 to 511; the extension as many again twelve times on either side.
_NEAR = 512
_FAR = 12 * 512
_ABOVE_AT, _BELOW_AT, _HALF_BYTES = 40, 808, 768


@dataclass(frozen=True, slots=True)
class LbPair:
    """What swaps need of a DLMM pair's account.

    Attributes:
        bitmap: bit i is set where the bin array of index i - 512 has liquidity.
        enabled: the pair's status allows swaps.
        activates_at: unix seconds or slot from which the pair trades; None where it always does.
        activates_by_slot: ``activates_at`` is a slot.
    """

    mints: tuple[str, str]
    reserves: tuple[str, str]
    oracle: str
    active_id: int
    bin_step: int
    bitmap: int
    parameters: DlmmParameters
    volatility: Volatility
    enabled: bool
    activates_at: int | None
    activates_by_slot: bool


def decode_pair(data: bytes) -> LbPair:
    """Read a DLMM LbPair account.

    Raises:
        MalformedAccount: too short, another account type, or a fee mode that is not known.
    """
    check(data, _PAIR, _PAIR_BYTES, "DLMM pair")
    (
        base_factor,
        filter_period,
        decay_period,
        reduction_factor,
        variable_fee_control,
        max_volatility_accumulator,
        _min_bin_id,
        _max_bin_id,
        protocol_share,
        base_fee_power_factor,
        function_type,
        collect_fee_mode,
    ) = _STATIC.unpack_from(data, 8)
    accumulator, reference, index_reference, updated_at = _VARIABLE.unpack_from(data, 40)
    pair_type, active_id, bin_step, status, activation_type = _STATE.unpack_from(data, 75)
    (activation_point,) = _U64.unpack_from(data, _ACTIVATION_POINT)
    if bin_step == 0:
        raise MalformedAccount("A DLMM pair's bin step cannot be zero.")
    try:
        fee_mode = CollectFeeMode(collect_fee_mode)
    except ValueError as error:
        raise MalformedAccount(f"Fee mode {collect_fee_mode} is not known.") from error
    # A pair that was never made for one purpose takes limit orders as long as it pays no rewards.
    pays_rewards = any(any(data[start:end]) for start, end in _REWARDS)
    limit_orders = function_type == _FUNCTION_LIMIT_ORDER or (
        function_type == _FUNCTION_UNDETERMINED and not pays_rewards
    )
    return LbPair(
        mints=(_address(data, _MINTS[0]), _address(data, _MINTS[1])),
        reserves=(_address(data, _RESERVES[0]), _address(data, _RESERVES[1])),
        oracle=_address(data, _ORACLE),
        active_id=active_id,
        bin_step=bin_step,
        bitmap=int.from_bytes(data[_BITMAP : _BITMAP + _BITMAP_BYTES], "little"),
        parameters=DlmmParameters(
            base_factor=base_factor,
            variable_fee_control=variable_fee_control,
            filter_period=filter_period,
            decay_period=decay_period,
            reduction_factor=reduction_factor,
            max_volatility_accumulator=max_volatility_accumulator,
            protocol_share=protocol_share,
            base_fee_power_factor=base_fee_power_factor,
            collect_fee_mode=fee_mode,
            limit_orders=limit_orders,
        ),
        volatility=Volatility(accumulator, reference, index_reference, updated_at),
        enabled=status == _PAIR_ENABLED,
        activates_at=activation_point if pair_type in _PAIR_TYPES_WITH_ACTIVATION else None,
        activates_by_slot=activation_type != _ACTIVATED_BY_TIMESTAMP,
    )


def decode_bin_array(data: bytes) -> tuple[Bin, ...]:
    """Read a DLMM BinArray account: its 70 bins, ids ascending.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    check(data, _BIN_ARRAY, _BIN_ARRAY_BYTES, "DLMM bin array")
    (index,) = _ARRAY_INDEX.unpack_from(data, 8)
    first = index * BINS_PER_ARRAY
    raw = _BIN.iter_unpack(data[_BINS_AT:_BIN_ARRAY_BYTES])
    return tuple(
        Bin(first + i, x, y, processed, opened, bool(sells_x), int.from_bytes(price, "little"))
        for i, (x, y, price, opened, processed, sells_x) in enumerate(raw)
    )


def decode_extension(data: bytes) -> tuple[int, int]:
    """Read a DLMM bitmap extension: the bits of array index 512 and up, and of index -513 and down.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    check(data, _EXTENSION, _EXTENSION_BYTES, "DLMM bitmap extension")
    above = int.from_bytes(data[_ABOVE_AT : _ABOVE_AT + _HALF_BYTES], "little")
    below = int.from_bytes(data[_BELOW_AT : _BELOW_AT + _HALF_BYTES], "little")
    return above, below


def _bitmap(pair: LbPair, extension: bytes | None) -> tuple[int, int]:
    """All arrays with liquidity as one bitmap, and the array index of its lowest bit."""
    if extension is None:
        return pair.bitmap, -_NEAR
    above, below = decode_extension(extension)
    # The lower half counts away from zero.
    mirrored = int(format(below, f"0{_FAR}b")[::-1], 2)
    return mirrored | pair.bitmap << _FAR | above << _FAR + 2 * _NEAR, -_NEAR - _FAR


def pool_of(pool_id: str, pair: LbPair, bin_arrays: Iterable[tuple[Bin, ...]], clock: ChainClock) -> DlmmPool:
    """A DLMM pool ready to quote.

    Args:
        bin_arrays: the decoded arrays around the active bin, in any order.

    Raises:
        QuoteRefused: the pair is disabled or not active yet.
    """
    current = clock.slot if pair.activates_by_slot else clock.unix_time
    if not pair.enabled or (pair.activates_at is not None and current < pair.activates_at):
        raise QuoteRefused("The pool is not open for swaps.")
    return DlmmPool(
        pool_id=pool_id,
        mints=pair.mints,
        active_id=pair.active_id,
        bin_step=pair.bin_step,
        parameters=pair.parameters,
        bins=tuple(sorted((b for bins in bin_arrays for b in bins), key=lambda b: b.bin_id)),
        volatility=pair.volatility,
        now=clock.unix_time,
    )


@dataclass(frozen=True, slots=True)
class DlmmAccounts:
    """What a swap names.

    Attributes:
        extension: whether the pair has an account for its bin arrays beyond index -512 to 511.
        bin_arrays: for each of the two mints as the one that goes in: the arrays with liquidity that the swap may
            cross, in the order in which it crosses them.
    """

    pair: str
    reserves: tuple[str, str]
    mints: tuple[str, str]
    token_programs: tuple[str, str]
    oracle: str
    extension: bool
    bin_arrays: tuple[Arrays, Arrays]

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """``swap2``. An account that is left out is given as the program itself."""
        arrays = self.bin_arrays[self.mints.index(trade.mint_in)]
        end = after.active_id // BINS_PER_ARRAY if isinstance(after, DlmmPool) else arrays.indexes[-1]
        at = sides(self, self.reserves, trade)
        extension = writes(addresses.dlmm_bitmap_extension(self.pair)) if self.extension else reads(addresses.DLMM)
        return Instruction(
            addresses.DLMM,
            (
                *writes(self.pair),
                *extension,
                *writes(*self.reserves, at.account_in, at.account_out),
                *reads(*self.mints),
                *writes(self.oracle),
                # No fee for a host.
                *reads(addresses.DLMM),
                *signs(trade.user),
                *reads(*self.token_programs, MEMO, addresses.event_authority(addresses.DLMM), addresses.DLMM),
                *writes(*arrays.upto(end)),
            ),
            # No accounts for transfer hooks follow.
            _SWAP + trade.amounts + bytes(4),
        )


class Dlmm:
    """Implements ``Program``."""

    address: ClassVar[str] = addresses.DLMM
    pool_bytes: ClassVar[int] = _PAIR_BYTES
    mint_offsets: ClassVar[tuple[int, int]] = _MINTS

    def read(self, pool: str, view: View) -> LivePool:
        """Implements ``Program.read``. The liquidity is in the bin arrays: the reserves are not read."""
        pair = decode_pair(view.of(pool, self.address, "DLMM pair"))
        extension_at = addresses.dlmm_bitmap_extension(pool)
        view.demand((*pair.mints, extension_at, addresses.CLOCK))
        (extension,) = view.demand((extension_at,))
        bits, first = _bitmap(pair, None if extension is None else extension.data)
        down, up = ahead(bits, first, pair.active_id // BINS_PER_ARRAY, ARRAYS_EACH_WAY)
        at = {index: addresses.dlmm_bin_array(pool, index) for index in {*down, *up}}
        view.demand(at.values())
        ways = (existing(down, at, view), existing(up, at, view))
        known = {name for way in ways for name in way.addresses}
        arrays = [decode_bin_array(view.of(name, self.address, "DLMM bin array")) for name in known]
        mints = (view.mint(pair.mints[0]), view.mint(pair.mints[1]))
        named = DlmmAccounts(
            pair=pool,
            reserves=pair.reserves,
            mints=pair.mints,
            token_programs=(mints[0].program, mints[1].program),
            oracle=pair.oracle,
            extension=extension is not None,
            bin_arrays=ways,
        )
        return live(pool_of(pool, pair, arrays, view.clock()), mints, named)


def _address(data: bytes, at: int) -> str:
    return from_bytes(data[at : at + 32])
