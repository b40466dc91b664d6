"""Logs and metrics. Every line about an order carries its id.

Metrics are written to the log in CloudWatch's embedded format, with the dimensions ``service`` and ``stage``:

========================= =========================================================================================
Accepted                  orders stored
Confirmed, Failed         orders that ended so; ``Failed_<code>`` by the reason's stable code
Retries                   attempts that failed and are tried again
Executions                transactions stored and broadcast
SwappedTwice              orders of which the chain's ledger holds more than one swap. None, or something is very wrong
LatencyMs                 market orders: from accepted to the end
StageMs_<status>          how long an order was in a status before the next
Won_<venue>               routes by venue; several joined by "+" for a split
ImprovementBps            net output over the best single venue
DuplicateDeliveries       messages received more than once; deliberate returns (a retry's wait) are among them
ClaimsLost                writes that lost to another worker
OrdersResent              orders that made no progress and were sent again
SendsFailed, PushesFailed messages not sent (the sweeper sends them), stream batches that come again
SlowSockets, ChainSilent  sockets closed for being slow; questions whose answer was none, or too old
MeterFailures             reads that were let pass because the rate limiter did not answer
SweepFailures             orders or pairs that a beat of the sweeper could not handle
TooNew                    messages, records and orders that were left to a function of a newer release
Quarantined               messages that cannot be read or name no order
StreamRecordsSetAside     records of the stream that cannot be read
========================= =========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from order_engine.domain import lifecycle
from order_engine.domain.order import Failure, Order, Retry, Routed, Status
from order_engine.engine.observer import Note

SERVICE = "order-engine"
NAMESPACE = "OrderEngine"

logger = Logger(service=SERVICE, use_rfc3339=True, log_uncaught_exceptions=False)
# Each invocation has metrics of its own: locally, several run in one process.
_metrics: ContextVar[EphemeralMetrics | None] = ContextVar("metrics", default=None)

_COUNTED = {
    Note.SWAPPED_TWICE: "SwappedTwice",
    Note.RESENT: "OrdersResent",
    Note.CONFLICT: "ClaimsLost",
    Note.SEND_FAILED: "SendsFailed",
    Note.PUSH_FAILED: "PushesFailed",
    Note.SOCKET_SLOW: "SlowSockets",
    Note.CHAIN_SILENT: "ChainSilent",
    Note.CHAIN_BEHIND: "ChainSilent",
    Note.METER_FAILED: "MeterFailures",
    Note.POOL_LEFT_OUT: "PoolsLeftOut",
    **dict.fromkeys(
        (
            Note.CLOSE_FAILED,
            Note.LOOK_FAILED,
            Note.RESEND_FAILED,
            Note.SWEEP_FAILED,
            Note.EXPIRE_FAILED,
            Note.READ_FAILED,
            Note.MARK_FAILED,
            Note.WATCH_FAILED,
            Note.FIRE_FAILED,
        ),
        "SweepFailures",
    ),
}


@contextmanager
def invocation(stage: str, function_name: str, request_id: str) -> Iterator[None]:
    """Mark all log lines of an invocation, and publish its metrics at its end."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    # Several deployments share an account's metrics.
    metrics.add_dimension("stage", stage)
    token = _metrics.set(metrics)
    logger.thread_safe_append_keys(function_name=function_name, function_request_id=request_id)
    try:
        yield
    finally:
        if metrics.metric_set:
            metrics.flush_metrics()
        logger.thread_safe_clear_keys()
        _metrics.reset(token)


def count(name: str, value: float = 1, unit: MetricUnit = MetricUnit.Count) -> None:
    """Add to a metric of the running invocation, in CloudWatch's embedded format."""
    metrics = _metrics.get()
    if metrics is not None:
        metrics.add_metric(name, unit, value)


class LogObserver:
    """Writes what happens to the log and counts it. Never writes a request's secrets or a transaction's bytes."""

    def changed(self, order: Order) -> None:
        event = order.events[-1]
        detail = event.detail
        extra: dict[str, object] = {
            "order_id": order.ref.order_id,
            "status": event.status.value,
            "seq": event.seq,
            "attempt": event.attempt,
            "key_id": event.key_id,
            "signature": order.signature,
        }
        if isinstance(detail, Routed):
            extra["venue"] = detail.decision.chosen.venue
            extra["decision"] = detail.decision.reason
            count(f"Won_{detail.decision.chosen.venue}")
            count("ImprovementBps", float(detail.decision.improvement_bps), MetricUnit.NoUnit)
        if isinstance(detail, Retry):
            extra["failure_code"] = detail.failure.code
            count("Retries")
        if isinstance(detail, Failure):
            extra["failure_code"] = detail.code
            count("Failed")
            count(f"Failed_{detail.code}")
        if event.seq == 1:
            count("Accepted")
        else:
            left = order.events[-2]
            # A resting order waits for its price, not for us.
            if left.status is not Status.OPEN:
                count(f"StageMs_{left.status.value}", event.at - left.at, MetricUnit.Milliseconds)
        if event.status is Status.CONFIRMED:
            count("Confirmed")
        if event.status in lifecycle.TERMINAL and not order.request.trigger.rests:
            count("LatencyMs", order.updated_at - order.created_at, MetricUnit.Milliseconds)
        if event.status is Status.SUBMITTED:
            count("Executions")
        said = {name: value for name, value in extra.items() if value is not None}
        logger.info("order %s", event.status.value, extra=said)

    def noted(self, order_id: str, what: Note, reason: str) -> None:
        if what in _COUNTED:
            count(_COUNTED[what])
        logger.warning("%s: %s", what, reason, extra={"order_id": order_id} if order_id else {})
