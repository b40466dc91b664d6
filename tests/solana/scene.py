"""A chain with a wallet and pools, in a time that only the test moves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from local.solana.genesis import Listing
from local.solana.ledger import Chain, Weather
from local.solana.methods import Methods
from order_engine.venues.solana.instructions import memo
from order_engine.venues.solana.messages import ComputeBudget, Instruction, Version, compile_message, transaction
from order_engine.venues.solana.rpc import NodeUnavailable


@dataclass
class HandClock:
    """Milliseconds that pass when the test says so."""

    now: int = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now

    def slots(self, count: int, weather: Weather | None = None) -> None:
        self.now += count * (weather or Weather()).slot_ms


@dataclass
class Wallet:
    """A key, and how it signs."""

    key: Keypair

    @property
    def address(self) -> str:
        return str(self.key.pubkey())

    def sign(
        self, calls: Sequence[Instruction], blockhash: str, *, version: Version = 0, units: int = 1_400_000
    ) -> VersionedTransaction:
        message = compile_message(version, self.address, calls, blockhash, ComputeBudget(units))
        return VersionedTransaction.from_bytes(transaction(message, [bytes(self.key.sign_message(message))]))

    def note(self, text: str, chain: Chain) -> VersionedTransaction:
        return self.sign([memo(text)], str(chain.blockhash(chain.advance())))


@dataclass
class Market:
    """A chain with pools of every kind."""

    chain: Chain
    pools: tuple[Listing, ...]


class Direct:
    """A node's methods without HTTP, counted; can be made to say nothing."""

    def __init__(self, chain: Chain) -> None:
        self.methods = Methods(chain)
        self.silent = False
        self.accounts_asked = 0

    @property
    def calls(self) -> int:
        return Counter(self.methods.asked).total()

    async def call(self, method: str, *params: object) -> object:
        await asyncio.sleep(0)
        if self.silent:
            raise NodeUnavailable("No node answered.")
        if method == "getMultipleAccounts":
            self.accounts_asked = len(params[0])  # type: ignore[arg-type]
        return self.methods.call(method, list(params))
