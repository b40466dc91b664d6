"""A worker dies at each call that it makes, on the real adapters: every order ends, and none is swapped twice."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, OrderRequest, SignedTransaction, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import VENUES
from order_engine.engine.execute import Done, Execute, ExecutionPolicy, Later
from order_engine.engine.observer import Silent
from order_engine.engine.place import Place
from order_engine.engine.ports import Known
from order_engine.engine.retry import RetryPolicy
from order_engine.engine.routing.router import Router
from order_engine.venues.paper.chain import PaperChain
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.venue import PaperVenue
from tests.support.clock import StandingClock
from tests.support.cloud import deployed, engine
from tests.support.orders import T0

_REQUEST = OrderRequest("market", SOL, USDC, 1_500_000_000, 100)
_MAX_DELIVERIES = 12
_MAX_CALLS = 100


class Killed(BaseException):
    """The worker is gone: nothing of it runs any further."""


@dataclass
class Fate:
    """Kills the worker at its n-th call to the world, before the call or after it."""

    at: int
    after: bool
    calls: list[str] = field(default_factory=list)
    struck: bool = False

    async def pass_by[T](self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(name)
        strike = len(self.calls) == self.at and not self.struck
        if strike and not self.after:
            self.struck = True
            raise Killed(name)
        result = await call()
        if strike:
            self.struck = True
            raise Killed(name)
        return result


class Watched:
    """Any port, with every awaited call going through fate."""

    def __init__(self, port: Any, name: str, fate: Fate) -> None:
        self._port, self._name, self._fate = port, name, fate

    def __getattr__(self, method: str) -> Any:
        value = getattr(self._port, method)
        if not callable(value):
            return value

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._fate.pass_by(f"{self._name}.{method}", lambda: value(*arguments, **named))

        return call


class Ledger(PaperChain):
    """The paper chain, remembering what reached it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.broadcasts: dict[str, SignedTransaction] = {}

    async def broadcast(self, tx: SignedTransaction) -> None:
        await super().broadcast(tx)
        self.broadcasts[tx.signature] = tx

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        known = await super().status(tx, search_history=search_history)
        # Unlike the stateless paper chain, nothing lands that was never sent.
        return known if tx.signature in self.broadcasts else Known(known.slot, None)


@pytest.fixture
def resources() -> Iterator[None]:
    with deployed():
        yield


async def live(fate: Fate) -> tuple[Order, Ledger, int]:
    """An order's whole life under a fate: the order at its end, the ledger, and how many deliveries it took."""
    clock = StandingClock(T0)
    market = PaperMarket(7)
    ledger = Ledger(market, clock, 2000, 3000, 0.0)
    venues = [Watched(PaperVenue(name, market, clock, 200), f"venue.{name}", fate) for name in VENUES]
    orders = engine().stores.orders
    execute = Execute(
        Watched(orders, "orders", fate),
        Router(venues, clock),
        Watched(ledger, "chain", fate),
        clock,
        ExecutionPolicy(RetryPolicy()),
        Silent(),
    )
    ref = (await Place(orders, engine().stores.queue, clock, Silent())("alice", _REQUEST)).order.ref
    for delivery in itertools.count(1):
        assert delivery <= _MAX_DELIVERIES, "the order does not end"
        verdict: Done | Later | None = None
        try:
            verdict = await execute(ref, worker=f"worker-{delivery}", deadline=clock.now + 14_000)
        except Killed:
            clock.now += 90_000  # the queue's visibility timeout
        if isinstance(verdict, Done):
            break
        if isinstance(verdict, Later):
            clock.now += verdict.delay_ms
    order = await orders.get(OrderRef(ref.user_id, ref.order_id))
    assert order is not None
    return order, ledger, delivery


async def landed(ledger: Ledger) -> int:
    """How many swaps the ledger holds at the end of time."""
    ledger_clock = ledger._clock
    assert isinstance(ledger_clock, StandingClock)
    ledger_clock.now += 600_000
    found = [(await ledger.status(tx, search_history=True)).landed for tx in ledger.broadcasts.values()]
    return sum(1 for landed in found if landed is not None and landed.error is None)


async def test_wherever_a_worker_dies_the_order_ends_with_one_swap(resources: None) -> None:
    undisturbed = Fate(at=0, after=False)
    order, ledger, deliveries = await live(undisturbed)
    assert (order.status, deliveries, await landed(ledger)) == (Status.CONFIRMED, 1, 1)

    tried = 0
    for number, after in itertools.product(range(1, _MAX_CALLS), (False, True)):
        fate = Fate(number, after)
        order, ledger, deliveries = await live(fate)
        if not fate.struck:
            # How often the chain is asked differs: this life ended before its time to die.
            break
        tried += 1
        where = f"{fate.calls[number - 1]} ({'after' if after else 'before'})"
        assert order.status in lifecycle.TERMINAL, where
        assert order.status is Status.CONFIRMED, where
        assert await landed(ledger) == 1, where
        # A third delivery where the transaction was stored, never sent, and had to expire first.
        assert deliveries in (2, 3), where
        assert [event.seq for event in order.events] == list(range(1, order.seq + 1)), where
    assert tried > 40
