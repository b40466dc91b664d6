"""The node over HTTP."""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from local.solana.methods import Methods, Refusal

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
_MOST_BYTES = 1 << 20


@dataclass(slots=True)
class Manners:
    """How the node treats its callers.

    Attributes:
        busy: the share of requests, 0 to 1, that it answers with 429.
        broken: the share that it answers with the page of a proxy.
    """

    busy: float = 0.0
    broken: float = 0.0


class NodeServer:
    """Serves a node's methods on 127.0.0.1. Use it as a context; port 0 takes a free one."""

    def __init__(self, methods: Methods, *, port: int = 0, manners: Manners | None = None, seed: int = 1) -> None:
        self.methods = methods
        self.manners = manners or Manners()
        self._port = port
        self._random = random.Random(seed)  # noqa: S311 - manners, not a secret
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post("/", self._serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _serve(self, request: web.Request) -> web.Response:
        if self._random.random() < self.manners.busy:
            return web.Response(status=429, text="Too many requests", headers={"Retry-After": "1"})
        if self._random.random() < self.manners.broken:
            return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return web.json_response(_error(None, _PARSE_ERROR, "Parse error"))
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return web.json_response(_error(None, _INVALID_REQUEST, "Invalid request"))
        try:
            result = self.methods.call(asked["method"], list(asked.get("params") or ()))
        except Refusal as refusal:
            return web.json_response(_error(asked.get("id"), refusal.code, refusal.message, refusal.data))
        return web.json_response({"jsonrpc": "2.0", "id": asked.get("id"), "result": result})


def _error(number: Any, code: int, message: str, data: object = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": number, "error": error}
