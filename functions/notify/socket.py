"""The WebSocket's routes: connect, disconnect and the clients' messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NotRequired, TypedDict

from order_engine import bootstrap
from order_engine.engine.ports import Connection, ConnectionGone
from order_engine.observability import logger
from order_engine.runtime import Context, entry
from order_engine.wire import exact_json, views

# API Gateway closes a socket after two hours; ten minutes more cover a lost $disconnect.
_KEEP_MS = (2 * 60 + 10) * 60_000
_MAX_SEQ = 2**31


class RequestContext(TypedDict):
    routeKey: str
    connectionId: str
    authorizer: NotRequired[dict[str, Any]]


class SocketEvent(TypedDict):
    requestContext: RequestContext
    body: NotRequired[str | None]


class Answer(TypedDict):
    statusCode: int


OK: Answer = {"statusCode": 200}


def _connection(event: SocketEvent) -> Connection:
    """The caller's socket, with the order that it may follow where its ticket is for one order alone."""
    context = event["requestContext"]
    authorizer = context.get("authorizer", {})
    order_id = authorizer.get("orderId") or None
    return Connection(
        user_id=authorizer["userId"],
        connection_id=context["connectionId"],
        order_ids=frozenset({order_id} if order_id else ()),
        single=order_id is not None,
    )


async def handle(event: SocketEvent, context: Context) -> Answer:
    """Serve one route."""
    connection = _connection(event)
    route = event["requestContext"]["routeKey"]
    if route == "$connect":
        expires_at = bootstrap.CLOCK.now_ms() + _KEEP_MS
        # It follows nothing until it subscribes: a frame that is sent before the handshake has ended meets no
        # socket, which would then be taken for gone.
        await bootstrap.connections().add(replace(connection, order_ids=frozenset()), expires_at=expires_at)
    elif route == "$disconnect":
        await bootstrap.connections().remove(connection.user_id, connection.connection_id)
    else:
        try:
            await _message(connection, event.get("body") or "")
        except ConnectionGone:
            # Closed already, or forgotten by us: a client that is still there comes back and subscribes anew.
            logger.info("socket was gone before its answer")
            await bootstrap.push().close(connection.connection_id)
    return OK


async def _message(connection: Connection, body: str) -> None:
    try:
        content = exact_json.read(body)
    except exact_json.NotJson:
        content = None
    if not isinstance(content, dict):
        return await _refuse(connection, "invalid_message", "Send a JSON object with an action.")
    action = content.get("action")
    if action == "ping":
        return await _answer(connection, views.pong_frame(bootstrap.CLOCK.now_ms()))
    if action == "subscribe":
        return await _subscribe(connection, content)
    return await _refuse(connection, "unknown_action", 'The actions are "subscribe" and "ping".')


async def _subscribe(connection: Connection, content: dict[str, Any]) -> None:
    order_id, after = content.get("orderId"), content.get("after", 0)
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < _MAX_SEQ:
        return await _refuse(connection, "invalid_message", "after is the last sequence number you have seen, or 0.")
    if order_id is None:
        if connection.single:
            return await _refuse(connection, "forbidden", "This socket was opened for one order.")
        await bootstrap.subscribe().all(connection)
        return await _answer(connection, views.subscribed_frame(None))
    if not isinstance(order_id, str) or not 0 < len(order_id) <= 64:
        return await _refuse(connection, "invalid_message", "orderId is the id that the order was accepted with.")
    if connection.single and order_id not in connection.order_ids:
        return await _refuse(connection, "forbidden", "This socket was opened for another order.")
    if not await bootstrap.subscribe().one(connection, order_id, after):
        return await _refuse(connection, "order_not_found", "There is no such order.")
    return None


async def _answer(connection: Connection, frame: bytes) -> None:
    await bootstrap.push().post(connection.connection_id, frame)


async def _refuse(connection: Connection, code: str, message: str) -> None:
    await _answer(connection, views.error_frame(code, message))


lambda_handler = entry(handle)
