"""Raydium AMM v4 on the chain.

Sources: program/src/{state.rs, instruction.rs} of raydium-io/raydium-amm. Its accounts carry no discriminator; the
owner and the length tell them.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.raydium.amm_v4 import AmmV4Pool
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import View
from order_engine.venues.solana.addresses import TOKEN, from_bytes
from order_engine.venues.solana.messages import Instruction
from order_engine.venues.solana.programs.program import LivePool, Trade, reads, sides, signs, writes
from order_engine.venues.swap import SwapPool

# An instruction is one byte and its arguments: a swap of an exact input that leaves the order book alone.
_SWAP = b"\x10"
_U64 = Struct("<Q")
_TWO_U64 = Struct("<QQ")
_BYTES = 752
_STATUS, _SWAP_FEE, _PROFIT_TO_TAKE, _OPEN_TIME = 0, 176, 192, 224
_VAULTS, _MINTS = (336, 368), (400, 432)
# AmmStatus: initialised, swaps only, and waiting for its opening time.
_INITIALIZED, _SWAP_ONLY, _WAITING = 1, 6, 7


@dataclass(frozen=True, slots=True)
class AmmV4Accounts:
    """What a swap names. The pool's mints belong to the Token program alone."""

    pool: str
    vaults: tuple[str, str]
    mints: tuple[str, str]

    @property
    def token_programs(self) -> tuple[str, str]:
        return TOKEN, TOKEN

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        """Instruction 16, a swap of an exact input without the order book."""
        at = sides(self, self.vaults, trade)
        return Instruction(
            addresses.AMM_V4,
            (
                *reads(TOKEN),
                *writes(self.pool),
                *reads(addresses.amm_v4_authority()),
                *writes(*self.vaults, at.account_in, at.account_out),
                *signs(trade.user),
            ),
            _SWAP + trade.amounts,
        )


class AmmV4:
    """Implements ``Program``."""

    address: ClassVar[str] = addresses.AMM_V4
    pool_bytes: ClassVar[int] = _BYTES
    mint_offsets: ClassVar[tuple[int, int]] = _MINTS

    def read(self, pool: str, view: View) -> LivePool:
        """Implements ``Program.read``."""
        data = view.of(pool, self.address, "AMM v4 pool")
        if len(data) != _BYTES:
            raise MalformedAccount(f"An AMM v4 pool account has {_BYTES} bytes; these are {len(data)}.")
        vaults = (_address(data, _VAULTS[0]), _address(data, _VAULTS[1]))
        mints = (_address(data, _MINTS[0]), _address(data, _MINTS[1]))
        clock = view.clock()
        view.demand((*vaults, *mints))
        (status,) = _U64.unpack_from(data, _STATUS)
        (opens,) = _U64.unpack_from(data, _OPEN_TIME)
        if status not in (_INITIALIZED, _SWAP_ONLY, _WAITING) or (status == _WAITING and clock.unix_time < opens):
            raise QuoteRefused("The pool is not open for swaps.")
        owed = _TWO_U64.unpack_from(data, _PROFIT_TO_TAKE)
        reserves = (view.balance(vaults[0], TOKEN) - owed[0], view.balance(vaults[1], TOKEN) - owed[1])
        if min(reserves) < 0:
            raise MalformedAccount("The vaults hold less than the pool owes.")
        numerator, denominator = _TWO_U64.unpack_from(data, _SWAP_FEE)
        if not 0 <= numerator < denominator:
            raise MalformedAccount("The pool's fee is not below one.")
        return LivePool(AmmV4Pool(pool, mints, reserves, (numerator, denominator)), AmmV4Accounts(pool, vaults, mints))


def _address(data: bytes, at: int) -> str:
    return from_bytes(data[at : at + 32])
