"""All of an engine's stores on AWS, each made when it is first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from order_engine.aws.clients import Clients

if TYPE_CHECKING:
    from order_engine.aws.connections import DynamoConnections
    from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
    from order_engine.aws.orders import DynamoOrders
    from order_engine.aws.push import ApiGatewayPush
    from order_engine.aws.queue import SqsMailbox, SqsOrderQueue
    from order_engine.aws.rates import DynamoRateLimiter
    from order_engine.aws.secrets import RotatedSecret
    from order_engine.aws.statistics import DynamoStatistics
    from order_engine.settings import Settings


class AwsStores:
    """The tables, queues, secret and sockets that the settings name."""

    def __init__(self, settings: Settings, clients: Clients | None = None) -> None:
        self.settings = settings
        self._given = settings.resources
        self.clients = clients or Clients()

    @cached_property
    def orders(self) -> DynamoOrders:
        from order_engine.aws.orders import DynamoOrders

        return DynamoOrders(self.clients.dynamodb, self._given.orders_table, self.settings.order_retention_days)

    @cached_property
    def connections(self) -> DynamoConnections:
        from order_engine.aws.connections import DynamoConnections

        return DynamoConnections(self.clients.dynamodb, self._given.connections_table)

    @cached_property
    def statistics(self) -> DynamoStatistics:
        from order_engine.aws.statistics import DynamoStatistics

        return DynamoStatistics(self.clients.dynamodb, self._given.accounts_table)

    @cached_property
    def queue(self) -> SqsOrderQueue:
        from order_engine.aws.queue import SqsOrderQueue

        return SqsOrderQueue(self.clients.sqs, self._given.orders_queue_url, self._given.dead_letters_queue_url)

    @cached_property
    def dead_letters(self) -> SqsOrderQueue:
        from order_engine.aws.queue import SqsOrderQueue

        return SqsOrderQueue(self.clients.sqs, self._given.dead_letters_queue_url)

    @cached_property
    def quarantine(self) -> SqsMailbox:
        from order_engine.aws.queue import SqsMailbox

        return SqsMailbox(self.clients.sqs, self._given.quarantine_queue_url)

    @cached_property
    def stream_failures(self) -> SqsMailbox:
        from order_engine.aws.queue import SqsMailbox

        return SqsMailbox(self.clients.sqs, self._given.stream_failures_queue_url)

    @cached_property
    def rate_limiter(self) -> DynamoRateLimiter:
        from order_engine.aws.rates import DynamoRateLimiter

        return DynamoRateLimiter(self.clients.dynamodb, self._given.accounts_table)

    @cached_property
    def keys(self) -> DynamoKeys:
        from order_engine.aws.keys import DynamoKeys

        former = self._given.accounts_table
        return DynamoKeys(self.clients.dynamodb, self._given.keys_table, former_table=former)

    @cached_property
    def key_use(self) -> DynamoKeyUse:
        from order_engine.aws.keys import DynamoKeyUse

        return DynamoKeyUse(self.clients.dynamodb, self._given.accounts_table)

    @cached_property
    def ticket_secrets(self) -> RotatedSecret:
        from order_engine.aws.secrets import RotatedSecret

        return RotatedSecret(self.clients.secrets, self._given.ticket_secret_arn)

    @cached_property
    def origin_keys(self) -> RotatedSecret | None:
        from order_engine.aws.secrets import RotatedSecret

        arn = self._given.origin_key_arn
        return RotatedSecret(self.clients.secrets, arn) if arn else None

    def reveal(self, secret_arn: str) -> str:
        """What a secret holds now. Blocks; whoever needs it keeps it."""
        return str(self.clients.secrets.get_secret_value(SecretId=secret_arn)["SecretString"])

    @cached_property
    def push(self) -> ApiGatewayPush:
        from order_engine.aws.push import ApiGatewayPush

        return ApiGatewayPush(self.clients.connections(self._given.connections_endpoint))
