"""One run: a seed's plan, the real handlers wired to the simulated services, and the checks at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

import notify.handler
import notify.socket
import process.dead_letters
import process.handler
import process.sweep
from order_engine.compose import Engine, compose
from order_engine.domain.errors import IdempotencyConflict, TooLateToCancel
from order_engine.domain.lifecycle import place
from order_engine.domain.order import Order, OrderRef, OrderRequest, Status
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import VENUES
from order_engine.engine.accept import Accepted
from order_engine.engine.observer import Note
from order_engine.engine.place import order_id_for
from order_engine.engine.ports import Venue
from order_engine.engine.rates import Rate
from order_engine.engine.retry import PATIENCE_MS
from order_engine.settings import ExecutionSettings, Settings
from order_engine.wire import views
from tests.fakes.accounts import FakeKeys, FakeKeyUse, FakeRateLimiter, NoTickets
from tests.fakes.connections import FakeConnections
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue, body_of
from tests.fakes.signer import SeedSigner
from tests.fakes.statistics import FakeStatistics
from tests.simulation import market
from tests.simulation.chain import DEADLY, SimChain
from tests.simulation.loop import Deadlock, VirtualLoop, run
from tests.simulation.network import Network, draw_nodes
from tests.simulation.sockets import Client, Gateway
from tests.simulation.sources import QueueSource, Schedule, Shard, StreamSource, WakeSource
from tests.simulation.truth import Truth
from tests.simulation.world import EPOCH_MS, Faults, Invocation, Line, Violation, World, draw_faults

# After the faults have stopped, everything must be over within this time.
SETTLE_MS = 15 * 60_000
# So long after the last fault no sweeper of before is left, and a new one is at work.
CALM_MS = 70_000
# An order whose limit is met at its full size all the time fires within this time.
FIRES_MS = 30_000
LIST_LAG_MS = 2_000
_PLENTY = Rate(100_000, 100_000)
_SPOILT = "user3"
_PROCESS_MS, _DEAD_LETTERS_MS, _SUBMIT_MS = 15_000, 30_000, 10_000


@dataclass(frozen=True, slots=True)
class Planned:
    """An order that a client will post at ``at_ms`` (from the beginning), and perhaps cancel."""

    at_ms: int
    user_id: str
    request: OrderRequest
    key: str | None = None
    cancel_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Follower:
    """A client that follows the n-th planned order, or all of its user's orders."""

    at_ms: int
    order: int
    all: bool = False
    ticket: bool = True


@dataclass(slots=True)
class Plan:
    """Everything about a run that is not left to the dice of the moment.

    Attributes:
        bad_ms: how long the faults last.
        nodes: how many addresses of the chain are configured.
        confirmed_after: how many slots later a block is confirmed.
        skips: every so many slots have no block; 0 for none.
        garbage: times at which something unreadable reaches the order queue.
        duplicates, letters: when a spare message for an order appears in the order queue, or among the dead letters.
        poison: times at which an unreadable record reaches the stream.
        corrupt: two items of the orders table can no longer be read: an active order's and a resting one's.
        pauses: functions that Lambda does not run for a while, though their messages are received: name, share of the
            invocations that are refused, from and until.
        patience_ms: how long a market order may wait.
        outages: calls that fail for a while: name, how (see ``World.broken``), from and until.
        probes: functions that look at the simulation at a time.
    """

    orders: list[Planned]
    followers: list[Follower] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    bad_ms: int = 60_000
    period_ms: int = 120_000
    swing_ppm: int = 20_000
    nodes: int = 1
    confirmed_after: int = 2
    skips: int = 20
    sweep_offset_ms: int = 0
    garbage: list[int] = field(default_factory=list)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    letters: list[tuple[int, int]] = field(default_factory=list)
    poison: list[int] = field(default_factory=list)
    corrupt: bool = False
    pauses: list[tuple[str, float, int, int]] = field(default_factory=list)
    patience_ms: int = PATIENCE_MS
    outages: list[tuple[str, str, int, int]] = field(default_factory=list)
    probes: list[tuple[int, Callable[[Simulation], None]]] = field(default_factory=list)
    script: dict[int, str] = field(default_factory=dict)


