"""The order queue's consumer."""

from __future__ import annotations

from order_engine import bootstrap
from order_engine.runtime import Context, entry
from process.batch import BatchResponse, SqsEvent, work_off


async def handle(event: SqsEvent, context: Context) -> BatchResponse:
    """Execute the orders of one batch concurrently."""
    return await work_off(
        event,
        context,
        bootstrap.CLOCK.now_ms(),
        bootstrap.execute(),
        hide=bootstrap.queue().hide,
        keep=bootstrap.quarantine().keep,
    )


lambda_handler = entry(handle)
