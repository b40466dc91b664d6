"""The WebSocket's routes: connect, disconnect and the clients' messages."""

from __future__ import annotations

import re
from typing import Any, NotRequired, TypedDict

from order_engine.compose import Engine, deployed
from order_engine.domain.errors import TooNew
from order_engine.domain.numerals import read_whole
from order_engine.engine.messages import handshakes_rate, messages_rate
from order_engine.engine.ports import Connection, ConnectionGone, TooManyOrders
from order_engine.engine.rates import RateLimited
from order_engine.engine.sockets import FOLLOWED_ORDERS, Revoked, TooManySockets
from order_engine.observability import logger
from order_engine.runtime import Context, entry
from order_engine.wire import exact_json, views

_MAX_SEQ = 2**31
# No message is longer than a tenth of this. API Gateway takes 128 KB, which may take a quarter of a second to read.
_MAX_CHARS = 2048
# In units of one order's read, as over HTTP, and of one frame: following all shows the newest orders, each in one.
_MESSAGE, _ALL = 1, 1 + FOLLOWED_ORDERS
_ORDER_ID = re.compile("[0-9A-Za-z-]{1,64}")


class RequestContext(TypedDict):
    routeKey: str
    connectionId: str
    connectedAt: NotRequired[int]
    authorizer: NotRequired[dict[str, Any]]


class SocketEvent(TypedDict):
    requestContext: RequestContext
    body: NotRequired[str | None]


class Answer(TypedDict):
    statusCode: int


OK: Answer = {"statusCode": 200}


def _connection(event: SocketEvent, now: int) -> Connection:
    """The caller's socket, as API Gateway keeps it: who opened it, for which order, and until when."""
    context = event["requestContext"]
    authorizer = context.get("authorizer", {})
    return Connection(
        user_id=authorizer["userId"],
        connection_id=context["connectionId"],
        only=authorizer.get("orderId") or None,
        key_id=authorizer.get("keyId") or "",
        since=context.get("connectedAt") or now,
        ends_at=_whole(authorizer, "expiresAt"),
    )


def _whole(authorizer: dict[str, Any], name: str) -> int | None:
    """A number of the authorizer's context, which is text; None where it is absent or empty."""
    text = authorizer.get(name)
    return read_whole(text, high=10**15) if text else None


async def handle(engine: Engine, event: SocketEvent, context: Context) -> Answer:
    """Serve one route."""
    connection = _connection(event, engine.clock.now_ms())
    route = event["requestContext"]["routeKey"]
    if route == "$connect":
        return await _connect(engine, connection, event["requestContext"].get("authorizer", {}))
    if route == "$disconnect":
        await engine.stores.connections.remove(connection.user_id, connection.connection_id)
        return OK
    try:
        await _message(engine, connection, event["requestContext"].get("authorizer", {}), event.get("body") or "")
    except ConnectionGone:
        # Closed already, forgotten by us, or ended with its key: a client that is still there comes back.
        logger.info("socket was gone before its answer")
        await engine.stores.push.close(connection.connection_id)
    return OK


async def _connect(engine: Engine, connection: Connection, authorizer: dict[str, Any]) -> Answer:
    """Let a socket in, or refuse its handshake. It follows nothing until it asks to."""
    own, default = _whole(authorizer, "maxSockets"), engine.settings.limits.sockets_per_user
    rate = handshakes_rate(sockets_per_user=default, own_sockets=own)
    try:
        # Also one that is closed at once costs writes.
        await engine.handshakes.spend(connection.user_id, rate, engine.clock.now_ms(), units=1)
        await engine.connect(connection, own or default)
    except (Revoked, RateLimited, TooManySockets) as refused:
        logger.info("refused: %s", refused.code)
        return {"statusCode": 403 if isinstance(refused, Revoked) else 429}
    return OK


