"""The composition root: settings and the outside world in, an engine out. Every part is made when it is first used.

An engine is a value: what differs between two of them is what they were composed of, and any number fit in a process.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from order_engine.clock import SystemClock
from order_engine.engine.observer import Note
from order_engine.observability import LogObserver
from order_engine.settings import Settings

if TYPE_CHECKING:
    from order_engine.engine.accept import Accept
    from order_engine.engine.accounts import KeyStore, KeyUse, RotatedKeys
    from order_engine.engine.audit import Audit
    from order_engine.engine.cancel import Cancel
    from order_engine.engine.dead_letters import ResolveDeadLetter
    from order_engine.engine.execute import Execute
    from order_engine.engine.messages import Messages
    from order_engine.engine.observer import Observer
    from order_engine.engine.place import Place
    from order_engine.engine.ports import (
        Clock,
        ConnectionStore,
        DeliveredQueue,
        Mailbox,
        OrderStore,
        Push,
    )
    from order_engine.engine.push import PushEvents
    from order_engine.engine.quote import Quote
    from order_engine.engine.rates import Meter, RateLimiter
    from order_engine.engine.rounds import Rounds
    from order_engine.engine.routing.router import Router
    from order_engine.engine.sockets import CloseEnded, Connect, Subscribe
    from order_engine.engine.statistics import Summarise
    from order_engine.engine.stats import StatisticsStore
    from order_engine.engine.sweep import Sweep
    from order_engine.engine.triggers import Triggers
    from order_engine.venues.markets import Market


class Stores(Protocol):
    """What keeps orders, accounts and messages, and what reaches the clients."""

    @property
    def orders(self) -> OrderStore: ...

    @property
    def connections(self) -> ConnectionStore: ...

    @property
    def statistics(self) -> StatisticsStore: ...

    @property
    def keys(self) -> KeyStore: ...

    @property
    def key_use(self) -> KeyUse: ...

    @property
    def rate_limiter(self) -> RateLimiter: ...

    @property
    def ticket_secrets(self) -> RotatedKeys: ...

    @property
    def origin_keys(self) -> RotatedKeys | None:
        """What CloudFront shows; None where nothing stands in front of the APIs."""

    @property
    def queue(self) -> DeliveredQueue: ...

    @property
    def dead_letters(self) -> DeliveredQueue: ...

    @property
    def quarantine(self) -> Mailbox: ...

    @property
    def stream_failures(self) -> Mailbox: ...

    @property
    def push(self) -> Push: ...


def _order_id() -> str:
    return str(uuid.uuid4())


def _worker_name() -> str:
    """The name must be new for every execution: two of one batch may be for the same order."""
    return secrets.token_hex(6)


@dataclass(eq=False, kw_only=True)
class Engine:
    """The use cases over one market and its stores.

    Attributes:
        observer: is told of every change, for logs and metrics.
        order_id: names a new order that has no idempotency key.
        worker_name: names one execution of an order.
    """

    settings: Settings
    clock: Clock
    market: Market
    stores: Stores
    observer: Observer
    order_id: Callable[[], str]
    worker_name: Callable[[], str]

    @cached_property
    def meter(self) -> Meter:
        from order_engine.engine.rates import Meter

        def failed(error: Exception) -> None:
            self.observer.noted("", Note.METER_FAILED, type(error).__name__)

        return Meter(self.stores.rate_limiter, on_failure=failed)

    @cached_property
    def router(self) -> Router:
        from order_engine.engine.routing.router import Router

        given = self.settings.execution
        return Router(
            self.market.venues,
            self.clock,
            given.quote_deadline_ms,
            given.max_price_impact_bps,
            self.market.lamports_per_leg,
        )

    @cached_property
    def accept(self) -> Accept:
        from order_engine.engine.accept import Accept

        ceiling = self.settings.solana.max_slippage_bps if self.settings.market == "solana" else None
        return Accept(self.place, self.stores.rate_limiter, self.meter, self.clock, ceiling)

    @cached_property
    def quote(self) -> Quote:
        from order_engine.engine.quote import Quote

        return Quote(self.router)

    @cached_property
    def summarise(self) -> Summarise:
        from order_engine.engine.statistics import Summarise

        return Summarise(self.stores.orders, self.stores.queue, self.stores.statistics)

    @cached_property
    def messages(self) -> Messages:
        from order_engine.engine.messages import Messages

        return Messages(lambda: self.meter)

    @cached_property
    def handshakes(self) -> Messages:
        from order_engine.engine.messages import Messages

        return Messages(lambda: self.meter)

    @cached_property
    def place(self) -> Place:
        from order_engine.engine.place import Place

        return Place(self.stores.orders, self.stores.queue, self.clock, self.observer, self.order_id)

    @cached_property
    def cancel(self) -> Cancel:
        from order_engine.engine.cancel import Cancel

        return Cancel(self.stores.orders, self.clock, self.observer)

    @cached_property
    def execute(self) -> Execute:
        from order_engine.engine.execute import Execute, ExecutionPolicy
        from order_engine.engine.retry import RetryPolicy

        given = self.settings.execution
        policy = ExecutionPolicy(
            retry=RetryPolicy(
                given.max_retries,
                given.retry_base_ms,
                patience_ms=given.order_patience_ms,
            ),
            lease_ms=given.lease_ms,
            landing_poll_ms=given.landing_poll_ms,
            rebroadcast_ms=given.rebroadcast_ms,
        )
        return Execute(self.stores.orders, self.router, self.market.chain, self.clock, policy, self.observer)

    @cached_property
    def audit(self) -> Audit:
        from order_engine.engine.audit import Audit

        return Audit(self.market.chain, self.clock, self.observer)

    @cached_property
    def resolve_dead_letter(self) -> ResolveDeadLetter:
        from order_engine.engine.dead_letters import ResolveDeadLetter

        return ResolveDeadLetter(self.execute)

    @cached_property
    def sweep(self) -> Sweep:
        from order_engine.engine.sweep import Sweep

        patience_ms = self.settings.execution.order_patience_ms
        return Sweep(self.stores.orders, self.stores.queue, self.clock, self.observer, patience_ms)

    @cached_property
    def triggers(self) -> Triggers:
        from order_engine.engine.triggers import Triggers

        stores, market = self.stores, self.market
        return Triggers(stores.orders, stores.queue, self.router, self.clock, self.observer, lambda: market.tokens)

    @cached_property
    def rounds(self) -> Rounds:
        from order_engine.engine.rounds import Rounds

        return Rounds(self.stores.orders, self.sweep, self.triggers, self.clock, self.observer)

    @cached_property
    def push_events(self) -> PushEvents:
        from order_engine.engine.push import PushEvents
        from order_engine.wire.views import event_frame, snapshot_frames

        stores = self.stores
        return PushEvents(
            stores.connections,
            stores.push,
            stores.statistics,
            event_frame,
            snapshot_frames,
            self.clock,
            self.observer,
        )

    @cached_property
    def connect(self) -> Connect:
        from order_engine.engine.sockets import Connect

        return Connect(self.stores.connections, self.stores.push, self.clock)

    @cached_property
    def subscribe(self) -> Subscribe:
        from order_engine.engine.sockets import Subscribe
        from order_engine.wire.views import snapshot_frames

        stores = self.stores
        most = self.settings.limits.orders_per_socket
        return Subscribe(stores.orders, stores.connections, stores.push, snapshot_frames, self.clock, most)

    @cached_property
    def close_ended(self) -> CloseEnded:
        from order_engine.engine.sockets import CloseEnded

        return CloseEnded(self.stores.connections, self.stores.push, self.clock, self.observer)


def compose(
    settings: Settings,
    *,
    clock: Clock,
    market: Market,
    stores: Stores,
    observer: Observer | None = None,
    order_id: Callable[[], str] = _order_id,
    worker_name: Callable[[], str] = _worker_name,
) -> Engine:
    """An engine of these parts. Nothing is read, opened or called before it is used."""
    return Engine(
        settings=settings,
        clock=clock,
        market=market,
        stores=stores,
        observer=observer or LogObserver(),
        order_id=order_id,
        worker_name=worker_name,
    )


def starting() -> bool:
    """Whether Lambda starts a function here: what is made now costs nobody's time.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return "AWS_LAMBDA_INITIALIZATION_TYPE" in os.environ


def deployed(environment: Mapping[str, str] | None = None, *, ready: Sequence[str] = ()) -> Engine:
    """The engine that an environment describes (this process's, or the mapping given), on AWS's services.

    Args:
        ready: dotted names of the engine's parts that the first invocation will need. Where Lambda starts a function,
            and a processor is to be had for nothing, they are made at once.

    Raises:
        SettingsError: a setting cannot be read.
    """
    from order_engine.aws.stores import AwsStores
    from order_engine.venues.markets import market_of

    settings, clock, observer = Settings.load(environment), SystemClock(), LogObserver()
    stores = AwsStores(settings)
    market = market_of(settings, clock, partial(observer.noted, "", Note.POOL_LEFT_OUT), stores.reveal)
    engine = compose(settings, clock=clock, market=market, stores=stores, observer=observer)
    if ready and environment is None and starting():
        stores.clients.rehearse(lambda: [attrgetter(part)(engine) for part in ready])
    return engine
