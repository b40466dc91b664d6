"""Raydium CPMM on the chain.

Sources: the public interface description of raydium-cp-swap. Numbers are little-endian; offsets count from the
account's first byte, so they include Anchor's discriminator of 8 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import View, check
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

_SWAP = discriminator("global:swap_base_input")
_POOL = discriminator("account:PoolState")
_CONFIG = discriminator("account:AmmConfig")
_POOL_BYTES, _CONFIG_BYTES = 637, 236
_CONFIG_AT, _VAULTS, _MINTS, _OBSERVATION = 8, (72, 104), (168, 200), 296
_STATUS, _FEES_AND_TIME, _CREATOR_FEE_ON, _CREATOR_FEE_ENABLED, _CREATOR_FEES = 329, 341, 389, 390, 397
_SWAP_DISABLED = 0b100
_RATES, _CREATOR_RATE = 12, 108

_FEES_AND_TIME_OF = Struct("<QQQQQ")
_RATES_OF = Struct("<QQQ")
_U64 = Struct("<Q")
_TWO_U64 = Struct("<QQ")


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
    observation: str
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


def decode_state(data: bytes) -> CpmmState:
    """Read a CPMM PoolState account.

    Raises:
        MalformedAccount: too short, another account type, or a creator's fee mode that is not known.
    """
    check(data, _POOL, _POOL_BYTES, "CPMM pool")
    protocol_0, protocol_1, fund_0, fund_1, open_time = _FEES_AND_TIME_OF.unpack_from(data, _FEES_AND_TIME)
    creator_0, creator_1 = _TWO_U64.unpack_from(data, _CREATOR_FEES)
    try:
        creator_fee_on = CreatorFeeOn(data[_CREATOR_FEE_ON])
    except ValueError as error:
        raise MalformedAccount(f"Creator fee mode {data[_CREATOR_FEE_ON]} is not known.") from error
    return CpmmState(
        config=_address(data, _CONFIG_AT),
        vaults=(_address(data, _VAULTS[0]), _address(data, _VAULTS[1])),
        mints=(_address(data, _MINTS[0]), _address(data, _MINTS[1])),
        observation=_address(data, _OBSERVATION),
        swaps_enabled=not data[_STATUS] & _SWAP_DISABLED,
        open_time=open_time,
        owed=(protocol_0 + fund_0 + creator_0, protocol_1 + fund_1 + creator_1),
        creator_fee_on=creator_fee_on,
        creator_fee_enabled=data[_CREATOR_FEE_ENABLED] != 0,
    )


def decode_config(data: bytes) -> CpmmConfig:
    """Read a CPMM AmmConfig account.

    Raises:
        MalformedAccount: too short, or another account type.
    """
    check(data, _CONFIG, _CONFIG_BYTES, "CPMM configuration")
    trade, protocol, fund = _RATES_OF.unpack_from(data, _RATES)
    (creator,) = _U64.unpack_from(data, _CREATOR_RATE)
    return CpmmConfig(trade, protocol, fund, creator)


def pool_of(pool_id: str, state: CpmmState, config: CpmmConfig, vaults: tuple[int, int], now: int) -> CpmmPool:
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
class CpmmAccounts:
    """What a swap names."""

    pool: str
    config: str
    vaults: tuple[str, str]
    mints: tuple[str, str]
    token_programs: tuple[str, str]
    observation: str

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """``swap_base_input``."""
        at = sides(self, self.vaults, trade)
        return Instruction(
            addresses.CPMM,
            (
                *signs(trade.user),
                *reads(addresses.cpmm_authority(), self.config),
                *writes(self.pool, at.account_in, at.account_out, at.vault_in, at.vault_out),
                *reads(at.program_in, at.program_out, at.mint_in, at.mint_out),
                *writes(self.observation),
            ),
            _SWAP + trade.amounts,
        )


class Cpmm:
    """Implements ``Program``."""

    address: ClassVar[str] = addresses.CPMM
    pool_bytes: ClassVar[int] = _POOL_BYTES
    mint_offsets: ClassVar[tuple[int, int]] = _MINTS

    def read(self, pool: str, view: View) -> LivePool:
        """Implements ``Program.read``."""
        state = decode_state(view.of(pool, self.address, "CPMM pool"))
        view.demand((state.config, *state.vaults, *state.mints, addresses.CLOCK))
        mints = (view.mint(state.mints[0]), view.mint(state.mints[1]))
        programs = (mints[0].program, mints[1].program)
        vaults = (view.balance(state.vaults[0], programs[0]), view.balance(state.vaults[1], programs[1]))
        config = decode_config(view.of(state.config, self.address, "CPMM configuration"))
        return live(
            pool_of(pool, state, config, vaults, view.clock().unix_time),
            mints,
            CpmmAccounts(pool, state.config, state.vaults, state.mints, programs, state.observation),
        )


def _address(data: bytes, at: int) -> str:
    return from_bytes(data[at : at + 32])
