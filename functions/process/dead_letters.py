"""The dead-letter queue's consumer: resolves what the order queue gave up on."""

from __future__ import annotations

from order_engine.compose import Engine, deployed
from order_engine.runtime import Context, entry
from process.batch import BatchResponse, SqsEvent, process_batch


async def handle(engine: Engine, event: SqsEvent, context: Context) -> BatchResponse:
    """Bring each given-up order to its end; what cannot be read goes to the quarantine queue."""
    return await process_batch(
        event,
        context,
        engine.clock.now_ms(),
        engine.resolve_dead_letter,
        name=engine.worker_name,
        hide=engine.stores.dead_letters.hide,
        keep=engine.stores.quarantine.keep,
    )


lambda_handler = entry(handle, deployed(ready=("resolve_dead_letter", "stores.dead_letters", "stores.quarantine")))
