"""The same cases over the fakes of the simulation and over the adapters on moto."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from order_engine.aws import codec
from order_engine.aws.connections import DynamoConnections
from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
from order_engine.aws.orders import DynamoOrders
from order_engine.aws.queue import SqsMailbox, SqsOrderQueue
from order_engine.aws.rates import DynamoRateLimiter
from order_engine.aws.statistics import DynamoStatistics
from order_engine.domain.order import OrderRef
from order_engine.engine.accounts import KeyStore, KeyUse
from order_engine.engine.ports import ConnectionStore, OrderStore
from order_engine.engine.rates import RateLimiter
from order_engine.engine.stats import StatisticsStore
from tests.contract.lagging import LaggingClient
from tests.contract.picky import PickyClient
from tests.fakes.accounts import FakeKeys, FakeKeyUse, FakeRateLimiter
from tests.fakes.connections import FakeConnections
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.fakes.statistics import FakeStatistics
from tests.support.cloud import deployed, engine

type Received = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Services:
    """One set of implementations.

    Attributes:
        receive: takes the visible messages of the order queue: body and receipt handle.
        kept: bodies of the quarantine.
        catch_up: lets reads that may be a moment behind see every write.
        refused: ids of orders whose messages the order queue does not take.
        spoil: makes a stored order's item unreadable.
    """

    orders: OrderStore
    connections: ConnectionStore
    statistics: StatisticsStore
    keys: KeyStore
    key_use: KeyUse
    rates: RateLimiter
    queue: SqsOrderQueue | FakeQueue
    mailbox: SqsMailbox | FakeQueue
    receive: Callable[[], Sequence[Received]]
    kept: Callable[[], Sequence[str]]
    catch_up: Callable[[], None]
    refused: set[str]
    spoil: Callable[[OrderRef], None]


def _now() -> int:
    return time.time_ns() // 1_000_000


def in_memory() -> Services:
    queue = FakeQueue(_now, name="orders", gives_up_to=FakeQueue(_now, name="dead"))
    quarantine = FakeQueue(_now, name="quarantine")
    statistics, key_use = FakeStatistics(lags=True), FakeKeyUse(lags=True)

    def catch_up() -> None:
        statistics.replica.catch_up()
        key_use.replica.catch_up()

    orders = FakeOrders()
    return Services(
        orders,
        FakeConnections(),
        statistics,
        FakeKeys(),
        key_use,
        FakeRateLimiter(),
        queue,
        quarantine,
        lambda: [(message.body, message.receipt) for message in queue.receive(10)],
        lambda: [message.body for message in quarantine.messages.values()],
        catch_up,
        queue.refused,
        orders.corrupt.add,
    )


@pytest.fixture(params=["in memory", "on AWS"])
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    if request.param == "in memory":
        yield in_memory()
        return
    with deployed() as made:
        sqs = boto3.client("sqs")
        dynamodb: Any = LaggingClient(engine().stores.clients.dynamodb)
        queue: Any = PickyClient(engine().stores.clients.sqs)

        def receive(url: str) -> list[Received]:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            return [(message["Body"], message["ReceiptHandle"]) for message in answer.get("Messages", [])]

        def spoil(ref: OrderRef) -> None:
            boto3.client("dynamodb").update_item(
                TableName=made.orders_table,
                Key=codec.key_of(ref),
                UpdateExpression="REMOVE fingerprint",
            )

        yield Services(
            DynamoOrders(dynamodb, made.orders_table),
            DynamoConnections(dynamodb, made.connections_table),
            DynamoStatistics(dynamodb, made.accounts_table),
            DynamoKeys(dynamodb, made.keys_table, former_table=made.accounts_table),
            DynamoKeyUse(dynamodb, made.accounts_table),
            DynamoRateLimiter(dynamodb, made.accounts_table),
            SqsOrderQueue(queue, made.orders_queue_url, made.dead_letters_queue_url),
            SqsMailbox(engine().stores.clients.sqs, made.quarantine_queue_url),
            lambda: receive(made.orders_queue_url),
            lambda: [body for body, _ in receive(made.quarantine_queue_url)],
            dynamodb.catch_up,
            queue.refused,
            spoil,
        )
