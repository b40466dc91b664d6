"""Pools from the raw bytes of their accounts on the chain.

Layouts: the public IDLs of raydium-cp-swap and lb_clmm. All numbers are little-endian; offsets count from the
account's first byte, so they include Anchor's discriminator of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.cpmm import CpmmPool, CreatorFeeOn
from order_engine.venues.dlmm import Bin, CollectFeeMode, DlmmParameters, DlmmPool, Volatility

BINS_PER_ARRAY = 70

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS_BYTES = 32

# sha256("account:<Name>")[:8], as Anchor marks each account with its type.
_CPMM_POOL_STATE = bytes.fromhex("f7ede3f5d7c3de46")
_CPMM_AMM_CONFIG = bytes.fromhex("daf42168cbcb2b6f")
_LB_PAIR = bytes.fromhex("210b3162b565b10d")
_BIN_ARRAY = bytes.fromhex("5c8e5cdc059446b5")

_CPMM_POOL_STATE_LENGTH = 637
_CPMM_AMM_CONFIG_LENGTH = 236
_LB_PAIR_LENGTH = 904
_BIN_ARRAY_LENGTH = 10_136

_SWAP_DISABLED = 0b100
_PAIR_ENABLED = 0
# Permissioned and customisable permissionless pairs trade from a point in time on.
_PAIR_TYPES_WITH_ACTIVATION = (1, 2)
_ACTIVATED_BY_TIMESTAMP = 1
_FUNCTION_UNDETERMINED = 0
_FUNCTION_LIMIT_ORDER = 2

_CPMM_FEES_AND_TIME = Struct("<QQQQQ")
_CPMM_RATES = Struct("<QQQ")
_U64 = Struct("<Q")
_TWO_U64 = Struct("<QQ")
_LB_STATIC = Struct("<HHHHIIiiHBBB")
_LB_VARIABLE = Struct("<IIi4xq")
_LB_STATE = Struct("<BiHB3xB")
_ARRAY_INDEX = Struct("<q")
_BIN = Struct("<QQ16s80xQ8xQ4xB3x")
_BINS_OFFSET = 56


def encode_address(raw: bytes) -> str:
    """An address in base58, as people and mints' names write it.

    Args:
        raw: 32 bytes.

    Raises:
        MalformedAccount: another length.
    """
    if len(raw) != _ADDRESS_BYTES:
        raise MalformedAccount(f"An address has {_ADDRESS_BYTES} bytes, not {len(raw)}.")
    number = int.from_bytes(raw, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    leading_zeros = len(raw) - len(raw.lstrip(b"\0"))
    return _ALPHABET[0] * leading_zeros + "".join(reversed(digits))


def _check(data: bytes, discriminator: bytes, length: int, name: str) -> None:
    if data[: len(discriminator)] != discriminator:
        raise MalformedAccount(f"These bytes are not a {name} account.")
    if len(data) < length:
        raise MalformedAccount(f"A {name} account has {length} bytes; these are {len(data)}.")


@dataclass(frozen=True, slots=True)
class CpmmState:
    """What swaps need of a CPMM pool's account.

    Attributes:
        config: address of the pool's AMM configuration.
        vaults: addresses of the two token accounts.
        swaps_enabled: the pool's status allows swaps.
        open_time: unix seconds before which swaps are refused.
        owed: base units in each vault that belong to protocol, fund and creator.
        creator_fee_enabled: whether the configuration's creator fee applies.
    """

    config: str
    vaults: tuple[str, str]
    mints: tuple[str, str]
    swaps_enabled: bool
    open_time: int
    owed: tuple[int, int]
    creator_fee_on: CreatorFeeOn
    creator_fee_enabled: bool


@dataclass(frozen=True, slots=True)
class CpmmConfig:
    """The rates of a CPMM AMM configuration, parts per million (protocol and fund: of the trade fee)."""

    trade_fee_rate: int
    protocol_fee_rate: int
    fund_fee_rate: int
    creator_fee_rate: int


def decode_cpmm_state(data: bytes) -> CpmmState:
    """Read a CPMM PoolState account.

    Raises:
        MalformedAccount: too short, another account type, or a creator's fee mode that is not known.
    """
    _check(data, _CPMM_POOL_STATE, _CPMM_POOL_STATE_LENGTH, "CPMM pool")
    protocol_0, protocol_1, fund_0, fund_1, open_time = _CPMM_FEES_AND_TIME.unpack_from(data, 341)
    creator_0, creator_1 = _TWO_U64.unpack_from(data, 397)
    try:
        creator_fee_on = CreatorFeeOn(data[389])
    except ValueError as error:
        raise MalformedAccount(f"Creator fee mode {data[389]} is not known.") from error
    return CpmmState(
        config=encode_address(data[8:40]),
        vaults=(encode_address(data[72:104]), encode_address(data[104:136])),
        mints=(encode_address(data[168:200]), encode_address(data[200:232])),
        swaps_enabled=not data[329] & _SWAP_DISABLED,
        open_time=open_time,
        owed=(protocol_0 + fund_0 + creator_0, protocol_1 + fund_1 + creator_1),
        creator_fee_on=creator_fee_on,
        creator_fee_enabled=data[390] != 0,
    )


def decode_cpmm_config(data: bytes) -> CpmmConfig:
    """Read a CPMM AmmConfig account.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    _check(data, _CPMM_AMM_CONFIG, _CPMM_AMM_CONFIG_LENGTH, "CPMM configuration")
    trade, protocol, fund = _CPMM_RATES.unpack_from(data, 12)
    (creator,) = _U64.unpack_from(data, 108)
    return CpmmConfig(trade, protocol, fund, creator)


