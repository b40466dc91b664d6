"""Errors as RFC 9457 problem details: a stable code, a sentence, the field. Nothing internal ever leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from order_engine.domain import errors
from order_engine.domain.refusals import REFUSALS, status_of
from order_engine.engine.accounts import NotAuthorized
from order_engine.engine.rates import RateLimited
from order_engine.observability import count, logger
from submit import limits
from submit.statuses import STATUSES

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error.

    Args:
        code: of the catalogue of refusals, which knows its status.
        status: another one than that.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        problems: Sequence[Mapping[str, str | None]] = (),
        more: Mapping[str, Any] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status_of(code) if status is None else status
        self.code = code
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.problems = list(problems)
        # Members of this kind of problem, beside those that every problem has (RFC 9457, section 3.2).
        self.more = dict(more or {})

    def response(self) -> JSONResponse:
        content: dict[str, Any] = {
            "type": f"urn:order-engine:problem:{self.code}",
            "title": STATUSES[self.status].title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            content["field"] = self.field
        if self.problems:
            content["errors"] = self.problems
        content |= self.more
        return JSONResponse(content, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def of_engine(error: errors.EngineError) -> Problem:
    headers: dict[str, str] = {}
    known = REFUSALS.get(error.code)
    if known is not None and known.retry_after_s is not None:
        headers["Retry-After"] = str(known.retry_after_s)
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, -(-error.retry_after_ms // 1000)))
        headers |= limits.state(error.rate, error)
    if isinstance(error, NotAuthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return Problem(error.code, error.message, field=error.field, headers=headers)


def of_validation(found: Sequence[Mapping[str, Any]]) -> Problem:
    """One problem for all that is wrong with a body or query, each with its field."""
    listed = [{"field": _field(item["loc"]), "message": _sentence(item)} for item in found]
    first = listed[0]
    return Problem("invalid_request", str(first["message"]), field=first["field"], problems=listed)


def _field(location: Sequence[Any]) -> str | None:
    """The JSON name of the field: the first part of the location that is one."""
    names = [part for part in location if isinstance(part, str) and part not in ("body", "query", "path", "header")]
    # What a client invented is its own text: it is shown only if it looks like a name.
    return names[0] if names and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", names[0]) else None


def _sentence(item: Mapping[str, Any]) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    return {
        "missing": "This field is required.",
        "extra_forbidden": "There is no such field.",
        "string_pattern_mismatch": "The text does not have the form that is asked for here.",
    }.get(str(item["type"]), message if message.endswith(".") else f"{message}.")


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error of the application as a problem.

    Args:
        routes: those of the included routers, which the application does not list itself.
    """

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(errors.EngineError)
    async def on_engine_error(request: Request, error: errors.EngineError) -> JSONResponse:
        return of_engine(error).response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return of_validation(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        status = error.status_code if error.status_code in STATUSES else 400
        headers = dict(error.headers or {})
        if status == 405:
            # Starlette names the methods of the first route at this address only.
            headers["Allow"] = _allowed([*app.routes, *routes], request)
        return Problem(code, REFUSALS[code].cause, headers=headers, status=status).response()

    @app.exception_handler(Exception)
    async def on_crash(request: Request, error: Exception) -> JSONResponse:
        logger.error("request failed", exc_info=error)
        count("RequestsFailed")
        return Problem("unavailable", "The service could not do this now. Nothing was accepted.").response()


def _allowed(routes: Sequence[BaseRoute], request: Request) -> str:
    """The methods of all routes at this address (RFC 9110, section 10.2.1)."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
