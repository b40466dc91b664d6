"""Logs and metrics. Every line about an order carries its id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from order_engine.domain import lifecycle
from order_engine.domain.order import Failure, Order, Retry, Routed, Status

SERVICE = "order-engine"
NAMESPACE = "OrderEngine"

logger = Logger(service=SERVICE, use_rfc3339=True, log_uncaught_exceptions=False)
# Each invocation has metrics of its own: locally, several run in one process.
_metrics: ContextVar[EphemeralMetrics | None] = ContextVar("metrics", default=None)

_COUNTED = {
    "resent": "OrdersResent",
    "conflict": "ClaimsLost",
    "send_failed": "SendsFailed",
    "push_failed": "PushesFailed",
    "chain_silent": "ChainSilent",
    "duplicate": "DuplicateDeliveries",
    "quarantined": "Quarantined",
}


@contextmanager
def invocation(function_name: str, request_id: str) -> Iterator[None]:
    """Mark all log lines of an invocation, and publish its metrics at its end."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
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
            count(f"Failed_{detail.code}")
        if order.signature is not None:
            extra["signature"] = order.signature
        if event.seq == 1:
            count("Accepted")
        if event.status is Status.CONFIRMED:
            count("Confirmed")
        if event.status in lifecycle.TERMINAL:
            count("LatencyMs", order.updated_at - order.created_at, MetricUnit.Milliseconds)
        if event.status is Status.SUBMITTED:
            count("Executions")
        logger.info("order %s", event.status.value, extra=extra)

    def noted(self, order_id: str, what: str, reason: str) -> None:
        if what in _COUNTED:
            count(_COUNTED[what])
        logger.warning("%s: %s", what, reason, extra={"order_id": order_id} if order_id else {})
