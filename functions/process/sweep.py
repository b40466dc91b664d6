"""The scheduled sweeper: every minute, in beats within it."""

from __future__ import annotations

from collections.abc import Mapping

from order_engine import bootstrap
from order_engine.runtime import MARGIN_MS, Context, entry

# The next minute's invocation takes over before this one is stopped.
_RUN_MS = 57_000


async def handle(event: Mapping[str, object], context: Context) -> None:
    """Send stranded orders again, expire old ones, fire limit orders."""
    settings = bootstrap.settings()
    budget = min(_RUN_MS, context.get_remaining_time_in_millis() - MARGIN_MS)
    await bootstrap.sweep().run(
        bootstrap.CLOCK.now_ms() + budget,
        sweep_every_ms=settings.sweep_beat_ms,
        watch_every_ms=settings.watch_beat_ms,
    )


lambda_handler = entry(handle)
