"""Requests to the deployed HTTP handler, as API Gateway sends them."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from local.cloud import events
from order_engine.runtime import Context
from tests.support.events import Context as LambdaContext


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
    from tests.support.cloud import engine

    raw = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    identity = {"userId": user, "scopes": scopes, "keyId": "k", "orderId": "", "ordersPerMinute": ""}
    event = events.http(
        method, path, identity, body=raw, query=urlencode(query or {}), headers=headers, authorizer=authorizer
    )
    answer = lambda_handler.over(engine())(event, context or LambdaContext())
    text = answer["body"]
    if answer.get("isBase64Encoded"):
        content = base64.b64decode(text)
        packed = answer["headers"].get("content-encoding") == "gzip"
        text = (gzip.decompress(content) if packed else content).decode()
    kind = answer["headers"].get("content-type", "")
    return Reply(answer["statusCode"], answer["headers"], text, json.loads(text) if text and "json" in kind else None)
