"""Requests to the HTTP handler, as API Gateway sends them."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from order_engine.runtime import Context


@dataclass(slots=True)
class LambdaContext:
    aws_request_id: str = "request-1"
    function_name: str = "function"
    remaining_ms: int = 15_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str
    json: Any = field(default=None)


def request(
    method: str,
    path: str,
    *,
    body: bytes | str | dict[str, Any] | None = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    user: str = "alice",
    scopes: str = "read trade",
    authorizer: dict[str, Any] | None = None,
    context: Context | None = None,
) -> Reply:
    """Call the handler with an HTTP API event of payload format 2.0, as the given user.

    Args:
        authorizer: what API Gateway's authorizer found, instead of ``user`` and ``scopes``; empty for none.
    """
    from submit.handler import lambda_handler
    from tests.integration.aws import engine

    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    sent = {
        "host": "api.example",
        **({"content-type": "application/json"} if raw is not None else {}),
        **(headers or {}),
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
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
            "authorizer": authorizer
            if authorizer is not None
            else {"lambda": {"userId": user, "scopes": scopes, "keyId": "k", "orderId": "", "ordersPerMinute": ""}},
        },
        "isBase64Encoded": raw is not None,
    }
    if raw is not None:
        event["body"] = base64.b64encode(raw).decode()
    answer = lambda_handler.over(engine())(event, context or LambdaContext())
    text = answer["body"]
    if answer.get("isBase64Encoded"):
        content = base64.b64decode(text)
        packed = answer["headers"].get("content-encoding") == "gzip"
        text = (gzip.decompress(content) if packed else content).decode()
    kind = answer["headers"].get("content-type", "")
    return Reply(answer["statusCode"], answer["headers"], text, json.loads(text) if text and "json" in kind else None)
