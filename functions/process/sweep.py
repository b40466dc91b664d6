"""The sweeper: every minute by schedule, and when orders are placed; in beats as long as any order waits.

Both start the same run, of which there is one at a time. A trigger that is lost costs a minute at most: what there is
to do is in the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from order_engine.compose import Engine, deployed
from order_engine.engine.observer import Note
from order_engine.runtime import MARGIN_MS, Context, entry, gather

# The next minute's invocation takes over before this one is stopped.
_RUN_MS = 57_000
# How long an order that the stream tells of may be missing in the index.
_INDEX_LAG_MS = 3_000
# The ledger is looked at beside the sweep, and never delays it.
_AUDIT_S = 10


async def handle(engine: Engine, event: Mapping[str, Any], context: Context) -> None:
    """Send stranded orders again and end expired ones; beside that, and never in its way, fire limit orders.

    Also look for orders that were swapped twice, and close the sockets of keys that have ended.
    """
    settings = engine.settings
    budget = min(_RUN_MS, context.get_remaining_time_in_millis() - MARGIN_MS)
    sweeping, *_ = await gather(
        [
            engine.rounds.run(
                engine.clock.now_ms() + budget,
                sweep_every_ms=settings.execution.sweep_beat_ms,
                watch_every_ms=settings.execution.watch_beat_ms,
                stay_until=_written_until(event) + _INDEX_LAG_MS,
            ),
            # Once a run: the next begins within a minute.
            _audit(engine),
            engine.close_ended(),
        ]
    )
    if isinstance(sweeping, BaseException):
        raise sweeping


async def _audit(engine: Engine) -> None:
    try:
        async with asyncio.timeout(_AUDIT_S):
            await engine.audit()
    except Exception as error:  # noqa: BLE001 - the chain may answer anything or nothing; the next minute asks again
        engine.observer.noted("", Note.AUDIT_FAILED, type(error).__name__)


def _written_until(event: Mapping[str, Any]) -> int:
    """When the last order that the stream tells of was written, in milliseconds; the stream cuts times to seconds."""
    seconds = [record["dynamodb"]["ApproximateCreationDateTime"] for record in event.get("Records", ())]
    return int(max(seconds) + 1) * 1000 if seconds else 0


lambda_handler = entry(handle, deployed(ready=("rounds", "audit", "close_ended")))
