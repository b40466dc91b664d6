"""What an order would get now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import JSONResponse

from order_engine.domain.amounts import parse_amount
from order_engine.domain.errors import PriceImpactTooHigh, SameToken
from order_engine.domain.order import OrderRequest
from order_engine.domain.quote import Decision
from order_engine.wire.requests import BY_NAME, NUMBER_PATTERN
from order_engine.wire.schema import QuoteView
from order_engine.wire.times import to_text
from order_engine.wire.views import decision_view
from submit import limits, problems
from submit.callers import Reader
from submit.requests import api_router
from submit.schemas import problem_answers
from submit.served import Served

router = api_router()
_UNITS = 5

TokenName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=44,
        description=BY_NAME,
        examples=["SOL"],
    ),
]


@router.get(
    "/quote",
    response_model=QuoteView,
    responses=problem_answers(422, 429),
    operation_id="getQuote",
    summary="Quote all candidates and the route that an order would take",
    tags=["market"],
)
async def get_quote(
    engine: Served,
    caller: Reader,
    token_in: Annotated[TokenName, Query(alias="tokenIn")],
    token_out: Annotated[TokenName, Query(alias="tokenOut")],
    amount_in: Annotated[
        str,
        Query(
            alias="amountIn",
            min_length=1,
            max_length=64,
            description="Whole tokens of `tokenIn`.",
            examples=["1.5"],
            pattern=NUMBER_PATTERN,
        ),
    ],
) -> JSONResponse:
    tokens = engine.market.tokens
    source, target = tokens.named(token_in, field="tokenIn"), tokens.named(token_out, field="tokenOut")
    if source == target:
        raise SameToken("tokenIn and tokenOut are the same token.", field="tokenOut")
    amount = parse_amount(amount_in, source, field="amountIn")
    await limits.spend(engine, caller, limits.reads(engine, caller), _UNITS)
    request = OrderRequest("market", source, target, amount, 0)

    def view(decision: Decision) -> dict[str, Any]:
        return {"at": to_text(engine.clock.now_ms()), **decision_view(request, decision)}

    try:
        decision = await engine.quote(source, target, amount)
    except PriceImpactTooHigh as error:
        refused = problems.of_engine(error)
        # What is refused is shown, so that a person sees why.
        refused.more["quote"] = view(error.decision)
        raise refused from error
    return JSONResponse(view(decision))
