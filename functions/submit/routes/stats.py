"""A caller's orders in numbers."""

from __future__ import annotations

import asyncio

from fastapi.responses import JSONResponse

from order_engine.engine.stats import quantile
from submit import limits
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import StatsView, problem_answers
from submit.served import Served

router = api_router()


@router.get(
    "/stats",
    response_model=StatsView,
    responses=problem_answers(429),
    operation_id="getStats",
    summary="Your orders in numbers, and the queue's depth",
    tags=["market"],
)
async def get_stats(engine: Served, caller: Reader) -> JSONResponse:
    await limits.spend(engine, caller, limits.reads(engine, caller), limits.STATS)
    totals, depth, active = await asyncio.gather(
        engine.stores.statistics.of_user(caller.user_id),
        engine.stores.queue.depth(),
        engine.stores.orders.count_active(caller.user_id),
    )
    latency = {f"p{share}": quantile(totals.latency_counts, share) for share in (50, 90, 99)}
    return JSONResponse(
        {
            "queue": {
                "waiting": depth["visible"] + depth["delayed"],
                "inFlight": depth["in_flight"],
                "dead": depth["dead"],
            },
            "open": max(0, totals.by_stage.get("open", 0)),
            "active": active,
            "finished": sum(totals.by_status.values()),
            "byStatus": totals.by_status,
            "byVenue": totals.by_venue,
            "latencyMs": latency,
        }
    )
