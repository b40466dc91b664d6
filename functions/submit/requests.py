"""How requests are read: the caller first, then a bounded body of exact JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.convertors import StringConvertor, register_url_convertor

from order_engine.wire import exact_json
from submit import problems
from submit.callers import identity
from submit.schemas import COMMON_ERRORS

MAX_BODY = 16_384
MAX_ORDER_ID = 64


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
        raise problems.Problem("body_too_large", f"The body is larger than {MAX_BODY} bytes.")
    if body and kind != "application/json":
        raise problems.Problem("unsupported_media_type", "Send the order as application/json.")
    if body:
        # FastAPI would answer what cannot be parsed without saying why.
        await request.json()


def _digits(value: object) -> object:
    """Pydantic would read a number in spaces, with underscores or in the digits of any script."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("Write a whole number in plain digits.")
    return value


PlainDigits = BeforeValidator(_digits)


OrderId = Annotated[
    str,
    Path(
        alias="orderId",
        description="The order's id.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_ORDER_ID, "pattern": "^[0-9a-f-]+$"},
    ),
]


class OrderIdConvertor(StringConvertor):
    """A segment of a path that may name an order. "execute" never does: it has an address of its own."""

    regex = "(?!execute$)[^/]+"


register_url_convertor("order_id", OrderIdConvertor())


def api_router() -> APIRouter:
    """A router for addresses under /api/."""
    return APIRouter(prefix="/api", route_class=ExactRoute, responses=COMMON_ERRORS)
