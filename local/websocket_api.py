"""The WebSocket API and its management address, on one port.

Formats: API Gateway's developer guide, "Working with WebSocket APIs", and the API reference of
apigatewaymanagementapi.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import logging
import re
import secrets
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from local.cloud.account import ACCOUNT, REGION
from local.cloud.template import Json
from local.functions import Functions, InvocationError, Throttled
from local.gateway import INTEGRATION_TIMEOUT_S, Api, Gatekeeper, Refused, Route, request_id, request_time

logger = logging.getLogger("local")

MAX_MESSAGE = 128 * 1024
# What a socket that does not read may have waiting for it here; then it is closed. The service's own bound is not told.
MAX_BACKLOG = 1024 * 1024
# Messages of one socket that are served at once; the others wait unread, as the service would throttle them.
MAX_UNDER_WAY = 16
IDLE_S = 600.0
LONGEST_S = 7200.0
_MANAGEMENT = re.compile(r"/@connections/([^/]+)$")


@dataclass(slots=True)
class Connection:
    """An open socket."""

    id: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    source_ip: str
    user_agent: str
    headers: Mapping[str, str]
    authorizer: Mapping[str, Json] | None
    host: str
    connected_at: float = field(default_factory=time.time)
    active_at: float = field(default_factory=time.time)


class WebSocketApi:
    """Serves one WebSocket API of the template.

    Args:
        idle_s: seconds without a message in either direction after which a socket is closed.
        longest_s: seconds after which any socket is closed.
    """

    def __init__(
        self,
        api: Api,
        functions: Functions,
        gatekeeper: Gatekeeper,
        *,
        idle_s: float = IDLE_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._api = api
        self._routes = {route.key: route for route in api.routes}
        self._functions = functions
        self._gatekeeper = gatekeeper
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._connections: dict[str, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_MESSAGE + 1)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def connections(self) -> list[str]:
        """The ids of the open sockets, oldest first."""
        return list(self._connections)

    async def stop(self) -> None:
        """Close every socket as a server that goes away does. $disconnect is not invoked."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        closing = [connection.socket.close(code=1001, drain=False) for connection in self._connections.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.gather(*closing, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        management = _MANAGEMENT.search(request.path)
        if management is not None:
            return await self._manage(request, management[1])
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _refusal(426, "Upgrade Required")
        return await self._connect(request)

    # --- sockets ---------------------------------------------------------------------------------------------

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, timeout=1.0)
        connection = Connection(
            id=base64.b64encode(secrets.token_bytes(9)).decode().replace("+", "-").replace("/", "_") + "=",
            socket=socket,
            transport=request.transport,
            source_ip=request.remote or "127.0.0.1",
            user_agent=request.headers.get("User-Agent", ""),
            headers=dict(request.headers),
            authorizer=None,
            host=request.host,
        )
        route = self._routes.get("$connect")
        if route is not None and route.bucket is not None and not route.bucket.take():
            return _refusal(429, "Too Many Requests")
        if route is not None:
            refused = await self._admit(request, connection, route)
            if refused is not None:
                return refused
        # From here on the connection is made, and its end is told, also where the client has left meanwhile.
        code, reason = 1006, ""
        try:
            await socket.prepare(request)
            # Now it can be posted to; during $connect it could not.
            self._connections[connection.id] = connection
            code, reason = 1001, "Going away"
            code, reason = await self._serve(connection)
        finally:
            self._connections.pop(connection.id, None)
            if not self._stopping:
                self._spawn(self._disconnected(connection, code, reason))
        return socket

    async def _admit(self, request: web.Request, connection: Connection, route: Route) -> web.Response | None:
        query = {name: request.query.getall(name)[-1] for name in request.query}
        event = self._event(connection, "$connect", "CONNECT")
        event["headers"] = dict(request.headers)
        event["multiValueHeaders"] = {name: request.headers.getall(name) for name in request.headers}
        if query:
            event["queryStringParameters"] = query
            event["multiValueQueryStringParameters"] = {name: request.query.getall(name) for name in query}
        if route.authorizer is not None:
            arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self._api.id}/{self._api.stage}/$connect"
            admitted = await self._gatekeeper.admit(
                route.authorizer,
                headers={name.lower(): value for name, value in request.headers.items()},
                query=query,
                route_key="$connect",
                event=lambda identity: {
                    **{name: value for name, value in event.items() if name != "isBase64Encoded"},
                    "type": "REQUEST",
                    "methodArn": arn,
                    "stageVariables": {},
                },
            )
            if isinstance(admitted, Refused):
                return _refusal(admitted.status, admitted.message)
            connection.authorizer = admitted
            event["requestContext"]["authorizer"] = dict(admitted)
        try:
            async with asyncio.timeout(INTEGRATION_TIMEOUT_S):
                answer = await self._functions.invoke(route.function, event, wait=False)
        except (InvocationError, Throttled, TimeoutError):
            return _refusal(502, "Bad Gateway")
        status = int(answer.get("statusCode", 500)) if isinstance(answer, dict) else 500
        return None if 200 <= status < 300 else _refusal(status, "Forbidden" if status == 403 else "Refused")

    async def _serve(self, connection: Connection) -> tuple[int, str]:
        """Read messages until the socket closes; why it closed."""
        socket, under_way = connection.socket, asyncio.Semaphore(MAX_UNDER_WAY)
        end = connection.connected_at + self._longest_s
        while True:
            limit = min(connection.active_at + self._idle_s, end)
            try:
                message = await socket.receive(timeout=max(0.01, limit - time.time()))
            except TimeoutError:
                # A frame that was posted meanwhile has made the socket active again.
                if time.time() < min(connection.active_at + self._idle_s, end):
                    continue
                await socket.close(code=1001, message=b"Going away")
                return 1001, "Going away"
            connection.active_at = time.time()
            if message.type is WSMsgType.TEXT:
                text = message.data
            elif message.type is WSMsgType.BINARY:
                text = message.data.decode(errors="replace")
            else:
                return socket.close_code or 1006, str(message.extra or "")
            await under_way.acquire()
            task = self._spawn(self._message(connection, text))
            task.add_done_callback(lambda _: under_way.release())

    async def _message(self, connection: Connection, text: str) -> None:
        key = self._selected(text)
        route = self._routes.get(key) or self._routes.get("$default")
        identifier = request_id()
        if route is None:
            await self._complain(connection, "Forbidden", identifier)
            return
        if route.bucket is not None and not route.bucket.take():
            await self._complain(connection, "Too Many Requests", identifier)
            return
        event = self._event(connection, route.key, "MESSAGE")
        event["requestContext"]["requestId"] = identifier
        event["requestContext"]["messageId"] = identifier
        event["body"] = text
        try:
            async with asyncio.timeout(INTEGRATION_TIMEOUT_S):
                answer = await self._functions.invoke(route.function, event, wait=False)
        except (InvocationError, Throttled, TimeoutError):
            await self._complain(connection, "Internal server error", identifier)
            return
        if route.responds and isinstance(answer, dict) and answer.get("body"):
            await self._send(connection, str(answer["body"]))

    def _selected(self, text: str) -> str:
        """The route that $request.body.action selects."""
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return "$default"
        action = body.get("action") if isinstance(body, dict) else None
        return action if isinstance(action, str) and not action.startswith("$") else "$default"

    async def _complain(self, connection: Connection, message: str, identifier: str) -> None:
        frame = {"message": message, "connectionId": connection.id, "requestId": identifier}
        await self._send(connection, json.dumps(frame))

    async def _send(self, connection: Connection, text: str) -> bool:
        if connection.socket.closed:
            return False
        if self._overdue(connection, len(text)):
            return False
        try:
            await connection.socket.send_str(text)
        except (ConnectionError, RuntimeError):
            return False
        connection.active_at = time.time()
        return True

    def _overdue(self, connection: Connection, more: int) -> bool:
        """Whether a socket has left so much unread that it is given up."""
        transport = connection.transport
        if transport is None or transport.get_write_buffer_size() + more <= MAX_BACKLOG:
            return False
        self._connections.pop(connection.id, None)
        transport.abort()
        return True

    async def _disconnected(self, connection: Connection, code: int, reason: str) -> None:
        route = self._routes.get("$disconnect")
        if route is None:
            return
        event = self._event(connection, "$disconnect", "DISCONNECT")
        event["requestContext"] |= {"disconnectStatusCode": code, "disconnectReason": reason}
        event["headers"] = {"Host": connection.host, "x-api-key": "", "X-Forwarded-For": ""}
        # Best effort, as on AWS: the failure is in the log.
        with contextlib.suppress(InvocationError, Throttled):
            await self._functions.invoke(route.function, event)

    def _event(self, connection: Connection, route_key: str, kind: str) -> dict[str, Json]:
        now = time.time()
        identifier = request_id()
        context: dict[str, Json] = {
            "routeKey": route_key,
            "eventType": kind,
            "extendedRequestId": identifier,
            "requestTime": request_time(now),
            "messageDirection": "IN",
            "stage": self._api.stage,
            "connectedAt": int(connection.connected_at * 1000),
            "requestTimeEpoch": int(now * 1000),
            "identity": {"sourceIp": connection.source_ip, "userAgent": connection.user_agent},
            "requestId": identifier,
            "domainName": connection.host,
            "connectionId": connection.id,
            "apiId": self._api.id,
        }
        if connection.authorizer is not None:
            context["authorizer"] = dict(connection.authorizer)
        return {"requestContext": context, "isBase64Encoded": False}

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a WebSocket message was lost", exc_info=task.exception())

    # --- the management address ----------------------------------------------------------------------------------

    async def _manage(self, request: web.Request, connection_id: str) -> web.Response:
        connection = self._connections.get(connection_id)
        if connection is None or connection.socket.closed:
            return _error(410, "GoneException", "The connection with the provided id no longer exists.")
        match request.method:
            case "POST":
                try:
                    data = await request.read()
                except web.HTTPRequestEntityTooLarge:
                    data = b"x" * (MAX_MESSAGE + 1)
                if len(data) > MAX_MESSAGE:
                    return _error(413, "PayloadTooLargeException", "Message too long")
                if not await self._send(connection, data.decode(errors="replace")):
                    return _error(410, "GoneException", "The connection with the provided id no longer exists.")
                return web.Response(status=200)
            case "GET":
                return web.json_response(
                    {
                        "connectedAt": _iso(connection.connected_at),
                        "identity": {"sourceIp": connection.source_ip, "userAgent": connection.user_agent},
                        "lastActiveAt": _iso(connection.active_at),
                    }
                )
            case "DELETE":
                # Gone for posters at once; the closing handshake takes its own time.
                self._connections.pop(connection_id, None)
                self._spawn(self._close(connection))
                return web.Response(status=204)
            case _:
                return _error(405, "MethodNotAllowedException", "Method not allowed")

    async def _close(self, connection: Connection) -> None:
        await connection.socket.close(code=1000, message=b"Connection Closed Normally")


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


def _error(status: int, kind: str, message: str) -> web.Response:
    """An error in the form of AWS's REST JSON protocol."""
    return web.json_response({"message": message}, status=status, headers={"x-amzn-ErrorType": kind})
