"""One worker, whose store, chain, venue and clock do what a test says, and who is overheard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from order_engine.domain import lifecycle
from order_engine.domain.order import (
    Lease,
    Order,
    OrderRef,
    OrderRequest,
    SignedTransaction,
    Status,
)
from order_engine.domain.quote import Pool
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import RAYDIUM
from order_engine.engine.execute import Execute, ExecutionPolicy, Verdict
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from order_engine.engine.retry import RetryPolicy
from order_engine.engine.routing.router import Router
from order_engine.venues.raydium.cpmm import CpmmPool
from tests.fakes.orders import FakeOrders
from tests.support.clock import StandingClock
from tests.support.orders import LIMIT, MARKET, T0
from tests.support.recorder import Recorder

RETRY = RetryPolicy()
POLICY = ExecutionPolicy(RETRY, lease_ms=20_000, landing_poll_ms=100, rebroadcast_ms=2_000)
SIGNED = SignedTransaction("a signature", "cmF3", 100)
POOL = CpmmPool("pool", (SOL.mint, USDC.mint), (1_000 * SOL.unit, 150_000 * USDC.unit), 2_500, 0, 0)
OUT = POOL.quote(SOL.mint, MARKET.amount_in)
ID = "order"


@dataclass
class Chain:
    """Builds, and answers every look-up in the same way.

    Attributes:
        building: what happens while a transaction is built.
        calls: everything that it was asked, in order, with what was stored at that moment.
    """

    store: FakeOrders
    landed: TransactionStatus | None = None
    height_: Height = field(default_factory=lambda: Height(0, 0))
    slot: int = 0
    building: Callable[[], object] = lambda: None
    breaks: frozenset[str] = frozenset()
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        self.calls.append(("build", order.status, min_out))
        self.building()
        return SIGNED

    async def broadcast(self, tx: SignedTransaction) -> None:
        (stored,) = self.store.stored.values()
        self.calls.append(("broadcast", tx, stored.intent))
        self._break("broadcast")

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        self.calls.append(("status", tx, search_history))
        self._break("status")
        return Known(self.slot, self.landed)

    async def height(self) -> Height:
        self.calls.append(("height",))
        self._break("height")
        return self.height_

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        raise AssertionError("No worker looks at the ledger.")

    def _break(self, call: str) -> None:
        if call in self.breaks:
            raise ConnectionError("no answer")


@dataclass
class Venue:
    name: str = RAYDIUM
    asked: list[tuple[str, str]] = field(default_factory=list)
    found: Sequence[Pool] = (POOL,)

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        self.asked.append((mint_in, mint_out))
        return self.found


class Racing(FakeOrders):
    """Lets another go first at the first writes: what it does there is given."""

    def __init__(self, *before: Callable[[FakeOrders, Order], Awaitable[None]], **named: object) -> None:
        super().__init__(**named)  # type: ignore[arg-type]
        self.before = list(before)

    async def replace(self, old: Order, new: Order) -> None:
        if self.before:
            await self.before.pop(0)(self, old)
        await super().replace(old, new)


@dataclass
class Run:
    """What a worker did, and what came of it."""

    store: FakeOrders = field(default_factory=FakeOrders)
    clock: StandingClock = field(default_factory=lambda: StandingClock(T0))
    venue: Venue = field(default_factory=Venue)
    policy: ExecutionPolicy = POLICY
    most_impact_bps: int = 1_000
    observer: Recorder = field(default_factory=Recorder)
    verdict: Verdict | None = None
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        self.chain = Chain(self.store)

    async def __call__(self, order: Order, *, deadline_ms: int = 14_000) -> Order:
        await self.store.create(order)
        router = Router((self.venue,), self.clock, max_price_impact_bps=self.most_impact_bps)
        execute = Execute(self.store, router, self.chain, self.clock, self.policy, self.observer)
        self.verdict = await execute(order.ref, worker="me", deadline=T0 + deadline_ms)
        return self.store.stored[order.ref]


def placed(request: OrderRequest = MARKET) -> Order:
    order = lifecycle.place(OrderRef("user", ID), request, "print", T0)
    return order if order.status is Status.PENDING else lifecycle.fire(order, T0)


def left(order: Order) -> Order:
    """Left behind by a worker whose lease has just run out."""
    return replace(order, lease=Lease("gone", T0))


def steps(order: Order, since: int) -> list[tuple[Status, int, int]]:
    return [(event.status, event.at, event.attempt) for event in order.events[since:]]


S = Status
LANDED = TransactionStatus(slot=7, amount_out=OUT - 3)


def at_its_limit(amount_in: int, *, units_above: int = 0) -> OrderRequest:
    """A limit so far above what the whole amount would get, in base units of the output."""
    out = POOL.quote(SOL.mint, amount_in) + units_above
    price = Decimal(out).scaleb(-USDC.decimals) / Decimal(amount_in).scaleb(-SOL.decimals)
    return replace(LIMIT, amount_in=amount_in, limit_price=price, slippage_bps=10_000)
