"""The dead-letter queue's consumer: resolves what the order queue gave up on."""

from __future__ import annotations

from order_engine import bootstrap
from order_engine.runtime import Context, entry
from process.batch import BatchResponse, SqsEvent, work_off


async def handle(event: SqsEvent, context: Context) -> BatchResponse:
    """Bring each given-up order to its end; what cannot be read goes to the quarantine queue."""
    return await work_off(
        event,
        context,
        bootstrap.CLOCK.now_ms(),
        bootstrap.resolve_dead_letter(),
        hide=bootstrap.dead_letters().hide,
        keep=bootstrap.quarantine().keep,
    )


lambda_handler = entry(handle)
