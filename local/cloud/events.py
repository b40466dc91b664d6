"""Events as AWS sends them, for benches and tests that call the handlers themselves."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

type Json = Any


def http(
    method: str,
    path: str,
    identity: Mapping[str, str],
    *,
    body: Json = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    authorizer: Json = None,
) -> Json:
    """A request to the HTTP API, payload 2.0, after the authorizer has answered with ``identity``.

    Args:
        body: JSON, sent as text; or bytes, sent as they are.
        authorizer: all that API Gateway found out about the caller, in place of ``identity``.
    """
    typed = {} if body is None else {"content-type": "application/json"}
    sent = {"host": "api.example", **typed, **(headers or {})}
    if isinstance(body, bytes):
        content = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    else:
        content = {"isBase64Encoded": False, **({} if body is None else {"body": json.dumps(body)})}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "api",
            "domainName": "api.example",
            "requestId": "id",
            "stage": "$default",
            "timeEpoch": 0,
            "time": "now",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"},
            "authorizer": {"lambda": dict(identity)} if authorizer is None else authorizer,
        },
        **content,
    }


def http_authorizer(authorization: str) -> Json:
    """What the HTTP API asks its authorizer."""
    return {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": "arn:aws:execute-api:us-east-1:123456789012:api/$default/GET/api/orders",
        "identitySource": [authorization],
        "headers": {"authorization": authorization},
        "rawPath": "/api/orders",
        "requestContext": {"http": {"method": "GET", "path": "/api/orders"}},
    }


def socket_authorizer(ticket: str) -> Json:
    """What the WebSocket API asks its authorizer before a socket is opened."""
    return {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:api/live/$connect",
        "headers": {},
        "queryStringParameters": {"ticket": ticket},
        "requestContext": {"routeKey": "$connect", "connectionId": "c"},
    }


def socket(
    route: str, connection: str, identity: Mapping[str, str], message: Json = None, *, connected_at: int = 1
) -> Json:
    """One route of the WebSocket API; the socket was opened at ``connected_at``, milliseconds since the epoch."""
    event = {
        "requestContext": {
            "routeKey": route,
            "connectionId": connection,
            "connectedAt": connected_at,
            "domainName": "socket.example",
            "stage": "live",
            "authorizer": dict(identity),
        }
    }
    return event if message is None else {**event, "body": json.dumps(message)}


def messages(*bodies: str, receives: int = 1) -> Json:
    """What a queue hands to its function: messages ``m0``, ``m1`` …, with receipts ``r0``, ``r1`` …"""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": f"r{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receives)},
            }
            for number, body in enumerate(bodies)
        ]
    }


def change(number: object, new: Json = None, old: Json = None) -> Json:
    """One record of the orders stream, with the item after and before where there is one."""
    images = {name: image for name, image in (("NewImage", new), ("OldImage", old)) if image is not None}
    kind = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    view = {"SequenceNumber": str(number), **images}
    return {"eventID": f"event{number}", "eventName": kind, "dynamodb": view}
