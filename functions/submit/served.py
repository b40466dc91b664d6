"""Which engine a request is served by: the ASGI scope says so, and the application itself holds none."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from order_engine.compose import Engine

# Its place in the ASGI scope.
ENGINE = "order_engine"


def engine_of(request: Request) -> Engine:
    engine: Engine = request.scope[ENGINE]
    return engine


Served = Annotated[Engine, Depends(engine_of)]


class Over:
    """An ASGI application that serves another's requests over an engine."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, ENGINE: self._engine}, receive, send)
