"""The HTTP API's Lambda handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mangum import Mangum

from order_engine.compose import Engine, deployed
from order_engine.runtime import Context, Handler, event_loop
from submit.app import create_app
from submit.callers import TOKENS_PREFIX
from submit.careful import Careful
from submit.served import Over

event_loop()
_app = Careful(create_app())


def _is_preflight(event: dict[str, Any]) -> bool:
    """Whether a browser asks what a page of another origin may send: https://fetch.spec.whatwg.org/#cors-preflight."""
    headers = event.get("headers", {})
    method = event["requestContext"]["http"]["method"]
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def serving(engine: Engine) -> Callable[[dict[str, Any], Context], dict[str, Any]]:
    """Serves HTTP API requests (payload 2.0) over an engine."""
    http = Mangum(
        Over(_app, engine),
        lifespan="off",
        api_gateway_base_path=TOKENS_PREFIX,
        text_mime_types=["text/", "application/", "image/svg+xml"],
    )

    def serve(event: dict[str, Any], context: Context) -> dict[str, Any]:
        if _is_preflight(event):
            # API Gateway adds what the deployment allows; where nothing is allowed, nothing is added and the browser
            # stops.
            return {"statusCode": 204, "headers": {}, "body": ""}
        return http(event, context)  # type: ignore[arg-type]

    return serve


lambda_handler = Handler(serving, deployed(ready=("place", "meter", "stores.ticket_secrets")))


def _request(method: str, path: str, body: str = "") -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "localhost", "content-type": "application/json"},
        "body": body,
        "isBase64Encoded": False,
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "authorizer": {"lambda": {"userId": "rehearsal", "scopes": "read trade", "keyId": "rehearsal"}},
        },
    }


# An order that is refused before anybody is asked about it, and a page that is not there.
lambda_handler.rehearse(_request("POST", "/api/orders/execute", "{}"), _request("GET", "/rehearsal"))
