"""What works behind the APIs: executes orders, resolves dead letters, sweeps, and pushes statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.findings import acknowledge
from infra.python_function import Platform, PythonFunction
from infra.queues import DEAD_LETTERS_TIMEOUT, PROCESS_TIMEOUT, Queues
from infra.storage import ENDS, EXPIRY, WORK, Storage
from infra.websocket_api import WebSocketApi

_EVERY_MINUTE = Duration.minutes(1)
_WAKE_AFTER = Duration.seconds(5)


class Workers(Construct):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        platform: Platform,
        *,
        storage: Storage,
        queues: Queues,
        websocket: WebSocketApi,
    ) -> None:
        super().__init__(scope, construct_id)
        self._platform = platform
        self._storage = storage
        self._queues = queues
        self.process = self._process()
        self.dead_letters = self._dead_letters()
        self.sweep = self._sweep(websocket)
        self.notify = self._notify(websocket)

    def _process(self) -> PythonFunction:
        config, queues = self._platform.config, self._queues
        function = PythonFunction(
            self,
            "Process",
            self._platform,
            handler="process.handler.lambda_handler",
            description="Executes the orders of one batch concurrently",
            timeout=PROCESS_TIMEOUT,
            reserved=config.reserved,
            settings={
                "orders_table": self._storage.orders.table_name,
                "orders_queue_url": queues.orders.queue_url,
                "quarantine_queue_url": queues.quarantine.queue_url,
                "order_patience_ms": config.order_patience_ms,
                "order_retention_days": config.order_retention_days,
                **config.paper,
            },
        )
        self._consume(function, queues.orders, batch_size=config.batch_size, concurrency=config.concurrency)
        function.allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], [self._storage.orders.table_arn])
        function.allow(["sqs:SendMessage"], [queues.quarantine.queue_arn])
        return function

    def _dead_letters(self) -> PythonFunction:
        queues = self._queues
        function = PythonFunction(
            self,
            "DeadLetters",
            self._platform,
            handler="process.dead_letters.lambda_handler",
            description="Brings orders to their end that the queue gave up on",
            # What it fails at stays in its queue, whose depth is told of.
            tells_errors=False,
            timeout=DEAD_LETTERS_TIMEOUT,
            settings={
                "orders_table": self._storage.orders.table_name,
                "dead_letters_queue_url": queues.dead_letters.queue_url,
                "quarantine_queue_url": queues.quarantine.queue_url,
                "order_patience_ms": self._platform.config.order_patience_ms,
                "order_retention_days": self._platform.config.order_retention_days,
                **self._platform.config.paper,
            },
        )
        self._consume(function, queues.dead_letters, batch_size=10, concurrency=2)
        function.allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], [self._storage.orders.table_arn])
        function.allow(["sqs:SendMessage"], [queues.quarantine.queue_arn])
        return function

    @staticmethod
    def _consume(function: PythonFunction, queue: sqs.Queue, *, batch_size: int, concurrency: int) -> None:
        """Feed a queue to a function that reports failed messages one by one."""
        # The source limits itself. With reserved concurrency alone it would receive more than it can deliver, and
        # each throttled receive counts towards the dead letters.
        lambda_.EventSourceMapping(
            function,
            "Source",
            target=function.function,
            event_source_arn=queue.queue_arn,
            batch_size=batch_size,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )
        # The first three are what the mapping needs; the last hides a message until its order's next attempt.
        function.allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            [queue.queue_arn],
        )

    def _sweep(self, websocket: WebSocketApi) -> PythonFunction:
        orders, connections = self._storage.orders, self._storage.connections
        function = PythonFunction(
            self,
            "Sweep",
            self._platform,
            handler="process.sweep.lambda_handler",
            description="Sends stranded orders again, expires and fires resting ones, closes what has ended",
            timeout=_EVERY_MINUTE,
            reserved=1,
            # Nobody's request leads to it: a trace each minute would be paid for and say nothing that its log does not.
            traced=False,
            settings={
                "orders_table": orders.table_name,
                "orders_queue_url": self._queues.orders.queue_url,
                "connections_table": connections.table_name,
                "connections_endpoint": websocket.endpoint,
                "order_patience_ms": self._platform.config.order_patience_ms,
                "order_retention_days": self._platform.config.order_retention_days,
                **self._platform.config.paper,
            },
        )
        # Sockets whose key was revoked or has expired: there is an index of these alone.
        function.allow(["dynamodb:Query"], [f"{connections.table_arn}/index/{ENDS}"])
        function.allow(["dynamodb:DeleteItem"], [connections.table_arn])
        websocket.allow_push(function, "DELETE")
        function.allow(["dynamodb:BatchGetItem", "dynamodb:UpdateItem"], [orders.table_arn])
        function.allow(["dynamodb:Query"], [f"{orders.table_arn}/index/{WORK}", f"{orders.table_arn}/index/{EXPIRY}"])
        # The look whether there is anything to do at all.
        function.allow(["dynamodb:Scan"], [f"{orders.table_arn}/index/{WORK}"])
        # Whether another message would help, or only make the queue longer.
        function.allow(["sqs:SendMessage", "sqs:GetQueueAttributes"], [self._queues.orders.queue_arn])
        # The next minute's run does what a failed one left: an old run must neither be repeated nor wait in line.
        target = targets.LambdaFunction(function.function)
        function.function.configure_async_invoke(retry_attempts=0, max_event_age=_EVERY_MINUTE)
        events.Rule(self, "EveryMinute", schedule=events.Schedule.rate(_EVERY_MINUTE), targets=[target])
        # Whatever is placed wakes the sweeper, also where nothing happened for days. It comes a little later: by then
        # most market orders have ended, and the run ends with its first look. While a run is under way this source is
        # throttled, and the run sees the order in the table: nothing is lost with a record.
        # Without reserved concurrency each of the stream's shards could start a run of its own. The emulator reads all
        # event sources in one thread, which a run would hold up. There the schedule alone wakes it.
        config = self._platform.config
        if config.reserved is not None and config.emulator_url is None:
            _read_stream(
                function,
                orders,
                {"eventName": ["INSERT"]},
                max_batching_window=_WAKE_AFTER,
                retry_attempts=2,
                max_record_age=_EVERY_MINUTE,
            )
        return function

    def _notify(self, websocket: WebSocketApi) -> PythonFunction:
        storage, failures = self._storage, self._queues.stream_failures
        function = PythonFunction(
            self,
            "Notify",
            self._platform,
            handler="notify.handler.lambda_handler",
            description="Pushes each new event to the sockets that follow its order, and counts statistics",
            timeout=Duration.seconds(30),
            # Its first frames each open a connection, side by side, and have to be through before clients give up.
            memory_mb=512,
            settings={
                "connections_table": storage.connections.table_name,
                "accounts_table": storage.accounts.table_name,
                "connections_endpoint": websocket.endpoint,
                "stream_failures_queue_url": failures.queue_url,
            },
        )
        mapping = _read_stream(
            function,
            storage.orders,
            # Deletions tell nothing. Filters cannot compare the images: writes without an event come, and are skipped.
            {"eventName": ["INSERT", "MODIFY"]},
            # The defaults try for ever, with everything of the shard waiting behind.
            retry_attempts=5,
            max_record_age=Duration.minutes(15),
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
        )
        # The construct's own property would allow the function more than sending to the queue.
        mapping.destination_config = lambda_.CfnEventSourceMapping.DestinationConfigProperty(
            on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=failures.queue_arn)
        )
        function.allow(
            ["dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], [storage.connections.table_arn]
        )
        function.allow(["dynamodb:UpdateItem"], [storage.accounts.table_arn], leading_keys=["stats#*"])
        function.allow(["sqs:SendMessage"], [failures.queue_arn])
        websocket.allow_push(function, "POST", "DELETE")
        return function


def _read_stream(
    function: PythonFunction, table: dynamodb.Table, pattern: Mapping[str, object], **options: Any
) -> lambda_.CfnEventSourceMapping:
    """Feed a function what a table's stream tells, as far as it matches the pattern. A stream has two readers at most.

    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    stream = table.table_stream_arn
    assert stream is not None
    mapping = lambda_.EventSourceMapping(
        function,
        "Source",
        target=function.function,
        event_source_arn=stream,
        # LATEST can miss what is written while the mapping is being made.
        starting_position=lambda_.StartingPosition.TRIM_HORIZON,
        batch_size=100,
        # One invocation per shard at a time. More would keep the order of each order's events too, which is all that
        # pushing and counting need.
        parallelization_factor=1,
        filters=[lambda_.FilterCriteria.filter(dict(pattern))],
        **options,
    )
    function.allow(["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], [stream])
    # The service has no resource for listing streams; the mapping is refused without it.
    function.allow(["dynamodb:ListStreams"], ["*"])
    acknowledge(
        function.role, "AwsSolutions-IAM5[Resource::*]", "dynamodb:ListStreams (and X-Ray) have no resources to name."
    )
    resource = mapping.node.default_child
    assert isinstance(resource, lambda_.CfnEventSourceMapping)
    return resource
