"""Events as API Gateway sends them, for benches and tests that call the handlers themselves."""

from __future__ import annotations

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
) -> Json:
    """A request to the HTTP API, payload 2.0, after the authorizer has answered with ``identity``."""
    sent = {"host": "api.example", "content-type": "application/json", **(headers or {})}
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
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "b"},
            "authorizer": {"lambda": dict(identity)},
        },
        "isBase64Encoded": False,
        **({} if body is None else {"body": json.dumps(body)}),
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
