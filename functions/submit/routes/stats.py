"""A caller's orders in numbers."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from order_engine.wire.schema import StatsView
from submit import limits
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import problem_answers
from submit.served import Served

router = api_router()
_UNITS = 5


@router.get(
    "/stats",
    response_model=StatsView,
    responses=problem_answers(429),
    operation_id="getStats",
    summary="Your orders in numbers, and the queue's depth",
    tags=["market"],
)
async def get_stats(engine: Served, caller: Reader) -> JSONResponse:
    await limits.spend(engine, caller, limits.reads(engine, caller), _UNITS)
    found = await engine.summarise(caller.user_id)
    return JSONResponse(
        {
            "queue": {"waiting": found.waiting, "inFlight": found.in_flight, "dead": found.dead},
            "open": found.resting,
            "active": found.active,
            "finished": sum(found.by_status.values()),
            "byStatus": dict(found.by_status),
            "byVenue": dict(found.by_venue),
            "latencyMs": {f"p{share}": latency for share, latency in found.latency_ms.items()},
        }
    )