async def _message(engine: Engine, connection: Connection, authorizer: dict[str, Any], body: str) -> None:
    if connection.ended(engine.clock.now_ms()):
        # What API Gateway keeps of the authorizer's answer says so; nothing needs to be read.
        await _refuse(engine, connection, "unauthorized", "The API key has expired.")
        raise ConnectionGone(connection.connection_id)
    try:
        content = exact_json.read(body) if len(body) <= _MAX_CHARS else None
    except exact_json.NotJson:
        content = None
    try:
        await _count(engine, connection, authorizer, content)
    except RateLimited as refused:
        wait = -(-refused.retry_after_ms // 1000)
        await _refuse(engine, connection, refused.code, f"Too many messages in a short time. Come back in {wait} s.")
        # Left open, it could go on, and use up what all sockets share.
        raise ConnectionGone(connection.connection_id) from refused
    if not isinstance(content, dict):
        return await _refuse(engine, connection, "invalid_message", "Send a JSON object with an action.")
    action = content.get("action")
    if action == "ping":
        return await _answer(engine, connection, views.pong_frame(engine.clock.now_ms()))
    if action == "subscribe":
        try:
            return await _subscribe(engine, connection, content)
        except TooNew as error:
            return await _refuse(engine, connection, error.code, error.message)
    return await _refuse(engine, connection, "unknown_action", 'The actions are "subscribe" and "ping".')


async def _count(engine: Engine, connection: Connection, authorizer: dict[str, Any], content: object) -> None:
    """Count a message against its user's limit, whatever it says.

    Raises:
        RateLimited: too many.
    """
    given = engine.settings.limits
    rate = messages_rate(
        reads_per_minute=given.reads_per_minute,
        reads_burst=given.reads_burst,
        orders_per_socket=given.orders_per_socket,
        sockets_per_user=given.sockets_per_user,
        own_sockets=_whole(authorizer, "maxSockets"),
    )
    follows_all = isinstance(content, dict) and content.get("action") == "subscribe" and content.get("orderId") is None
    units = _ALL if follows_all else _MESSAGE
    await engine.messages.spend(connection.user_id, rate, engine.clock.now_ms(), units=units)


async def _subscribe(engine: Engine, connection: Connection, content: dict[str, Any]) -> None:
    """Let a socket follow what it asks for.

    Raises:
        ConnectionGone: it has been closed, or forgotten.
        TooNew: a newer release has written what it asks for.
    """
    order_id, after = content.get("orderId"), content.get("after", 0)
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < _MAX_SEQ:
        return await _refuse(
            engine, connection, "invalid_message", "after is the sequence number up to which you have everything, or 0."
        )
    if order_id is None:
        if connection.only is not None:
            return await _refuse(engine, connection, "forbidden", "This socket was opened for one order.")
        await engine.subscribe.all(connection)
        return await _answer(engine, connection, views.subscribed_frame(None))
    if not isinstance(order_id, str) or not _ORDER_ID.fullmatch(order_id):
        return await _refuse(
            engine, connection, "invalid_message", "orderId is the id that the order was accepted with."
        )
    if connection.only not in (None, order_id):
        return await _refuse(engine, connection, "forbidden", "This socket was opened for another order.")
    try:
        found = await engine.subscribe.one(connection, order_id, after)
    except TooManyOrders:
        most = engine.settings.limits.orders_per_socket
        message = f"A socket follows {most} unfinished orders one by one. Subscribe without orderId to follow all."
        return await _refuse(engine, connection, "too_many_orders", message)
    if not found:
        return await _refuse(engine, connection, "order_not_found", "There is no such order.")
    return None


async def _answer(engine: Engine, connection: Connection, frame: bytes) -> None:
    await engine.stores.push.post(connection.connection_id, frame)


async def _refuse(engine: Engine, connection: Connection, code: str, message: str) -> None:
    await _answer(engine, connection, views.error_frame(code, message))


lambda_handler = entry(handle, deployed(ready=("connect", "subscribe")))
