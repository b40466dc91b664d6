"""The engine's worker over the chain of our own, in virtual time: waiting costs nothing, and every run repeats."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.solana.genesis import TAXED, Listing, ProgramsMissing, begin, coin, find_programs, fund
from local.solana.ledger import Chain, Weather
from local.solana.methods import Methods, Refusal
from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, OrderRequest, Retry, Status
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT, Token
from order_engine.domain.venues import VENUES
from order_engine.engine.execute import Done, Execute, ExecutionPolicy
from order_engine.engine.observer import Observer, Silent
from order_engine.engine.retry import RetryPolicy
from order_engine.engine.routing.router import Router
from order_engine.venues.solana.chain import SolanaChain
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import PoolSource
from order_engine.venues.solana.priority import FeePolicy
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable
from order_engine.venues.solana.venue import LiveVenue
from tests.fakes.orders import FakeOrders
from tests.fakes.signer import SeedSigner
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock

EPOCH_MS = 1_790_000_000_000
COINS = [*(coin(token) for token in (SOL, USDC, USDT, BONK, JUP)), TAXED]
START_UNITS, START_LAMPORTS = 10**15, 10**12
LEASE_MS, INVOCATION_MS = 20_000, 14_000


@dataclass
class Line:
    """Calls of the chain's nodes without HTTP, over a line that takes its time and may break, before or after.

    Attributes:
        broken: the share of calls, 0 to 1, that nobody answers; of half of them the node has heard all the same.
        silent: methods that nobody answers at all.
        rewrite: what becomes of what a node tells of accounts.
    """

    methods: Methods
    dice: random.Random
    broken: float = 0.0
    latency_ms: tuple[int, int] = (5, 40)
    silent: set[str] = field(default_factory=set)
    rewrite: Callable[[list[str], Any], Any] | None = None

    async def call(self, method: str, *params: Any) -> Any:
        await asyncio.sleep(self.dice.randint(*self.latency_ms) / 1000)
        broken = self.dice.random() < self.broken
        if method in self.silent or (broken and self.dice.random() < 0.5):
            raise NodeUnavailable("No node answered.")
        try:
            said = self.methods.call(method, list(params))
        except Refusal as refusal:
            raise NodeRefused(refusal.code, refusal.message, refusal.data) from refusal
        await asyncio.sleep(self.dice.randint(*self.latency_ms) / 1000)
        if broken:
            raise NodeUnavailable("No node answered.")
        if self.rewrite is not None and method == "getMultipleAccounts":
            return self.rewrite(params[0], said)
        return said


@dataclass
class Desk:
    """Everything that an order needs.

    Attributes:
        others: further nodes that are configured, beside the first, which answers whatever it can.
    """

    chain: Chain
    pools: tuple[Listing, ...]
    line: Line
    clock: LoopClock
    orders: FakeOrders
    signer: SeedSigner
    policy: ExecutionPolicy
    observer: Observer = field(default_factory=Silent)
    others: list[Line] = field(default_factory=list)
    processes: int = 0

    def process(self, addresses: Sequence[str] | None = None) -> Process:
        """What one worker's process has in its memory."""
        self.processes += 1
        node = Node(self.line, apart=self._apart)
        source = PoolSource(node, [each.address for each in self.pools] if addresses is None else addresses)
        chain = SolanaChain(node, self.signer, source, self.clock, FeePolicy(50, 20_000))
        router = Router([LiveVenue(name, source, lambda unusable: None) for name in VENUES], self.clock)
        execute = Execute(self.orders, router, chain, self.clock, self.policy, self.observer)
        return Process(self, source, chain, execute, self.processes)

    async def _apart(self) -> list[Line]:
        return [self.line, *self.others]

    def held(self) -> dict[str, int]:
        """Base units of each coin in the wallet, by mint."""
        found = {}
        for each in COINS:
            address = token_account_of(self.signer.address, each.mint, each.program)
            account = self.chain.account(address)
            found[each.mint] = 0 if account is None else int.from_bytes(account.data[64:72], "little")
        return found

    def lamports(self) -> int:
        account = self.chain.account(self.signer.address)
        return 0 if account is None else account.lamports


def token_account_of(owner: str, mint: str, program: str) -> str:
    from order_engine.venues.solana.addresses import token_account

    return token_account(owner, mint, program)


@dataclass
class Process:
    """One worker's process."""

    desk: Desk
    source: PoolSource
    chain: SolanaChain
    execute: Execute
    number: int

    async def fill(self, order: Order) -> Order:
        """Execute an order until no message is left for it, as the queue would bring them."""
        ref = order.ref
        for turn in range(40):
            now = self.desk.clock.now_ms()
            verdict = await self.execute(ref, worker=f"{self.number}-{turn}", deadline=now + INVOCATION_MS)
            if isinstance(verdict, Done):
                break
            await self.desk.clock.sleep(verdict.delay_ms)
        return self.desk.orders.stored[ref]

    async def swap(self, sell: Token, buy: Token, amount_in: int, *, name: str = "order", bps: int = 50) -> Order:
        return await self.fill(await place(self.desk, name, sell, buy, amount_in, bps))


async def place(desk: Desk, name: str, sell: Token, buy: Token, amount_in: int, bps: int = 50) -> Order:
    """A stored order."""
    request = OrderRequest("market", sell, buy, amount_in, bps)
    order = lifecycle.place(OrderRef("user", name), request, "print", desk.clock.now_ms())
    await desk.orders.create(order)
    return order


def with_desk[T](
    scene: Callable[[Desk], Awaitable[T]],
    *,
    weather: Weather | None = None,
    seed: int = 1,
    broken: float = 0.0,
    retries: int = 3,
    coins: Mapping[str, int] | None = None,
    lamports: int = START_LAMPORTS,
) -> T:
    """Play a scene on a chain with the venues' real programs and pools of every kind. Skipped without the programs.

    Args:
        coins: what the wallet holds of each mint, base units; much of everything where None.
    """
    try:
        programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))

    async def play() -> T:
        clock = LoopClock()
        chain = Chain(clock.now_ms, weather or Weather(), seed)
        pools = begin(chain, programs)
        signer = SeedSigner()
        given = [(each, START_UNITS if coins is None else coins[each.mint]) for each in COINS
                 if coins is None or each.mint in coins]  # fmt: skip
        if lamports:
            fund(chain, signer.address, given, lamports=lamports)
        line = Line(Methods(chain), random.Random(seed), broken)
        policy = ExecutionPolicy(RetryPolicy(retries), lease_ms=LEASE_MS)
        return await scene(Desk(chain, pools, line, clock, FakeOrders(), signer, policy))

    return run(VirtualLoop(), _awaited(play()))


async def _awaited[T](work: Awaitable[T]) -> T:
    return await work


def confirmed(order: Order) -> Order:
    assert order.status is Status.CONFIRMED, order.events[-1]
    return order


def reasons(order: Order) -> list[str]:
    """Why each attempt failed."""
    return [event.detail.failure.code for event in order.events if isinstance(event.detail, Retry)]


KINDS = ("cpmm", "clmm", "amm_v4", "dlmm", "damm2")


def of_kind(desk: Desk, kind: str) -> Listing:
    return next(each for each in desk.pools if each.kind == kind)