def market_order(amount_in: int, slippage_bps: int = 50, *, buy: bool = False) -> OrderRequest:
    """Sell SOL for USDC, or buy SOL with USDC; ``amount_in`` in base units."""
    tokens = (USDC, SOL) if buy else (SOL, USDC)
    return OrderRequest("market", *tokens, amount_in, slippage_bps)


def limit_order(amount_in: int, limit_price: Decimal, expires_at: int, slippage_bps: int = 50) -> OrderRequest:
    """Sell SOL for USDC at ``limit_price`` or better, until ``expires_at`` (milliseconds since the epoch)."""
    return OrderRequest("limit", SOL, USDC, amount_in, slippage_bps, limit_price, expires_at)


def plan_of(seed: int) -> Plan:
    """The random plan of a seed."""
    rng = random.Random(f"plan {seed}")
    bad_ms = rng.randint(30_000, 90_000)
    orders = [_planned(rng, bad_ms) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
    followers = [
        Follower(
            max(0, orders[n].at_ms + rng.randint(-50, 4000)),
            n,
            all=rng.random() < 0.3,
            ticket=rng.random() < 0.6,
        )
        for n in range(len(orders))
        for _ in range(rng.choice((0, 1, 1, 2)))
    ]

    def sometimes(share: float) -> list[int]:
        return [rng.randint(0, bad_ms) for _ in range(rng.randint(1, 2))] if rng.random() < share else []

    plan = Plan(
        orders=orders,
        followers=followers,
        faults=draw_faults(rng),
        bad_ms=bad_ms,
        period_ms=rng.choice((20_000, 60_000, 120_000, 400_000)),
        swing_ppm=rng.choice((1_000, 10_000, 30_000)),
        nodes=rng.choice((1, 1, 2, 3)),
        confirmed_after=rng.choice((0, 1, 1, 2, 3)),
        skips=rng.choice((0, 5, 20)),
        sweep_offset_ms=rng.randint(0, 59_000),
        garbage=sometimes(0.15),
        duplicates=[(at, rng.randrange(len(orders))) for at in sometimes(0.3)],
        letters=[(at, rng.randrange(len(orders))) for at in sometimes(0.2)],
        poison=sometimes(0.15),
        corrupt=rng.random() < 0.2,
    )
    # Drawn last, so that older seeds keep the rest of their plans.
    if rng.random() < 0.2:
        begin = rng.randint(0, bad_ms // 2)
        share = rng.choice((0.7, 0.9, 1.0))
        plan.pauses.append((rng.choice(("process", "process", "dead_letters")), share, begin, bad_ms))
    if rng.random() < 0.2:
        plan.patience_ms = rng.randint(20_000, 120_000)
    if rng.random() < 0.2:
        plan.orders += _twins(rng, bad_ms)
    return plan


def _twins(rng: random.Random, bad_ms: int) -> list[Planned]:
    """Two equal orders at one moment, at whatever price: but for their names, their transactions may be equal too."""
    request = market_order(rng.randint(1, 20 * SOL.unit), 10_000, buy=rng.random() < 0.5)
    at_ms = rng.randint(0, bad_ms // 2)
    return [Planned(at_ms, f"user{rng.randint(1, 2)}", request) for _ in range(2)]


def _planned(rng: random.Random, bad_ms: int) -> Planned:
    at_ms = rng.randint(0, bad_ms // 2)
    user = f"user{rng.randint(1, 2)}"
    amount = rng.randint(1, 20 * SOL.unit)
    slippage = rng.choice((0, 10, 50, 100, 10_000))
    if rng.random() < 0.35:
        # Around the market's mean: some are met at once, some later, some never.
        price = Decimal(150) * (Decimal(1_000_000 + rng.randint(-25_000, 25_000)) / 1_000_000)
        lasts = rng.choice((rng.randint(500, 8_000), rng.randint(2_000, 90_000), rng.randint(60_000, 300_000)))
        request = limit_order(amount, price.quantize(Decimal("0.0001")), EPOCH_MS + at_ms + lasts)
        request = replace(request, slippage_bps=slippage)
    else:
        request = market_order(amount, slippage, buy=rng.random() < 0.3)
    if rng.random() < 0.03:
        request = replace(request, wallet_address=DEADLY)
    key = f"key{rng.randint(1, 1000)}" if rng.random() < 0.4 else None
    cancel = at_ms + int(rng.expovariate(1 / rng.choice((60, 1500, 20_000)))) if rng.random() < 0.35 else None
    return Planned(at_ms, user, request, key, cancel)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        violation: the first promise that was broken, or None.
        points: the calls of the run, if they were recorded.
        longest_wait_ms: the longest that an order waited after it had lost its worker.
    """

    seed: int
    violation: str | None
    faults: dict[str, int]
    calls: int
    invocations: int
    simulated_ms: int
    longest_wait_ms: int
    statuses: dict[str, int]
    points: list[str]
    trace: list[Line]


@dataclass(slots=True)
class Context:
    """Lambda's context object in virtual time."""

    world: World
    ends_at: int
    aws_request_id: str = "request"
    function_name: str = "function"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.ends_at - self.world.now)


_TOKENS = TokenList((SOL, USDC))


@dataclass(frozen=True, slots=True)
class _Market:
    """``Market`` of the simulation."""

    venues: Sequence[Venue]
    chain: SimChain
    tokens: TokenList = _TOKENS
    lamports_per_leg: int = 0


@dataclass(frozen=True, slots=True)
class _Stores:
    """``Stores`` of the simulation, as far as it goes: it has no callers who show keys."""

    orders: FakeOrders
    connections: FakeConnections
    statistics: FakeStatistics
    keys: FakeKeys
    key_use: FakeKeyUse
    rate_limiter: FakeRateLimiter
    ticket_secrets: NoTickets
    origin_keys: None
    queue: FakeQueue
    dead_letters: FakeQueue
    quarantine: FakeQueue
    stream_failures: FakeQueue
    push: Gateway


class _Watcher:
    """An observer that writes the trace."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.swapped_twice: set[str] = set()

    def changed(self, order: Order) -> None:
        """The store has said it already."""

    def noted(self, order_id: str, what: Note, reason: str) -> None:
        if what == "swapped_twice":
            self.swapped_twice.add(order_id)
        self._world.note(what, f"{order_id} {reason}")


class Simulation:
    """The world of one seed. ``Simulation(seed, plan).run()`` is all that most callers need."""

    def __init__(self, seed: int, plan: Plan, *, recording: bool = False, tracing: bool = False) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.world = World(seed, self.loop, plan.faults, recording=recording, tracing=tracing)
        world = self.world
        self.loop.set_exception_handler(self._unhandled)
        self.truth = Truth(world, plan.patience_ms)
        self.stream = StreamSource(world, self._notify, [Shard(), Shard()])
        self.orders = FakeOrders(world, self._written, self.truth.refused)
        self.connections = FakeConnections(world)
        self.statistics = FakeStatistics(world)
        self.quarantine = self._queue("quarantine", None)
        self.stream_failures = self._queue("stream_failures", None)
        self.dead_letters = self._queue("dead_letters", self.quarantine, visibility_ms=180_000)
        self.queue = self._queue("queue", self.dead_letters, visibility_ms=90_000)
        self.gateway = Gateway(world)
        # It never fails here: what is counted is held against the orders at the end.
        self.limiter = FakeRateLimiter()
        self.market = market.SwingMarket(plan.period_ms, plan.swing_ppm)
        self.venues = tuple(market.SwingVenue(name, self.market, world) for name in VENUES)
        self.network = Network(
            world,
            self.market,
            draw_nodes(world, plan.nodes, plan.bad_ms),
            plan.confirmed_after,
            plan.skips,
            self.truth.broadcast,
            self.truth.landed,
            plan.script,
        )
        world.on_death = self.truth.died
        self.truth.orders, self.truth.network = self.orders, self.network
        self.clients: list[Client] = []
        self._calm_at = 0
        self._fillable: dict[OrderRef, int] = {}
        self.poisoned: list[str] = []
        self.thrown: list[str] = []
        self._compose()
        if plan.corrupt:
            resting = limit_order(SOL.unit, Decimal(1), EPOCH_MS - 30_000)
            self.orders.spoil(place(OrderRef(_SPOILT, "corrupt"), market_order(SOL.unit), "", EPOCH_MS - 60_000))
            self.orders.spoil(place(OrderRef(_SPOILT, "resting"), resting, "", EPOCH_MS - 60_000))

    def _queue(self, name: str, gives_up_to: FakeQueue | None, visibility_ms: int = 30_000) -> FakeQueue:
        world = self.world
        return FakeQueue(lambda: world.now, name=name, wire=world, visibility_ms=visibility_ms, gives_up_to=gives_up_to)

    def _written(self, old: Order | None, new: Order) -> None:
        self.truth.written(old, new)
        self.stream.written(old, new)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        found = error if isinstance(error, Violation) else Violation(f"unhandled: {context.get('message')} {error!r}")
        self.world.violation = self.world.violation or found

    # --- the composition root of the simulation ------------------------------------------------------------------

    def _compose(self) -> None:
        world = self.world
        self.observer = _Watcher(world)
        self._orders_named, self._workers_named = itertools.count(1), itertools.count(1)
        self.settings = Settings(
            execution=ExecutionSettings(landing_poll_ms=500, order_patience_ms=self.plan.patience_ms)
        )
        self._market = _Market(self.venues, SimChain(self.network, self.venues, SeedSigner()))
        self.stores = _Stores(
            orders=self.orders,
            connections=self.connections,
            statistics=self.statistics,
            keys=FakeKeys(world),
            key_use=FakeKeyUse(),
            rate_limiter=self.limiter,
            ticket_secrets=NoTickets(),
            origin_keys=None,
            queue=self.queue,
            dead_letters=self.dead_letters,
            quarantine=self.quarantine,
            stream_failures=self.stream_failures,
            push=self.gateway,
        )
        self.engine = self._new_engine()
        # Of the stream's consumer, which remembers what it has sent.
        self._environments = [self._new_engine() for _ in range(2)]

    def _new_engine(self) -> Engine:
        """What a new execution environment makes; names are new every time, and the same in every run of a seed."""
        engine = compose(
            self.settings,
            clock=self.world,
            market=self._market,
            stores=self.stores,
            observer=self.observer,
            order_id=lambda: f"order{next(self._orders_named)}",
            worker_name=lambda: f"worker{next(self._workers_named)}",
        )
        # The real one would only cost time.
        engine.router.decide = market.decide
        return engine

    def _any_environment(self) -> Engine:
        """One of those there are, or a new one in place of it."""
        rng = self.world.rng
        number = rng.randrange(len(self._environments))
        if rng.random() < 0.1:
            self._environments[number] = self._new_engine()
        return self._environments[number]

    # --- the run -------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        world = self.world
        logging.disable(logging.CRITICAL)
        try:
            run(self.loop, self._main())
        except Violation as violation:
            world.violation = world.violation or violation
        except Deadlock as deadlock:
            world.violation = world.violation or Violation(f"deadlock: {deadlock}")
        finally:
            logging.disable(logging.NOTSET)
        statuses: dict[str, int] = {}
        for order in self.orders.stored.values():
            statuses[order.status.value] = statuses.get(order.status.value, 0) + 1
        return Result(
            seed=world.seed,
            violation=str(world.violation) if world.violation else None,
            faults=dict(world.counted),
            calls=world.calls,
            invocations=world.invocations,
            simulated_ms=world.now - EPOCH_MS,
            longest_wait_ms=self.truth.longest_wait,
            statuses=statuses,
            points=world.points,
            trace=world.trace,
        )

    async def _main(self) -> None:
        plan, world = self.plan, self.world
        sources = [
            QueueSource(world, self.queue, "process", self._handler(process.handler.handle, _PROCESS_MS), _PROCESS_MS),
            QueueSource(
                world,
                self.dead_letters,
                "dead_letters",
                self._handler(process.dead_letters.handle, _DEAD_LETTERS_MS),
                _DEAD_LETTERS_MS,
                concurrency=2,
            ),
        ]
        for source in sources:
            source.start()
        sweeper = self._handler(process.sweep.handle, 60_000)
        schedule = Schedule(world, "sweep", sweeper, offset_ms=plan.sweep_offset_ms)
        self.stream.placed = WakeSource(world, sweeper).placed
        background = [*self.stream.start(), self.loop.create_task(schedule.run())]
        acting = [self.loop.create_task(work) for work in self._acts()]
        await asyncio.sleep(plan.bad_ms / 1000)
        world.faults = Faults(skew_ms=plan.faults.skew_ms)
        self.network.heal()
        self._calm_at = world.now
        world.note("world", "calms down")
        await asyncio.gather(*acting)
        await self._until(self._finished, "an order is unfinished")
        await self._until(self._quiet, "messages or records are left")
        self._check()
        for client in self.clients:
            await client.resume()
        await self._until(self._quiet, "messages or records are left")
        self._check_views(resumed=True)
        for task in background:
            task.cancel()

    def _finished(self) -> bool:
        """Also what was given up and goes on unseen may still post an order."""
        underway = sum(number for name, number in self.world.running.items() if name != "sweep")
        return underway == 0 and self.truth.finished()

    def _quiet(self) -> bool:
        queues = (self.queue, self.dead_letters)
        return self.stream.drained() and not any(queue.messages for queue in queues)

    async def _until(self, reached: Callable[[], bool], otherwise: str) -> None:
        end = self.world.now + SETTLE_MS
        while not reached():
            self._stop_if_broken()
            self._check_resting()
            if self.world.now > end:
                self.world.violate(f"{otherwise} {SETTLE_MS // 60_000} minutes after the last fault")
            await asyncio.sleep(1)
        await asyncio.sleep(2)
        self._stop_if_broken()

    def _check_resting(self) -> None:
        """Nobody rests for long who could be filled."""
        now = self.world.now
        if now < self._calm_at + CALM_MS:
            return
        for ref, order in self.orders.stored.items():
            living = order.request.expires_at is None or now < order.request.expires_at
            if order.status is Status.OPEN and living and self._could_be_filled(order, now):
                since = self._fillable.setdefault(ref, max(now, order.retry_at or 0))
                if now > since + FIRES_MS:
                    self.world.violate(f"{ref.order_id} rests although its limit has been met for {now - since} ms")
            else:
                self._fillable.pop(ref, None)

    def _could_be_filled(self, order: Order, now: int) -> bool:
        request = order.request
        pools = [self.market.pool(name, now) for name in VENUES]
        return max(pool.quote(request.mint_in, request.amount_in) for pool in pools) >= request.trigger.floor

    def _stop_if_broken(self) -> None:
        if self.world.violation is not None:
            raise self.world.violation

    def _handler[E](
        self, handle: Callable[[Engine, E, Context], Coroutine[Any, Any, Any]], timeout_ms: int
    ) -> Callable[[E, Invocation], Coroutine[Any, Any, Any]]:
        async def invoked(event: E, invocation: Invocation) -> Any:
            return await handle(self.engine, event, Context(self.world, self.world.now + timeout_ms))

        return invoked

    async def _notify(self, event: Any, invocation: Invocation) -> Any:
        return await notify.handler.handle(self._any_environment(), event, Context(self.world, self.world.now + 30_000))

    # --- what users do -------------------------------------------------------------------------------------------

    def _acts(self) -> Iterator[Coroutine[Any, Any, None]]:
        plan = self.plan
        identifiers: list[asyncio.Future[str]] = [self.loop.create_future() for _ in plan.orders]
        for planned, identifier in zip(plan.orders, identifiers, strict=True):
            yield self._post(planned, identifier)
        for number, follower in enumerate(plan.followers):
            yield self._follow(f"client{number + 1}", follower, identifiers[follower.order])
        for at_ms in plan.garbage:
            yield self._at(at_ms, self._throw)
        for at_ms, number in plan.duplicates:
            yield self._duplicate(self.queue, at_ms, plan.orders[number].user_id, identifiers[number])
        for at_ms, number in plan.letters:
            yield self._duplicate(self.dead_letters, at_ms, plan.orders[number].user_id, identifiers[number])
        for at_ms in plan.poison:
            yield self._at(at_ms, self._poison)
        for name, share, from_ms, until_ms in plan.pauses:
            yield self._pause(name, share, from_ms, until_ms)
        for name, how, from_ms, until_ms in plan.outages:
            yield self._break(name, how, from_ms, until_ms)
        for at_ms, probe in plan.probes:
            yield self._at(at_ms, partial(probe, self))

    async def _at(self, at_ms: int, act: Callable[[], None]) -> None:
        await asyncio.sleep(at_ms / 1000)
        act()

    async def _break(self, name: str, how: str, from_ms: int, until_ms: int) -> None:
        await asyncio.sleep(from_ms / 1000)
        self.world.broken[name] = how
        await asyncio.sleep((until_ms - from_ms) / 1000)
        del self.world.broken[name]

    async def _pause(self, name: str, share: float, from_ms: int, until_ms: int) -> None:
        await asyncio.sleep(from_ms / 1000)
        self.world.paused[name] = share
        await asyncio.sleep((until_ms - from_ms) / 1000)
        del self.world.paused[name]

    async def _duplicate(self, queue: FakeQueue, at_ms: int, user_id: str, identifier: asyncio.Future[str]) -> None:
        await asyncio.sleep(at_ms / 1000)
        order_id = await identifier
        if OrderRef(user_id, order_id) in self.orders.stored:
            queue.put(body_of(OrderRef(user_id, order_id)))

    def _throw(self) -> None:
        self.thrown.append(self.world.rng.choice(_GARBAGE))
        self.queue.put(self.thrown[-1])

    def _poison(self) -> None:
        user = f"user{self.world.rng.randint(1, 2)}"
        image = self.world.rng.choice(_POISON)
        self.poisoned.append(self.stream.put(user, "MODIFY", image))

    async def _post(self, planned: Planned, identifier: asyncio.Future[str]) -> None:
        await asyncio.sleep(planned.at_ms / 1000)
        order_id = order_id_for(planned.user_id, planned.key) if planned.key else None
        if order_id is not None:
            identifier.set_result(order_id)
            if self.world.rng.random() < 0.3:
                await self._post_rivals(planned)
        for _ in range(8):
            done, placed = await self.world.invoke(
                "submit",
                lambda _: self._accept(planned.user_id, planned.request, planned.key),
                timeout_ms=_SUBMIT_MS,
            )
            if done:
                assert placed is not None
                order_id = placed.order.ref.order_id
                if placed.order.ref not in self.orders.stored:
                    self.world.violate(f"{order_id} was accepted, but not stored")
                break
            if planned.key is None:
                break  # The client cannot know, and does not post a second order.
            await asyncio.sleep(1)
        if not identifier.done():
            identifier.set_result(order_id or "never")
        if planned.key is not None:
            await self._post_conflict(planned)
        if planned.cancel_at_ms is not None and order_id is not None:
            await asyncio.sleep(max(0, planned.cancel_at_ms - planned.at_ms) / 1000)
            await self._cancel(OrderRef(planned.user_id, order_id))

    async def _accept(self, user_id: str, request: OrderRequest, key: str | None) -> Accepted:
        # Every second request comes to an environment that has just begun, and remembers nothing of what was placed.
        engine = self.engine if self.world.invocations % 2 else self._new_engine()
        return await engine.accept(user_id, request, key, rate=_PLENTY, reads=_PLENTY)

    async def _post_rivals(self, planned: Planned) -> None:
        """Two bodies with the same key at the same moment: at most one of them may be accepted."""
        bodies = (planned.request, replace(planned.request, amount_in=planned.request.amount_in + 1))

        async def post(request: OrderRequest) -> bool:
            done, placed = await self.world.invoke(
                "submit", lambda _: self._accept(planned.user_id, request, planned.key), timeout_ms=_SUBMIT_MS
            )
            return done and placed is not None

        accepted = await asyncio.gather(*map(post, bodies))
        if all(accepted):
            self.world.violate(f"two bodies with the key {planned.key} were both accepted")

    async def _post_conflict(self, planned: Planned) -> None:
        """The same key with another body must be refused, whatever else happens."""
        other = replace(planned.request, amount_in=planned.request.amount_in + 2)

        async def post(invocation: Invocation) -> bool:
            try:
                await self._accept(planned.user_id, other, planned.key)
            except IdempotencyConflict:
                return True
            return False

        ref = OrderRef(planned.user_id, order_id_for(planned.user_id, planned.key or ""))
        if ref not in self.orders.stored:
            return
        done, refused = await self.world.invoke("submit", post, timeout_ms=_SUBMIT_MS)
        if done and not refused:
            self.world.violate(f"the key of {ref.order_id} was taken for another order")

    async def _cancel(self, ref: OrderRef) -> None:
        async def cancel(invocation: Invocation) -> bool:
            try:
                order = await self.engine.cancel(ref)
            except TooLateToCancel:
                return False
            return order.status is Status.CANCELLED

        if ref not in self.orders.stored:
            return
        done, cancelled = await self.world.invoke("cancel", cancel, timeout_ms=_SUBMIT_MS)
        if done and cancelled and self.orders.stored[ref].status is not Status.CANCELLED:
            self.world.violate(f"{ref.order_id} was said to be cancelled")

    async def _follow(self, name: str, follower: Follower, identifier: asyncio.Future[str]) -> None:
        await asyncio.sleep(follower.at_ms / 1000)
        order_id = await identifier
        user_id = self.plan.orders[follower.order].user_id
        if OrderRef(user_id, order_id) not in self.orders.stored:
            return
        client = Client(
            self.world,
            self.gateway,
            self._handler(notify.socket.handle, 29_000),
            name,
            user_id,
            None if follower.all else order_id,
            ticket=follower.ticket and not follower.all,
        )
        self.clients.append(client)
        await client.run()

    # --- the end -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self.truth.check_end()
        self._check_count()
        self._check_views(resumed=False)
        self._check_statistics()
        self._check_letters()

    def _check_count(self) -> None:
        """One order per key, and at most one per request without a key."""
        keyed = {
            OrderRef(planned.user_id, order_id_for(planned.user_id, planned.key))
            for planned in self.plan.orders
            if planned.key is not None
        }
        free = sum(planned.key is None for planned in self.plan.orders)
        others = set(self.orders.stored) - keyed
        if len(others) > free:
            self.world.violate(f"{free} requests without a key led to {len(others)} orders")
        # A request that died may have been counted for nothing, but no order has escaped the limit.
        placed = Counter(ref.user_id for ref in self.orders.stored if ref.user_id != _SPOILT)
        for user_id, number in placed.items():
            counted = self.limiter.charged[user_id, _PLENTY.bucket]
            if counted < number:
                self.world.violate(f"{user_id} has placed {number} orders, of which {counted} were counted")

    def _check_views(self, *, resumed: bool) -> None:
        """Who had no trouble with the socket has seen everything without asking again; who resumed, always."""
        given_up = self._given_up()
        for client in self.clients:
            socket = client.socket
            if socket is None or not socket.subscribed or (socket.troubled and not resumed):
                continue
            for ref, order in self.orders.stored.items():
                if ref.user_id != client.user_id or client.order_id not in (None, ref.order_id):
                    continue
                if ref in given_up and not resumed:
                    continue
                seen = client.seen.get(ref.order_id, {})
                stored = {event.seq: _plain(views.event_view(order.request, event)) for event in order.events}
                # The list of a user's orders lags a little: an order that had ended by then may be missing from it.
                over = order.updated_at < socket.subscribed_at + LIST_LAG_MS
                if not seen and client.order_id is None and over:
                    continue
                if seen != stored:
                    how = "after its resume" if resumed else "although its socket was well"
                    self.world.violate(
                        f"{client.name} has seen {sorted(seen)} of {ref.order_id}'s {order.seq} events {how}"
                    )

    def _given_up(self) -> set[OrderRef]:
        """Orders of which the stream gave up a record."""
        lost = set(self.stream.given_up)
        found: set[OrderRef] = set()
        for shard in self.stream.shards:
            for record in shard.records:
                image = record["dynamodb"].get("NewImage", {})
                if record["dynamodb"]["SequenceNumber"] in lost and "order_id" in image:
                    found.add(OrderRef(image["user_id"]["S"], image["order_id"]["S"]))
        return found

    def _check_statistics(self) -> None:
        if self.stream.given_up:
            return
        counted = {user: totals.by_status for user, totals in self.statistics.totals.items()}
        true = self.truth.statistics(set())
        left = {user: dict(+totals.by_stage) for user, totals in self.statistics.totals.items() if +totals.by_stage}
        if left:
            self.world.violate(f"all orders have ended, and the statistics still count {left}")
        if counted != true:
            self.world.violate(f"the statistics say {counted}, and the orders {true}")

    def _check_letters(self) -> None:
        """What cannot be read is kept."""
        kept = {message.body for message in self.quarantine.messages.values()}
        if not set(self.thrown) <= kept:
            self.world.violate("an unreadable message was dropped")
        known = set(self.stream.given_up)
        for message in self.stream_failures.messages.values():
            known.add(json.loads(message.body)["dynamodb"]["SequenceNumber"])
        if not set(self.poisoned) <= known:
            self.world.violate("an unreadable record of the stream was dropped")


_GARBAGE = ["not json", "[]", '{"userId": 1}', '{"userId":"nobody","orderId":"nothing"}']
_POISON: list[dict[str, Any]] = [
    {"NewImage": {"user_id": {"S": "user1"}}},
    {"NewImage": {}},
    {"NewImage": {"events": {"L": [{"S": "{"}]}}},
]


def _plain(view: object) -> Any:
    """As it reads after a trip over the wire."""
    return json.loads(json.dumps(view))


def audited(seed: int, climate: Mapping[str, float] | None = None) -> tuple[set[str], set[str]]:
    """Run one seed to its end whatever promise is broken on the way.

    Returns:
        The orders of which the ledger holds more than one swap, and those of which the engine says so.
    """
    plan = plan_of(seed)
    for name, likely in (climate or {}).items():
        setattr(plan.faults, name, likely)
    simulation = Simulation(seed, plan)
    simulation.world.regardless = True
    # Broken as it is, it may not come to an end in order; the next minute's sweep looks at the ledger all the same.
    with suppress(Exception):
        simulation.run()
    asyncio.run(simulation.engine.audit())
    twice = {ref.order_id for ref, swaps in simulation.truth.swaps.items() if len(swaps) > 1}
    return twice, simulation.observer.swapped_twice


def simulate(seed: int, *, tracing: bool = False, climate: Mapping[str, float] | None = None) -> Result:
    """Run one seed; ``climate`` sets the likelihood of some faults, by name."""
    plan = plan_of(seed)
    for name, likely in (climate or {}).items():
        setattr(plan.faults, name, likely)
    return Simulation(seed, plan, tracing=tracing).run()
