"""A caller's orders in numbers."""

from __future__ import annotations

import asyncio

from fastapi.responses import JSONResponse

from order_engine import bootstrap
from order_engine.engine.stats import quantile, stage
from submit import limits
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import StatsView, problem_answers

router = api_router()


@router.get(
    "/stats",
    response_model=StatsView,
    responses=problem_answers(429),
    operation_id="getStats",
    summary="Your orders in numbers, and the queue's depth",
    tags=["market"],
)
async def get_stats(caller: Reader) -> JSONResponse:
    await limits.spend(caller, limits.reads(caller), limits.STATS)
    totals, depth, newest = await asyncio.gather(
        bootstrap.statistics().of_user(caller.user_id),
        bootstrap.queue().depth(),
        bootstrap.orders().page(caller.user_id, limit=100, after=None, status=None),
    )
    under_way = sum(order.request.type == "market" and stage(order.status) == "active" for order in newest.orders)
    latency = {f"p{share}": quantile(totals.latency_counts, share) for share in (50, 90, 99)}
    return JSONResponse(
        {
            "queue": {
                "waiting": depth["visible"] + depth["delayed"],
                "inFlight": depth["in_flight"],
                "dead": depth["dead"],
            },
            "open": max(0, totals.by_stage.get("open", 0)),
            "active": under_way + max(0, totals.by_stage.get("active", 0)),
            "finished": sum(totals.by_status.values()),
            "byStatus": totals.by_status,
            "byVenue": totals.by_venue,
            "latencyMs": latency,
        }
    )
