"""Refuses what comes past CloudFront, before anything else of it is looked at."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from order_engine.engine.edge import EdgeRequired, check_origin_key
from order_engine.settings import ORIGIN_KEY_HEADER
from submit import problems
from submit.served import ENGINE


class ThroughTheEdge:
    """An ASGI application in front of another, which it hands only what shows CloudFront's key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await check_origin_key(Headers(scope=scope).get(ORIGIN_KEY_HEADER), scope[ENGINE].stores.origin_keys)
            except EdgeRequired as refused:
                return await problems.of_engine(refused).response()(scope, receive, send)
        return await self._app(scope, receive, send)
