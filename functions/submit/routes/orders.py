"""Placing, reading, listing and cancelling orders."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse

from order_engine.domain.errors import InvalidInput, OrderNotFound
from order_engine.domain.order import OrderRef, Status
from order_engine.engine.accounts import Identity
from order_engine.engine.listing import examined
from order_engine.wire.requests import PlaceOrderBody
from order_engine.wire.schema import AcceptedView, OrderListView, OrderView
from order_engine.wire.times import to_text
from order_engine.wire.views import order_view, summary_view
from submit import limits
from submit.callers import Reader, Trader, prefix
from submit.requests import MAX_ORDER_ID, OrderId, PlainDigits, api_router
from submit.schemas import problem_answers
from submit.served import Served
from submit.stream import socket_url

router = api_router()
_UNITS = 1


@router.post(
    "/orders/execute",
    status_code=202,
    response_model=AcceptedView,
    responses=problem_answers(409, 413, 415, 422, 429, 503),
    operation_id="executeOrder",
    summary="Accept an order for execution",
    tags=["orders"],
)
async def execute_order(
    http: Request,
    body: PlaceOrderBody,
    engine: Served,
    caller: Trader,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="The same key with the same body gives the same order, as long as the order is kept.",
        ),
    ] = None,
) -> JSONResponse:
    request = body.to_request(engine.market.tokens)
    rate = limits.orders(engine, caller)
    accepted = await engine.accept(
        caller.user_id,
        request,
        idempotency_key,
        rate=rate,
        reads=limits.reads(engine, caller),
        key_id=caller.key_id,
        max_open=limits.open_orders(engine, caller),
    )
    order = accepted.order
    content = {
        "orderId": order.ref.order_id,
        "status": order.events[0].status.value,
        "createdAt": to_text(order.created_at),
        "wsUrl": (await socket_url(engine, caller, order.ref.order_id))[0],
    }
    headers = {
        "Location": f"{prefix(http)}/api/orders/{order.ref.order_id}",
        **limits.policy(rate),
    }
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if accepted.allowance is not None:
        headers |= limits.state(rate, accepted.allowance)
    return JSONResponse(content, 202, headers=headers)


@router.get(
    "/orders/{orderId:order_id}",
    response_model=OrderView,
    responses=problem_answers(404, 429),
    operation_id="getOrder",
    summary="Read an order with all its events",
    tags=["orders"],
)
async def get_order(order_id: OrderId, engine: Served, caller: Reader) -> JSONResponse:
    ref = _ref(caller, order_id)
    await limits.spend(engine, caller, limits.reads(engine, caller), _UNITS)
    order = await engine.stores.orders.get(ref)
    if order is None:
        raise OrderNotFound("There is no such order.")
    return JSONResponse(order_view(order))


@router.delete(
    "/orders/{orderId:order_id}",
    response_model=OrderView,
    responses=problem_answers(404, 409, 429),
    operation_id="cancelOrder",
    summary="Cancel an order that no worker has claimed",
    tags=["orders"],
)
async def cancel_order(order_id: OrderId, engine: Served, caller: Trader) -> JSONResponse:
    ref = _ref(caller, order_id)
    await limits.spend(engine, caller, limits.cancellations(engine, caller), _UNITS)
    return JSONResponse(order_view(await engine.cancel(ref, key_id=caller.key_id)))


def _ref(caller: Identity, order_id: str) -> OrderRef:
    """Where the caller's order is. The user comes from the credential alone.

    Raises:
        OrderNotFound: no order has an id like this.
    """
    if len(order_id) > MAX_ORDER_ID or not order_id.isprintable():
        raise OrderNotFound("There is no such order.")
    return OrderRef(caller.user_id, order_id)


@router.get(
    "/orders",
    response_model=OrderListView,
    operation_id="listOrders",
    responses=problem_answers(422, 429),
    summary="List your orders, newest first",
    tags=["orders"],
)
async def list_orders(
    engine: Served,
    caller: Reader,
    status: Annotated[Status | None, Query(description="Only orders in this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most this many orders."), PlainDigits] = 20,
    cursor: Annotated[str | None, Query(min_length=1, max_length=200, description="`nextCursor` of a page.")] = None,
) -> JSONResponse:
    after = None if cursor is None else _open_cursor(cursor)
    await limits.spend(engine, caller, limits.reads(engine, caller), limits.listing(examined(status, limit)))
    page = await engine.stores.orders.page(caller.user_id, limit=limit, after=after, status=status)
    content: dict[str, Any] = {"orders": [summary_view(order) for order in page.orders]}
    if page.next_key is not None:
        content["nextCursor"] = base64.urlsafe_b64encode(page.next_key.encode()).decode().rstrip("=")
    return JSONResponse(content)


def _open_cursor(cursor: str) -> str:
    """The key that a cursor stands for. It holds a place in the caller's own list and nothing else."""
    refused = InvalidInput("This cursor is not one of ours. Start again without it.", field="cursor")
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise refused from error
    moment, mark, order_id = text.partition("#")
    if not (
        len(moment) == 13 and moment.isdigit() and mark and len(order_id) <= MAX_ORDER_ID and order_id.isprintable()
    ):
        raise refused
    return text
