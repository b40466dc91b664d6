"""Meteora DAMM v2 on the chain.

Sources: programs/cp-amm/src/{state, base_fee, params} of MeteoraAg/damm-v2. Numbers are little-endian; offsets count
from the account's first byte, so they include Anchor's discriminator of 8 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.integer import ceil_div
from order_engine.venues.meteora.damm2 import FEE_DENOMINATOR, CollectFeeMode, Damm2Pool
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import ChainClock, View, check
from order_engine.venues.solana.addresses import from_bytes
from order_engine.venues.solana.messages import Instruction
from order_engine.venues.solana.programs.program import (
    LivePool,
    Trade,
    discriminator,
    live,
    reads,
    sides,
    signs,
    writes,
)
from order_engine.venues.swap import SwapPool

# The owner of all vaults.
AUTHORITY = "HLnpSz9h2S4hiLQ43rnSD9XkcUThA7B8hQMKmDaiTLcC"

_SWAP = discriminator("global:swap")
_POOL = discriminator("account:Pool")
_POOL_BYTES = 1112
_MINTS, _VAULTS = (168, 200), (232, 264)
_BASE_FEE = Struct("<QB5xHQQ")  # cliff, mode, periods, frequency, reduction
_BASE_FEE_AT, _PROTOCOL_PERCENT, _DYNAMIC_FEE_PRESENT = 8, 48, 56
_DYNAMIC_CONTROL, _DYNAMIC_BIN_STEP, _ACCUMULATOR = 68, 72, 120
_LIQUIDITY, _SQRT_MIN, _SQRT_MAX, _SQRT_PRICE = 360, 424, 440, 456
_STATE = Struct("<QBB")  # activation point, activation type, status
_STATE_AT, _FEE_MODE, _FEE_VERSION = 472, 484, 486

_LINEAR, _EXPONENTIAL = 0, 1
_ENABLED = 0
_ACTIVATED_BY_SLOT = 0
# The most that a swap may be charged, over 10^9, by the version of the pool's fees.
_MOST = (500_000_000, 990_000_000)
_BPS = 10_000
_ONE = 1 << 64
_DYNAMIC_SCALE = 100_000_000_000


@dataclass(frozen=True, slots=True)
class DammV2State:
    """What swaps need of a DAMM v2 pool's account.

    Attributes:
        cliff: the base fee at the pool's activation, over 10^9.
        scheduler: how it falls from then on: 0 by equal steps, 1 by equal factors.
        periods, frequency, reduction: how often, each how many slots or seconds, and by how much it falls.
        dynamic_fee: on top of it, from the volatility that the last swap has left, over 10^9.
        activates_at: slot or unix seconds from which the pool trades.
    """

    mints: tuple[str, str]
    vaults: tuple[str, str]
    cliff: int
    scheduler: int
    periods: int
    frequency: int
    reduction: int
    dynamic_fee: int
    most: int
    protocol_percent: int
    liquidity: int
    sqrt_price: int
    sqrt_range: tuple[int, int]
    activates_at: int
    activates_by_slot: bool
    enabled: bool
    collect_fee_mode: CollectFeeMode


def decode_state(data: bytes) -> DammV2State:
    """Read a DAMM v2 Pool account.

    Raises:
        MalformedAccount: too short, another account type, or fees that are not modelled.
    """
    check(data, _POOL, _POOL_BYTES, "DAMM v2 pool")
    cliff, scheduler, periods, frequency, reduction = _BASE_FEE.unpack_from(data, _BASE_FEE_AT)
    activates_at, activation_type, status = _STATE.unpack_from(data, _STATE_AT)
    if scheduler not in (_LINEAR, _EXPONENTIAL):
        raise MalformedAccount(f"Base fee mode {scheduler} is not supported.")
    try:
        mode = CollectFeeMode(data[_FEE_MODE])
    except ValueError as error:
        raise MalformedAccount(f"Fee mode {data[_FEE_MODE]} is not supported.") from error
    if data[_FEE_VERSION] >= len(_MOST):
        raise MalformedAccount(f"Fee version {data[_FEE_VERSION]} is not known.")
    dynamic_fee = 0
    if data[_DYNAMIC_FEE_PRESENT]:
        control = int.from_bytes(data[_DYNAMIC_CONTROL : _DYNAMIC_CONTROL + 4], "little")
        bin_step = int.from_bytes(data[_DYNAMIC_BIN_STEP : _DYNAMIC_BIN_STEP + 2], "little")
        dynamic_fee = ceil_div((_u128(data, _ACCUMULATOR) * bin_step) ** 2 * control, _DYNAMIC_SCALE)
    return DammV2State(
        mints=(_address(data, _MINTS[0]), _address(data, _MINTS[1])),
        vaults=(_address(data, _VAULTS[0]), _address(data, _VAULTS[1])),
        cliff=cliff,
        scheduler=scheduler,
        periods=periods,
        frequency=frequency,
        reduction=reduction,
        dynamic_fee=dynamic_fee,
        most=_MOST[data[_FEE_VERSION]],
        protocol_percent=data[_PROTOCOL_PERCENT],
        liquidity=_u128(data, _LIQUIDITY),
        sqrt_price=_u128(data, _SQRT_PRICE),
        sqrt_range=(_u128(data, _SQRT_MIN), _u128(data, _SQRT_MAX)),
        activates_at=activates_at,
        activates_by_slot=activation_type == _ACTIVATED_BY_SLOT,
        enabled=status == _ENABLED,
        collect_fee_mode=mode,
    )


def fee_numerator(state: DammV2State, point: int) -> int:
    """The trading fee over 10^9 at a slot or a time, whichever the pool counts in."""
    passed = 0
    if state.frequency:
        passed = min((point - state.activates_at) // state.frequency, state.periods)
    if state.scheduler == _LINEAR:
        base = state.cliff - state.reduction * passed
        if base < 0:
            raise MalformedAccount("The pool's fee would fall below zero.")
    else:
        base = state.cliff * _power(_ONE - (state.reduction << 64) // _BPS, passed) >> 64
    return min(base + state.dynamic_fee, state.most)


def _power(base: int, exponent: int) -> int:
    """A factor below one in Q64.64 to a whole power, every product rounded down."""
    result = _ONE
    while exponent:
        if exponent & 1:
            result = result * base >> 64
        base = base * base >> 64
        exponent >>= 1
    return result


def pool_of(pool_id: str, state: DammV2State, clock: ChainClock) -> Damm2Pool:
    """A DAMM v2 pool ready to quote.

    Raises:
        QuoteRefused: the pool is disabled or not active yet.
        MalformedAccount: its fee is not below one.
    """
    point = clock.slot if state.activates_by_slot else clock.unix_time
    if not state.enabled or point < state.activates_at:
        raise QuoteRefused("The pool is not open for swaps.")
    fee = fee_numerator(state, point)
    if fee >= FEE_DENOMINATOR:
        raise MalformedAccount("The pool's fee is not below one.")
    return Damm2Pool(
        pool_id=pool_id,
        mints=state.mints,
        sqrt_price=state.sqrt_price,
        liquidity=state.liquidity,
        fee_numerator=fee,
        collect_fee_mode=state.collect_fee_mode,
        protocol_fee_percent=state.protocol_percent,
        sqrt_min_price=state.sqrt_range[0],
        sqrt_max_price=state.sqrt_range[1],
    )


@dataclass(frozen=True, slots=True)
class DammV2Accounts:
    """What a swap names."""

    pool: str
    vaults: tuple[str, str]
    mints: tuple[str, str]
    token_programs: tuple[str, str]

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """``swap``. An account that is left out is given as the program itself."""
        at = sides(self, self.vaults, trade)
        return Instruction(
            addresses.DAMM_V2,
            (
                *reads(AUTHORITY),
                *writes(self.pool, at.account_in, at.account_out, *self.vaults),
                *reads(*self.mints),
                *signs(trade.user),
                # No referral.
                *reads(*self.token_programs, addresses.DAMM_V2),
                *reads(addresses.event_authority(addresses.DAMM_V2), addresses.DAMM_V2),
            ),
            _SWAP + trade.amounts,
        )


class DammV2:
    """Implements ``Program``."""

    address: ClassVar[str] = addresses.DAMM_V2
    pool_bytes: ClassVar[int] = _POOL_BYTES
    mint_offsets: ClassVar[tuple[int, int]] = _MINTS

    def read(self, pool: str, view: View) -> LivePool:
        """Implements ``Program.read``. The state is in the pool's own account: the vaults are not read."""
        state = decode_state(view.of(pool, self.address, "DAMM v2 pool"))
        view.demand((*state.mints, addresses.CLOCK))
        mints = (view.mint(state.mints[0]), view.mint(state.mints[1]))
        return live(
            pool_of(pool, state, view.clock()),
            mints,
            DammV2Accounts(pool, state.vaults, state.mints, (mints[0].program, mints[1].program)),
        )


def _u128(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 16], "little")


def _address(data: bytes, at: int) -> str:
    return from_bytes(data[at : at + 32])
