"""The HTTP API as a FastAPI application."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.convertors import StringConvertor, register_url_convertor

from order_engine import bootstrap
from order_engine.domain.amounts import parse_amount, token
from order_engine.domain.errors import IdempotencyConflict, InvalidInput, OrderNotFound, SameToken
from order_engine.domain.numerals import NotANumeral, read_whole
from order_engine.domain.order import OrderRef, OrderRequest, Status
from order_engine.engine.accounts import (
    TICKET_MS,
    Allowance,
    Identity,
    NotAuthorized,
    Rate,
    RateLimited,
    Ticket,
    sign_ticket,
)
from order_engine.engine.place import Placed
from order_engine.engine.quoting import gather_pools
from order_engine.engine.routing.decide import decide
from order_engine.engine.stats import quantile, stage
from order_engine.engine.tokens import identify_token
from order_engine.version import VERSION
from order_engine.wire import exact_json
from order_engine.wire.requests import NUMBER_PATTERN, TOKEN_NAMES, PlaceOrderBody, check_expiry
from order_engine.wire.times import to_text
from order_engine.wire.views import decision_view, order_view
from submit import pages, problems
from submit.description import describe
from submit.schemas import (
    COMMON_ERRORS,
    AcceptedView,
    HealthView,
    OrderListView,
    OrderView,
    QuoteView,
    StatsView,
    StreamTicketView,
    problem_answers,
)

MAX_BODY = 16_384
MAX_ORDER_ID = 64
DESCRIPTION = """Execute Solana swaps over Raydium and Meteora, exactly once.

Post an order, get `202` with an order id and a WebSocket address, and follow it to `confirmed` or `failed`.
Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details with a stable `code`.
"""
TAGS = [
    {"name": "orders", "description": "Place, follow, list and cancel orders."},
    {"name": "market", "description": "Quotes and statistics."},
    {"name": "service", "description": "The service itself."},
]


class ExactRequest(Request):
    """A request whose JSON numbers are read exactly."""

    async def json(self) -> Any:
        if not hasattr(self, "_exact"):
            self._exact = exact_json.read(await self.body())
        return self._exact


class ExactRoute(APIRoute):
    """Insists on a known caller first, then bounds the body, insists on JSON, and reads it exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            exact = ExactRequest(request.scope, request.receive)
            identity(exact)
            if request.method == "POST":
                await _check_body(exact)
            return await handler(exact)

        return handle


async def _check_body(request: ExactRequest) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if len(body) > MAX_BODY:
        raise problems.Problem(413, "body_too_large", f"The body is larger than {MAX_BODY} bytes.")
    if body and kind != "application/json":
        raise problems.Problem(415, "unsupported_media_type", "Send the order as application/json.")
    if body:
        # FastAPI would answer what cannot be parsed without saying why.
        await request.json()


def identity(request: Request) -> Identity:
    """Who is calling, as the API's authorizer found.

    Raises:
        NotAuthorized: nobody that is known.
    """
    event = request.scope.get("aws.event") or {}
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if "jwt" in authorizer:
        plain_issuer = bootstrap.settings().oidc_plain_issuer
        return identify_token(authorizer["jwt"]["claims"], plain_issuer=plain_issuer)
    found = authorizer.get("lambda") or {}
    try:
        expires_at, per_minute = _whole(found, "expiresAt"), _whole(found, "ordersPerMinute")
        max_sockets = _whole(found, "maxSockets")
    except NotANumeral as error:
        raise NotAuthorized("The credentials cannot be read.") from error
    if not found.get("userId") or (expires_at is not None and bootstrap.CLOCK.now_ms() >= expires_at):
        raise NotAuthorized("The API key is missing, unknown, expired or revoked.")
    return Identity(
        found["userId"],
        frozenset(found["scopes"].split()),
        found["keyId"],
        per_minute,
        expires_at=expires_at,
        max_sockets=max_sockets,
    )


def _whole(context: Mapping[str, str], name: str) -> int | None:
    """A number of the authorizer's context, which knows text only; None where it is absent or empty."""
    text = context.get(name)
    return read_whole(text, high=10**15) if text else None


