"""The authorizer of both APIs: an API key, or for a socket a stream ticket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from order_engine.compose import Engine, deployed
from order_engine.domain.errors import EngineError
from order_engine.engine.accounts import Identity, identify_key, identify_ticket
from order_engine.engine.edge import check_origin_key
from order_engine.observability import logger
from order_engine.runtime import Context, entry
from order_engine.settings import ORIGIN_KEY_HEADER

_NOTE_S = 0.3


class MayNotRead(EngineError):
    """A stream shows orders, as reading them does."""

    code = "insufficient_scope"


async def handle(engine: Engine, event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer an HTTP API authorizer request (payload 2.0, simple response) or a WebSocket one (policy)."""
    websocket = "methodArn" in event
    try:
        identity = await _identify(engine, event, websocket=websocket)
    except EngineError as error:
        logger.info("refused: %s", error.code)
        identity = None
    if websocket:
        return _policy(identity, str(event["methodArn"]))
    # An HTTP API answers a refusal with text of its own. The request is let through as nobody's instead, and the API
    # refuses it with a problem before it reads anything else; API Gateway keeps this answer like any other.
    return {"isAuthorized": True, "context": _context(identity)}


async def _identify(engine: Engine, event: Mapping[str, Any], *, websocket: bool) -> Identity:
    now = engine.clock.now_ms()
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    await check_origin_key(headers.get(ORIGIN_KEY_HEADER), engine.stores.origin_keys)
    ticket = (event.get("queryStringParameters") or {}).get("ticket")
    if websocket and ticket:
        return await identify_ticket(ticket, engine.stores.ticket_secrets, now)
    identity = await identify_key(engine.stores.keys, headers.get("authorization"), now)
    await _note_use(engine, identity.key_id, now)
    if websocket and "read" not in identity.scopes:
        raise MayNotRead("This key lacks the scope “read”.")
    return identity


async def _note_use(engine: Engine, key_id: str, now: int) -> None:
    """For the record only: whoever calls neither waits long for it nor is refused because of it."""
    try:
        async with asyncio.timeout(_NOTE_S):
            await engine.stores.key_use.note(key_id, now)
    except Exception as error:  # noqa: BLE001 - whatever it was
        logger.warning("a key's use was not noted: %s", type(error).__name__)


def _context(identity: Identity | None) -> dict[str, str]:
    if identity is None:
        return {"userId": ""}
    return {
        "userId": identity.user_id,
        "scopes": " ".join(sorted(identity.scopes)),
        "keyId": identity.key_id,
        "orderId": identity.order_id or "",
        "ordersPerMinute": str(identity.orders_per_minute or ""),
        "maxSockets": str(identity.max_sockets or ""),
        "maxOpenOrders": str(identity.max_open_orders or ""),
        "expiresAt": str(identity.expires_at or ""),
    }


def _policy(identity: Identity | None, arn: str) -> dict[str, Any]:
    return {
        "principalId": identity.user_id if identity else "nobody",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow" if identity else "Deny", "Resource": arn}],
        },
        "context": _context(identity),
    }


lambda_handler = entry(handle, deployed(ready=("stores.keys", "stores.key_use", "stores.ticket_secrets")))
