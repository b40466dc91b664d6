"""The chain as workers have it: the engine's own for Solana over the simulated network, each with its own memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from order_engine.domain.order import Order, SignedTransaction
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.ports import Height, Known, Swapped
from order_engine.venues.solana.addresses import CPMM, TOKEN
from order_engine.venues.solana.chain import SolanaChain
from order_engine.venues.solana.messages import AccountMeta, Instruction
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import Reading
from order_engine.venues.solana.priority import FeePolicy
from order_engine.venues.solana.programs.program import LivePool, Trade
from order_engine.venues.solana.rpc import NodeUnavailable
from order_engine.venues.solana.signer import Signer
from order_engine.venues.swap import SwapPool
from tests.simulation.market import SwingVenue
from tests.simulation.network import Network
from tests.simulation.world import Invocation, current

# An order of this wallet ends every worker that builds its transaction.
DEADLY = "deadly"


@dataclass(frozen=True, slots=True)
class _Accounts:
    """What a swap in the simulation names: the pool, and the token that goes in."""

    pool_id: str
    mints: tuple[str, str] = (SOL.mint, USDC.mint)
    token_programs: tuple[str, str] = (TOKEN, TOKEN)

    def swap(self, trade: Trade, after: SwapPool) -> Instruction:
        return Instruction(CPMM, (AccountMeta(self.pool_id, writable=True), AccountMeta(trade.mint_in)), trade.amounts)


@dataclass(frozen=True, slots=True)
class _Pools:
    """``chain.Pools``: as the routes were found with."""

    venues: Sequence[SwingVenue]

    def latest(self, address: str) -> LivePool | None:
        pool = next((venue.last for venue in self.venues if venue.last and venue.last.pool_id == address), None)
        # It has no curve: the router that would look at it is not the simulation's.
        return None if pool is None else LivePool(cast(SwapPool, pool), _Accounts(address))

    def read_at(self, address: str) -> int:
        return 0

    async def read(self, mints: Iterable[str]) -> Reading:
        raise NodeUnavailable("Nobody asks for pools here a second time.")

    def leave_out(self, address: str, reason: str) -> None:
        raise AssertionError(f"{address} keeps its quotes: {reason}")


@dataclass(slots=True)
class _Environment:
    """What one execution environment of Lambda has in its memory, and which invocation it serves or served last."""

    chain: SolanaChain
    invocation: Invocation | None


@dataclass(slots=True)
class SimChain:
    """``Chain``: each invocation has an environment to itself, a new one or one that is idle."""

    network: Network
    venues: Sequence[SwingVenue]
    signer: Signer
    _environments: list[_Environment] = field(default_factory=list)

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        if order.request.wallet_address == DEADLY:
            await self.network.world.die("chain.build")
        tx = await self._mine().build(order, min_out=min_out)
        self.network.register(order.ref, tx)
        return tx

    async def broadcast(self, tx: SignedTransaction) -> None:
        await self._mine().broadcast(tx)

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        return await self._mine().status(tx, search_history=search_history)

    async def height(self) -> Height:
        return await self._mine().height()

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        return await self._mine().swaps(since=since)

    def _mine(self) -> SolanaChain:
        mine = current()
        self._environments = [each for each in self._environments if not (each.invocation and each.invocation.dead)]
        found = next((each for each in self._environments if each.invocation is mine), None)
        if found is None:
            found = next((each for each in self._environments if each.invocation and each.invocation.done), None)
        if found is None:
            found = _Environment(self._new(), mine)
            self._environments.append(found)
        found.invocation = mine
        return found.chain

    def _new(self) -> SolanaChain:
        nobody_pays = FeePolicy(max_micro_lamports=0)
        node = Node(self.network, apart=self.network.apart)
        return SolanaChain(node, self.signer, _Pools(self.venues), self.network.world, nobody_pays)
