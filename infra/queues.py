"""The order queue and what catches what it gives up on."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import encryption
from infra.config import Config
from infra.findings import acknowledge

# How long the functions that consume the queues may run. Both hold orders under a lease, and must end before it does.
PROCESS_TIMEOUT = Duration.seconds(15)
DEAD_LETTERS_TIMEOUT = Duration.seconds(15)

# AWS's advice for event sources: the rest of a batch may be throttled and tried again meanwhile.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
_VISIBILITY_PER_TIMEOUT = 6
# Attempts are counted on the order. This is the backstop, well above them.
_MAX_RECEIVES = 10
_SOURCE_RETENTION = Duration.days(4)
# A message keeps the time of its first sending when it is moved, so that this must exceed the source's retention.
_KEPT = Duration.days(14)


class Queues(Construct):
    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(scope, construct_id)
        self._key = encryption.key(self, config)
        # Messages that nobody can read, kept for a person to look at.
        self.quarantine = self._queue("Quarantine", retention=_KEPT)
        # Where the stream's mapping tells of records that it gave up on.
        self.stream_failures = self._queue("StreamFailures", retention=_KEPT)
        self.dead_letters = self._queue(
            "DeadLetters",
            retention=_KEPT,
            visibility=_visibility(DEAD_LETTERS_TIMEOUT),
            # A consumer that cannot resolve one must not try for 14 days: after that many it is a person's turn.
            gives_up_to=self.quarantine,
        )
        self.orders = self._queue(
            "Orders",
            retention=_SOURCE_RETENTION,
            visibility=_visibility(PROCESS_TIMEOUT),
            gives_up_to=self.dead_letters,
        )
        # For `order-engine redrive` and `doctor`, and whoever looks into them.
        for queue in (self.orders, self.dead_letters, self.quarantine, self.stream_failures):
            name = f"{queue.node.id}Queue"
            CfnOutput(self, f"{name}Url", value=queue.queue_url).override_logical_id(name)
        acknowledge(
            self.stream_failures, "AwsSolutions-SQS3", "It is the last resort itself; an alarm watches its depth."
        )

    def _queue(
        self,
        construct_id: str,
        *,
        retention: Duration,
        visibility: Duration | None = None,
        gives_up_to: sqs.Queue | None = None,
    ) -> sqs.Queue:
        redrive = sqs.DeadLetterQueue(queue=gives_up_to, max_receive_count=_MAX_RECEIVES) if gives_up_to else None
        return sqs.Queue(
            self,
            construct_id,
            encryption=encryption.of_queues(self._key),
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=retention,
            visibility_timeout=visibility,
            dead_letter_queue=redrive,
        )


def _visibility(timeout: Duration) -> Duration:
    return Duration.seconds(_VISIBILITY_PER_TIMEOUT * int(timeout.to_seconds()))
