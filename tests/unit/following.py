"""A worker that follows a transaction whose fate it does not know, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, SignedTransaction
from order_engine.engine.execute import Execute, ExecutionPolicy, Verdict
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from order_engine.engine.retry import RetryPolicy
from order_engine.engine.routing.router import Router
from tests.fakes.orders import FakeOrders
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock
from tests.support.orders import MARKET, ROUTED, T0

POLICY = RetryPolicy()


LEASE_MS, DEADLINE_MS, BEAT_MS = 20_000, 14_000, 2_000


BYTES = SignedTransaction("signature", "cmF3", last_valid_block_height=100)


LANDED = TransactionStatus(slot=7, amount_out=149_500_000)


@dataclass
class ScriptedChain:
    """A chain whose answers depend on the time alone, in milliseconds since the beginning.

    Attributes:
        landed: what a look-up finds; None where it finds nothing.
        blocks: the block height; a slot is ten more.
        behind: by how many slots a look-up lags behind the height.
        mute: calls that are never answered.
        sent, asked: when the bytes were sent, and when a look-up began; with what.
    """

    clock: LoopClock
    landed: Callable[[int], TransactionStatus | None] = lambda ms: None
    blocks: Callable[[int], int] = lambda ms: 0
    behind: Callable[[int], int] = lambda ms: 0
    mute: frozenset[str] = frozenset()
    sent: list[tuple[int, SignedTransaction]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def now(self) -> int:
        return self.clock.now_ms() - T0

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        raise AssertionError("Nothing is to be built here.")

    async def broadcast(self, tx: SignedTransaction) -> None:
        self.sent.append((self.now, tx))
        await self._answer("broadcast")

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        self.asked.append(self.now)
        await self._answer("status")
        return Known(self._slot() - self.behind(self.now), self.landed(self.now))

    async def height(self) -> Height:
        await self._answer("height")
        return Height(self.blocks(self.now), self._slot())

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        raise AssertionError("Nobody is to look at the ledger here.")

    def _slot(self) -> int:
        return self.blocks(self.now) + 10

    async def _answer(self, call: str) -> None:
        if call in self.mute:
            await asyncio.get_running_loop().create_future()


def routing() -> Order:
    """Claimed just now, and about to be built."""
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    return lifecycle.claim(order, Lease("me", T0 + LEASE_MS), T0)


def submitted() -> Order:
    """Left behind by a worker whose lease has just run out."""
    order = lifecycle.submit(lifecycle.route(routing(), ROUTED, T0), BYTES, T0)
    return replace(order, lease=Lease("gone", T0))


@dataclass
class Followed:
    """What came of it: the worker's verdict, the order as stored, and when the worker was done."""

    verdict: Verdict
    order: Order
    ended: int
    chain: ScriptedChain


def follow(order: Order, *, deadline_ms: int = DEADLINE_MS, retry: RetryPolicy = POLICY, **chain: object) -> Followed:
    """Hand the order to a worker."""
    loop = VirtualLoop()
    clock = LoopClock(loop)
    scripted = ScriptedChain(clock, **chain)  # type: ignore[arg-type]

    async def work() -> Followed:
        store = FakeOrders()
        await store.create(order)
        policy = ExecutionPolicy(retry, lease_ms=LEASE_MS, rebroadcast_ms=BEAT_MS)
        execute = Execute(store, Router((), clock), scripted, clock, policy, Silent())
        async with asyncio.timeout(600):
            verdict = await execute(order.ref, worker="me", deadline=T0 + deadline_ms)
        stored = await store.get(order.ref)
        assert stored is not None
        return Followed(verdict, stored, clock.now_ms() - T0, scripted)

    return run(loop, work())