def _plain_digits(value: object) -> object:
    """Pydantic would read a number in spaces, with underscores or in the digits of any script."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("Write a whole number in plain digits.")
    return value


def _may(scope: str) -> Callable[[Identity], Identity]:
    def check(caller: Annotated[Identity, Depends(identity)]) -> Identity:
        if scope not in caller.scopes:
            raise problems.Problem(403, "insufficient_scope", f"This key lacks the scope “{scope}”.")
        return caller

    return check


Trader = Annotated[Identity, Depends(_may("trade"))]
Reader = Annotated[Identity, Depends(_may("read"))]
OrderId = Annotated[
    str,
    Path(
        alias="orderId",
        description="The order's id.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_ORDER_ID, "pattern": "^[0-9a-f-]+$"},
    ),
]
TokenName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=44,
        description="A token by symbol or by mint.",
        json_schema_extra={"enum": list(TOKEN_NAMES)},
    ),
]


class OrderIdConvertor(StringConvertor):
    """A segment of a path that may name an order. "execute" never does: it has an address of its own."""

    regex = "(?!execute$)[^/]+"


register_url_convertor("order_id", OrderIdConvertor())
router = APIRouter(prefix="/api", route_class=ExactRoute)


@router.post(
    "/orders/execute",
    status_code=202,
    response_model=AcceptedView,
    responses=problem_answers(413, 415, 422, 429, 503),
    operation_id="executeOrder",
    summary="Accept an order for execution",
    tags=["orders"],
)
async def execute_order(
    body: PlaceOrderBody,
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
    request = body.to_request()
    rate = _rate(caller)
    placed, allowance = await _accept(caller, request, idempotency_key, rate)
    order = placed.order
    content = {
        "orderId": order.ref.order_id,
        "status": order.events[0].status.value,
        "createdAt": to_text(order.created_at),
        "wsUrl": (await _socket_url(caller, order.ref.order_id))[0],
    }
    headers = {
        "Location": f"/api/orders/{order.ref.order_id}",
        "RateLimit-Policy": _policy(rate),
    }
    if placed.replayed:
        headers["Idempotent-Replayed"] = "true"
    if allowance is not None:
        headers["RateLimit"] = f'"orders";r={allowance.remaining};t={-(-allowance.full_after_ms // 1000)}'
    return JSONResponse(content, 202, headers=headers)


async def _accept(
    caller: Identity, request: OrderRequest, key: str | None, rate: Rate
) -> tuple[Placed, Allowance | None]:
    """Place a new order, or find the one that the key stands for. Only a new order counts against the rate limit."""
    limiter, place = bootstrap.rate_limiter(), bootstrap.place()
    now = bootstrap.CLOCK.now_ms()
    try:
        check_expiry(request, now)
        allowance = await limiter.admit(caller.user_id, rate, now)
    except (InvalidInput, RateLimited) as error:
        # Neither what has expired since nor a limit stands in the way of asking again.
        earlier = None if key is None else await place.replay(caller.user_id, request, key)
        if earlier is not None:
            return earlier, None
        if isinstance(error, RateLimited):
            raise _limited(error, rate) from error
        raise
    try:
        placed = await place(caller.user_id, request, key)
    except IdempotencyConflict:
        await limiter.give_back(caller.user_id, rate, now)
        raise
    if placed.replayed:
        await limiter.give_back(caller.user_id, rate, now)
        return placed, None
    return placed, allowance


def _rate(caller: Identity) -> Rate:
    """The caller's limit. A key with a rate of its own has a burst in the same proportion."""
    settings = bootstrap.settings()
    default = max(1, settings.orders_per_minute)
    per_minute = caller.orders_per_minute or default
    return Rate(per_minute, max(1, settings.orders_burst * per_minute // default))


def _limited(error: RateLimited, rate: Rate) -> problems.Problem:
    problem = problems.of_engine(error)
    problem.headers["RateLimit-Policy"] = _policy(rate)
    problem.headers["RateLimit"] = f'"orders";r=0;t={problem.headers["Retry-After"]}'
    return problem


def _policy(rate: Rate) -> str:
    """As in draft-ietf-httpapi-ratelimit-headers: quota ``q`` in a window of ``w`` seconds."""
    return f'"orders";q={rate.per_minute};w=60'


async def _socket_url(caller: Identity, order_id: str | None) -> tuple[str, int]:
    """A WebSocket address with a ticket for one order (or all), and when the ticket ends in milliseconds."""
    # The ticket's end is rounded up, so that a replayed request within the same minute gets the same answer.
    now = bootstrap.CLOCK.now_ms()
    expires_at = (now // TICKET_MS + 2) * TICKET_MS
    if caller.expires_at is not None:
        expires_at = min(expires_at, caller.expires_at)
    secret = (await bootstrap.ticket_secrets().accepted())[0]
    ticket = Ticket(caller.user_id, order_id, expires_at, caller.key_id, caller.expires_at, caller.max_sockets)
    return f"{bootstrap.settings().websocket_url}?ticket={sign_ticket(ticket, secret)}", expires_at


@router.post(
    "/stream-tickets",
    status_code=201,
    response_model=StreamTicketView,
    operation_id="createStreamTicket",
    summary="Get a WebSocket address on which all your orders can be followed",
    tags=["orders"],
)
async def create_stream_ticket(caller: Reader) -> JSONResponse:
    url, expires_at = await _socket_url(caller, None)
    return JSONResponse({"wsUrl": url, "expiresAt": to_text(expires_at)}, 201)


@router.get(
    "/orders/{orderId:order_id}",
    response_model=OrderView,
    responses=problem_answers(404),
    operation_id="getOrder",
    summary="Read an order with all its events",
    tags=["orders"],
)
async def get_order(order_id: OrderId, caller: Reader) -> JSONResponse:
    order = await bootstrap.orders().get(_ref(caller, order_id))
    if order is None:
        raise OrderNotFound("There is no such order.")
    return JSONResponse(order_view(order))


@router.delete(
    "/orders/{orderId:order_id}",
    response_model=OrderView,
    responses=problem_answers(404, 409),
    operation_id="cancelOrder",
    summary="Cancel an order that no worker has claimed",
    tags=["orders"],
)
async def cancel_order(order_id: OrderId, caller: Trader) -> JSONResponse:
    return JSONResponse(order_view(await bootstrap.cancel()(_ref(caller, order_id))))


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
    responses=problem_answers(422),
    summary="List your orders, newest first",
    tags=["orders"],
)
async def list_orders(
    caller: Reader,
    status: Annotated[Status | None, Query(description="Only orders in this status.")] = None,
    limit: Annotated[
        int, Query(ge=1, le=100, description="At most this many orders."), BeforeValidator(_plain_digits)
    ] = 20,
    cursor: Annotated[str | None, Query(min_length=1, max_length=200, description="`nextCursor` of a page.")] = None,
) -> JSONResponse:
    after = None if cursor is None else _open_cursor(cursor)
    page = await bootstrap.orders().page(caller.user_id, limit=limit, after=after, status=status)
    content: dict[str, Any] = {"orders": [order_view(order, events=False) for order in page.orders]}
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
    if not (len(moment) == 13 and moment.isdigit() and mark and 0 < len(order_id) <= 64 and order_id.isprintable()):
        raise refused
    return text


@router.get(
    "/quote",
    response_model=QuoteView,
    responses=problem_answers(422),
    operation_id="getQuote",
    summary="Quote all candidates and the route that an order would take",
    tags=["market"],
)
async def get_quote(
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
    source, target = token(token_in, field="tokenIn"), token(token_out, field="tokenOut")
    if source is target:
        raise SameToken("tokenIn and tokenOut are the same token.", field="tokenOut")
    amount = parse_amount(amount_in, source, field="amountIn")
    settings = bootstrap.settings()
    pools, left_out = await gather_pools(
        bootstrap.venues(), source.mint, target.mint, deadline_ms=settings.quote_deadline_ms, clock=bootstrap.CLOCK
    )
    decision = decide(
        pools,
        mint_in=source.mint,
        mint_out=target.mint,
        amount_in=amount,
        left_out=left_out,
        max_price_impact_bps=settings.max_price_impact_bps,
    )
    request = OrderRequest("market", source.mint, target.mint, amount, 0)
    return JSONResponse({"at": to_text(bootstrap.CLOCK.now_ms()), **decision_view(request, decision)})


@router.get(
    "/stats",
    response_model=StatsView,
    operation_id="getStats",
    summary="Your orders in numbers, and the queue's depth",
    tags=["market"],
)
async def get_stats(caller: Reader) -> JSONResponse:
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


def create_app() -> FastAPI:
    """The application, without any state."""
    app = FastAPI(
        title="Order execution engine",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=COMMON_ERRORS,
        redirect_slashes=False,
        openapi_tags=TAGS,
    )
    problems.install(app, router.routes)
    describe(app)
    app.include_router(router)
    pages.install(app)

    @app.get("/health", response_model=HealthView, operation_id="health", summary="Is the API up?", tags=["service"])
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok", "stage": bootstrap.settings().stage})

    return app
