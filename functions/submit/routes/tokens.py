"""What can be traded."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from order_engine.wire.schema import TokensView
from order_engine.wire.views import tokens_view
from submit import limits
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import problem_answers
from submit.served import Served

router = api_router()
_UNITS = 1


@router.get(
    "/tokens",
    response_model=TokensView,
    responses=problem_answers(429),
    operation_id="getTokens",
    summary="The tokens that can be traded, each against each",
    tags=["market"],
)
async def get_tokens(engine: Served, caller: Reader) -> JSONResponse:
    await limits.spend(engine, caller, limits.reads(engine, caller), _UNITS)
    return JSONResponse(tokens_view(engine.market.tokens))
