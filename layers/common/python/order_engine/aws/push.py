"""Frames to clients' sockets, over the WebSocket API's management address."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import quote

from order_engine.aws.endpoint import Endpoint, NoAnswer, Unreachable
from order_engine.engine.ports import ConnectionGone, GatewayUnreachable

_GONE = 410
# Too much at once, or trouble that passes: worth one more try within the time that a frame has.
_PASSING = frozenset({429, 500, 502, 503, 504})
_PAUSE_S = 0.05


class Refused(OSError):
    """API Gateway answered with another status than was hoped for."""


class ApiGatewayPush:
    """``Push`` on API Gateway.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def post(self, connection_id: str, frame: bytes, *, within_ms: int | None = None) -> None:
        within_s = None if within_ms is None else within_ms / 1000
        if not await self._ask("POST", connection_id, frame, within_s):
            raise ConnectionGone(connection_id)

    async def close(self, connection_id: str) -> None:
        await self._ask("DELETE", connection_id)

    async def alive(self, connection_id: str) -> bool:
        return await self._ask("GET", connection_id)

    async def _ask(self, method: str, connection_id: str, body: bytes = b"", within_s: float | None = None) -> bool:
        """Whether the connection was there.

        Raises:
            GatewayUnreachable, Refused, NoAnswer, TimeoutError: it could not be asked.
        """
        path = f"/@connections/{quote(connection_id, safe='')}"
        try:
            status = await self._twice(method, path, body, within_s)
        except Unreachable as error:
            raise GatewayUnreachable(str(error)) from error
        if status == _GONE:
            return False
        if not 200 <= status < 300:
            raise Refused(f"API Gateway answered {status} to {method} of a connection.")
        return True

    async def _twice(self, method: str, path: str, body: bytes, within_s: float | None) -> int:
        try:
            status = await self._endpoint.request(method, path, body, within_s=within_s)
        except Unreachable:
            raise
        except NoAnswer:
            status = 0
        if status == 0 or status in _PASSING:
            # A frame that arrives twice is dropped by its number.
            await asyncio.sleep(_PAUSE_S * (1 + random.random()))  # noqa: S311 - jitter
            status = await self._endpoint.request(method, path, body, within_s=within_s)
        return status
