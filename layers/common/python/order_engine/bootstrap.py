"""The composition root: settings in, wired use cases out, built once per process and only as far as used."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from order_engine.aws import clients
from order_engine.clock import SystemClock
from order_engine.observability import LogObserver
from order_engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from order_engine.aws.connections import DynamoConnections
    from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
    from order_engine.aws.orders import DynamoOrders
    from order_engine.aws.push import ApiGatewayPush
    from order_engine.aws.queue import SqsMailbox, SqsOrderQueue
    from order_engine.aws.rates import DynamoRateLimiter
    from order_engine.aws.statistics import DynamoStatistics
    from order_engine.aws.tickets import TicketSecrets
    from order_engine.engine.audit import Audit
    from order_engine.engine.cancel import Cancel
    from order_engine.engine.dead_letters import ResolveDeadLetter
    from order_engine.engine.execute import Execute
    from order_engine.engine.place import Place
    from order_engine.engine.ports import Venue
    from order_engine.engine.push import PushEvents
    from order_engine.engine.rates import Meter
    from order_engine.engine.rounds import Rounds
    from order_engine.engine.sockets import CloseEnded, Connect, Subscribe
    from order_engine.engine.sweep import Sweep
    from order_engine.engine.triggers import Triggers
    from order_engine.venues.market import PaperMarket

CLOCK = SystemClock()
OBSERVER = LogObserver()


@cache
def settings() -> Settings:
    return Settings.load()


@cache
def orders() -> DynamoOrders:
    from order_engine.aws.orders import DynamoOrders

    return DynamoOrders(clients.dynamodb(), settings().orders_table)


@cache
def connections() -> DynamoConnections:
    from order_engine.aws.connections import DynamoConnections

    return DynamoConnections(clients.dynamodb(), settings().connections_table)


@cache
def statistics() -> DynamoStatistics:
    from order_engine.aws.statistics import DynamoStatistics

    return DynamoStatistics(clients.dynamodb(), settings().accounts_table)


@cache
def queue() -> SqsOrderQueue:
    from order_engine.aws.queue import SqsOrderQueue

    return SqsOrderQueue(clients.sqs(), settings().orders_queue_url, settings().dead_letters_queue_url)


@cache
def dead_letters() -> SqsOrderQueue:
    from order_engine.aws.queue import SqsOrderQueue

    return SqsOrderQueue(clients.sqs(), settings().dead_letters_queue_url)


@cache
def rate_limiter() -> DynamoRateLimiter:
    from order_engine.aws.rates import DynamoRateLimiter

    return DynamoRateLimiter(clients.dynamodb(), settings().accounts_table)


@cache
def meter() -> Meter:
    from order_engine.engine.rates import Meter

    def failed(error: Exception) -> None:
        OBSERVER.noted("", "meter_failed", type(error).__name__)

    return Meter(rate_limiter(), on_failure=failed)


@cache
def keys() -> DynamoKeys:
    from order_engine.aws.keys import DynamoKeys

    return DynamoKeys(clients.dynamodb(), settings().keys_table, former_table=settings().accounts_table)


@cache
def key_use() -> DynamoKeyUse:
    from order_engine.aws.keys import DynamoKeyUse

    return DynamoKeyUse(clients.dynamodb(), settings().accounts_table)


@cache
def ticket_secrets() -> TicketSecrets:
    from order_engine.aws.tickets import TicketSecrets

    return TicketSecrets(clients.secrets(), settings().ticket_secret_arn)


@cache
def quarantine() -> SqsMailbox:
    from order_engine.aws.queue import SqsMailbox

    return SqsMailbox(clients.sqs(), settings().quarantine_queue_url)


@cache
def stream_failures() -> SqsMailbox:
    from order_engine.aws.queue import SqsMailbox

    return SqsMailbox(clients.sqs(), settings().stream_failures_queue_url)


@cache
def push() -> ApiGatewayPush:
    from order_engine.aws.push import ApiGatewayPush

    return ApiGatewayPush(clients.connections(settings().connections_endpoint))


@cache
def market() -> PaperMarket:
    from order_engine.venues.market import PaperMarket

    return PaperMarket(settings().market_seed)


@cache
def venues() -> Sequence[Venue]:
    from order_engine.domain.quote import VENUES
    from order_engine.engine.breaker import GuardedVenue
    from order_engine.venues.paper import PaperVenue

    delay = settings().quote_delay_ms
    return tuple(GuardedVenue(PaperVenue(name, market(), CLOCK, delay), CLOCK) for name in VENUES)


@cache
def place() -> Place:
    from order_engine.engine.place import Place

    return Place(orders(), queue(), CLOCK, OBSERVER)


@cache
def cancel() -> Cancel:
    from order_engine.engine.cancel import Cancel

    return Cancel(orders(), CLOCK, OBSERVER)


@cache
def execute() -> Execute:
    from order_engine.engine.execute import Execute, ExecutionPolicy
    from order_engine.engine.retry import RetryPolicy
    from order_engine.venues.paper import PaperChain

    given = settings()
    chain = PaperChain(market(), CLOCK, given.landing_min_ms, given.landing_max_ms, given.failure_rate)
    policy = ExecutionPolicy(
        retry=RetryPolicy(given.max_retries, given.retry_base_ms, patience_ms=given.order_patience_ms),
        lease_ms=given.lease_ms,
        quote_deadline_ms=given.quote_deadline_ms,
        landing_poll_ms=given.landing_poll_ms,
        rebroadcast_ms=given.rebroadcast_ms,
        max_price_impact_bps=given.max_price_impact_bps,
    )
    return Execute(orders(), venues(), chain, CLOCK, policy, OBSERVER)


@cache
def audit() -> Audit:
    from order_engine.engine.audit import Audit

    return Audit(execute().chain, CLOCK, OBSERVER)


@cache
def resolve_dead_letter() -> ResolveDeadLetter:
    from order_engine.engine.dead_letters import ResolveDeadLetter

    return ResolveDeadLetter(execute())


@cache
def sweep() -> Sweep:
    from order_engine.engine.sweep import Sweep

    return Sweep(orders(), queue(), CLOCK, OBSERVER, settings().order_patience_ms)


@cache
def triggers() -> Triggers:
    from order_engine.engine.triggers import Triggers

    given = settings()
    return Triggers(orders(), queue(), venues(), CLOCK, OBSERVER, given.quote_deadline_ms, given.max_price_impact_bps)


@cache
def rounds() -> Rounds:
    from order_engine.engine.rounds import Rounds

    return Rounds(orders(), sweep(), triggers(), CLOCK, OBSERVER)


@cache
def push_events() -> PushEvents:
    from order_engine.engine.push import PushEvents
    from order_engine.wire.views import event_frame, snapshot_frames

    return PushEvents(connections(), push(), statistics(), event_frame, snapshot_frames, CLOCK, OBSERVER)


@cache
def connect() -> Connect:
    from order_engine.engine.sockets import Connect

    return Connect(connections(), push(), CLOCK)


@cache
def subscribe() -> Subscribe:
    from order_engine.engine.sockets import Subscribe
    from order_engine.wire.views import snapshot_frames

    return Subscribe(orders(), connections(), push(), snapshot_frames, CLOCK, settings().orders_per_socket)


@cache
def close_ended() -> CloseEnded:
    from order_engine.engine.sockets import CloseEnded

    return CloseEnded(connections(), push(), CLOCK, OBSERVER)
