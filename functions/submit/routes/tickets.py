"""Tickets for the stream of statuses."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from order_engine.wire.schema import StreamTicketView
from order_engine.wire.times import to_text
from submit import limits
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import problem_answers
from submit.served import Served
from submit.stream import socket_url

router = api_router()
_UNITS = 1


@router.post(
    "/stream-tickets",
    status_code=201,
    response_model=StreamTicketView,
    responses=problem_answers(429),
    operation_id="createStreamTicket",
    summary="Get a WebSocket address on which all your orders can be followed",
    tags=["orders"],
)
async def create_stream_ticket(engine: Served, caller: Reader) -> JSONResponse:
    await limits.spend(engine, caller, limits.reads(engine, caller), _UNITS)
    url, expires_at = await socket_url(engine, caller, None)
    return JSONResponse({"wsUrl": url, "expiresAt": to_text(expires_at)}, 201)