def cpmm_pool(pool_id: str, state: CpmmState, config: CpmmConfig, vaults: tuple[int, int], now: int) -> CpmmPool:
    """A CPMM pool ready to quote.

    Args:
        vaults: the balances of the two vaults, base units.
        now: unix seconds.

    Raises:
        QuoteRefused: swaps are disabled or not open yet.
        MalformedAccount: the vaults hold less than the pool owes, so the accounts are not of one moment.
    """
    if not state.swaps_enabled or now < state.open_time:
        raise QuoteRefused("The pool is not open for swaps.")
    reserves = (vaults[0] - state.owed[0], vaults[1] - state.owed[1])
    if min(reserves) < 0:
        raise MalformedAccount("The vaults hold less than the fees that the pool owes.")
    return CpmmPool(
        pool_id=pool_id,
        mints=state.mints,
        reserves=reserves,
        trade_fee_rate=config.trade_fee_rate,
        protocol_fee_rate=config.protocol_fee_rate,
        fund_fee_rate=config.fund_fee_rate,
        creator_fee_rate=config.creator_fee_rate if state.creator_fee_enabled else 0,
        creator_fee_on=state.creator_fee_on,
    )


@dataclass(frozen=True, slots=True)
class LbPair:
    """What swaps need of a DLMM pair's account.

    Attributes:
        enabled: the pair's status allows swaps.
        activates_at: unix seconds or slot from which the pair trades; None where it always does.
        activates_by_slot: ``activates_at`` is a slot.
    """

    mints: tuple[str, str]
    reserves: tuple[str, str]
    active_id: int
    bin_step: int
    parameters: DlmmParameters
    volatility: Volatility
    enabled: bool
    activates_at: int | None
    activates_by_slot: bool


def decode_lb_pair(data: bytes) -> LbPair:
    """Read a DLMM LbPair account.

    Raises:
        MalformedAccount: too short, another account type, or a fee mode that is not known.
    """
    _check(data, _LB_PAIR, _LB_PAIR_LENGTH, "DLMM pair")
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
    ) = _LB_STATIC.unpack_from(data, 8)
    accumulator, reference, index_reference, updated_at = _LB_VARIABLE.unpack_from(data, 40)
    pair_type, active_id, bin_step, status, activation_type = _LB_STATE.unpack_from(data, 75)
    (activation_point,) = _U64.unpack_from(data, 816)
    if bin_step == 0:
        raise MalformedAccount("A DLMM pair's bin step cannot be zero.")
    try:
        fee_mode = CollectFeeMode(collect_fee_mode)
    except ValueError as error:
        raise MalformedAccount(f"Fee mode {collect_fee_mode} is not known.") from error
    # A pair that was never made for one purpose takes limit orders as long as it pays no rewards.
    pays_rewards = any(data[264:296]) or any(data[408:440])
    limit_orders = function_type == _FUNCTION_LIMIT_ORDER or (
        function_type == _FUNCTION_UNDETERMINED and not pays_rewards
    )
    return LbPair(
        mints=(encode_address(data[88:120]), encode_address(data[120:152])),
        reserves=(encode_address(data[152:184]), encode_address(data[184:216])),
        active_id=active_id,
        bin_step=bin_step,
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
    _check(data, _BIN_ARRAY, _BIN_ARRAY_LENGTH, "DLMM bin array")
    (index,) = _ARRAY_INDEX.unpack_from(data, 8)
    first = index * BINS_PER_ARRAY
    raw = _BIN.iter_unpack(data[_BINS_OFFSET:_BIN_ARRAY_LENGTH])
    return tuple(
        Bin(first + i, x, y, processed, opened, bool(sells_x), int.from_bytes(price, "little"))
        for i, (x, y, price, opened, processed, sells_x) in enumerate(raw)
    )


def dlmm_pool(pool_id: str, pair: LbPair, bin_arrays: Iterable[tuple[Bin, ...]], now: int, slot: int = 0) -> DlmmPool:
    """A DLMM pool ready to quote.

    Args:
        bin_arrays: the decoded arrays around the active bin, in any order.
        now: unix seconds.
        slot: the current slot; needed where a pair activates by slot.

    Raises:
        QuoteRefused: the pair is disabled or not active yet.
    """
    current = slot if pair.activates_by_slot else now
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
        now=now,
    )
