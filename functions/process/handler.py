"""The order queue's consumer."""

from __future__ import annotations

from order_engine.compose import Engine, deployed
from order_engine.runtime import Context, entry
from process.batch import BatchResponse, SqsEvent, process_batch


async def handle(engine: Engine, event: SqsEvent, context: Context) -> BatchResponse:
    """Execute the orders of one batch concurrently."""
    return await process_batch(
        event,
        context,
        engine.clock.now_ms(),
        engine.execute,
        name=engine.worker_name,
        hide=engine.stores.queue.hide,
        keep=engine.stores.quarantine.keep,
    )


lambda_handler = entry(handle, deployed(ready=("execute", "stores.queue", "stores.quarantine")))
