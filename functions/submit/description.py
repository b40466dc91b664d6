"""The API's OpenAPI document: what FastAPI derives from the routes, made complete."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from order_engine.domain.refusals import REFUSALS
from order_engine.engine.accounts import KEY_PREFIX
from order_engine.wire.schema import ProblemView
from submit.statuses import STATUSES

type Json = dict[str, Any]

# No route answers there: it brings the type of all problems into the document.
_PROBLEM = "/problem"
_ORDER_ID = "4c1b6f2e-9a53-5b0e-8f65-1f3a7c2d9e10"
_ACCEPTED = {
    "orderId": _ORDER_ID,
    "status": "pending",
    "createdAt": "2026-11-21T09:30:00.123Z",
    "wsUrl": "wss://socket.example.com/live?ticket=WyJhbGljZSIs…",
}
_BODIES = {
    "market": {
        "summary": "Swap at the market's price",
        "value": {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageBps": 50},
    },
    "limit": {
        "summary": "Swap once the price is right",
        "value": {
            "type": "limit",
            "tokenIn": "SOL",
            "tokenOut": "USDC",
            "amountIn": "1.5",
            "limitPrice": "152.30",
        },
    },
}
_LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "description": "The quota `q`, and the seconds `w` in which an empty one becomes whole again "
        "(draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"orders";q=100;w=60',
    },
    "RateLimit": {
        "description": "What remains now, `r`, and the seconds `t` until the whole quota is there again.",
        "schema": {"type": "string"},
        "example": '"orders";r=99;t=1',
    },
}


def describe(app: FastAPI) -> None:
    """Let the application answer /openapi.json with the complete document."""

    def document() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=[*app.routes, APIRoute(_PROBLEM, lambda: None, response_model=ProblemView)],
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(document: Json) -> Json:
    del document["paths"][_PROBLEM]
    components = document["components"]
    components["securitySchemes"] = {
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": f"An API key, `{KEY_PREFIX}…`, with the scopes `trade`, `read` or both.",
        }
    }
    components["responses"] = {known.name: _problem(status) for status, known in STATUSES.items() if known.name}
    # FastAPI's own description of validation errors, which never leave here.
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _operation(operation, secured=path.startswith("/api/"))
    _execute(document["paths"]["/api/orders/execute"]["post"])
    listing = document["paths"]["/api/orders"]["get"]["responses"]["200"]
    listing["links"] = {
        "NextPage": {
            "operationId": "listOrders",
            "parameters": {"cursor": "$response.body#/nextCursor"},
            "description": "The next page, where there is one.",
        }
    }
    return document


def _operation(operation: Json, *, secured: bool) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
        if parameter["name"] == "orderId":
            parameter["example"] = _ORDER_ID
    responses = operation["responses"]
    takes_input = "parameters" in operation or "requestBody" in operation
    for status in [int(code) for code in responses if int(code) >= 400]:
        if status == 422 and not takes_input:
            del responses[str(status)]
        else:
            responses[str(status)] = {"$ref": f"#/components/responses/{STATUSES[status].name}"}
    operation["responses"] = dict(sorted(responses.items()))
    if secured:
        operation["security"] = [{"apiKey": []}]
    else:
        operation["responses"].pop("401", None)
        operation["responses"].pop("403", None)
        operation["security"] = []


def _without_null(schema: Json) -> Json:
    """A parameter of a query or header is absent, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**choices[0], **rest}


def _problem(status: int) -> Json:
    known = STATUSES[status]
    example: Json = {
        "type": f"urn:order-engine:problem:{known.example}",
        "title": known.title,
        "status": status,
        "code": known.example,
        "detail": REFUSALS[known.example].cause,
    }
    if known.field is not None:
        example["field"] = known.field
    content: Json = {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}, "example": example}
    }
    problem: Json = {"description": known.means, "content": content}
    if status == 401:
        # API Gateway's own words: without the header no request reaches us.
        content["application/json"] = {
            "schema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
            "example": {"message": "Unauthorized"},
        }
        problem["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"}}
    if status == 429:
        problem["headers"] = {
            "Retry-After": {
                "description": "Seconds until what was asked for is admitted.",
                "schema": {"type": "integer", "minimum": 1},
                "required": True,
            },
            **_LIMIT_HEADERS,
        }
    return problem


def _execute(operation: Json) -> None:
    operation["requestBody"]["content"]["application/json"]["examples"] = _BODIES
    accepted = operation["responses"]["202"]
    accepted["description"] = "The order is stored and will be executed, whatever happens."
    accepted["content"]["application/json"]["example"] = _ACCEPTED
    accepted["headers"] = {
        "Location": {"description": "The order's address.", "schema": {"type": "string"}, "required": True},
        "Idempotent-Replayed": {
            "description": "`true` if an earlier request with this key had placed the order.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        **_LIMIT_HEADERS,
    }
    accepted["links"] = {
        name: {"operationId": operation_id, "parameters": {"orderId": "$response.body#/orderId"}}
        for name, operation_id in (("Read", "getOrder"), ("Cancel", "cancelOrder"))
    }
