"""The HTTP API's Lambda handler."""

from __future__ import annotations

from typing import Any

from mangum import Mangum

from order_engine import observability
from order_engine.runtime import Context, event_loop
from submit.app import create_app
from submit.callers import TOKENS_PREFIX
from submit.careful import Careful

event_loop()
_http = Mangum(
    Careful(create_app()),
    lifespan="off",
    api_gateway_base_path=TOKENS_PREFIX,
    text_mime_types=["text/", "application/", "image/svg+xml"],
)


def _is_preflight(event: dict[str, Any]) -> bool:
    """Whether a browser asks what a page of another origin may send: https://fetch.spec.whatwg.org/#cors-preflight."""
    headers = event.get("headers", {})
    method = event["requestContext"]["http"]["method"]
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def lambda_handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Serve one HTTP API request (payload 2.0)."""
    if _is_preflight(event):
        # API Gateway adds what the deployment allows; where nothing is allowed, nothing is added and the browser stops.
        return {"statusCode": 204, "headers": {}, "body": ""}
    event_loop()
    with observability.invocation(context.function_name, context.aws_request_id):
        return _http(event, context)  # type: ignore[arg-type]
