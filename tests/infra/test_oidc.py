"""The second set of routes, for tokens of an OIDC issuer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from order_engine.runtime import Context
from tests.support.cloud import deployed
from tests.support.http import request


def _get(path: str, authorizer: dict[str, Any] | None) -> dict[str, Any]:
    """What the deployed handler answers to a request that API Gateway let through."""
    from submit.handler import lambda_handler

    context: dict[str, Any] = {
        "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
        "domainName": "api.example.com",
        "stage": "$default",
    }
    if authorizer is not None:
        context["authorizer"] = authorizer
    event = {
        "version": "2.0",
        "routeKey": "ANY /oidc/api/{proxy+}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "api.example.com"},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    return lambda_handler(event, cast(Context, SimpleNamespace(function_name="submit", aws_request_id="r")))


@pytest.mark.parametrize("path", ["/api/tokens-nobody-knows", "/oidc/api/tokens-nobody-knows"])
def test_unknown_paths_are_unknown_under_both_prefixes(path: str) -> None:
    assert (
        _get(path, {"jwt": {"claims": {"sub": "u", "iss": "https://id.example", "scope": "read"}}})["statusCode"] == 404
    )


def test_a_token_without_a_scope_reaches_the_api_and_is_refused_by_it() -> None:
    answer = _get("/oidc/api/orders", {"jwt": {"claims": {"sub": "u", "iss": "https://id.example", "scope": "other"}}})
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (403, "insufficient_scope")


def test_the_prefix_alone_opens_nothing() -> None:
    assert _get("/oidc/api/orders", None)["statusCode"] == 401


@pytest.mark.parametrize(("prefix", "claims"), [("/oidc", True), ("", False)])
def test_the_order_lies_where_its_caller_may_read_it(prefix: str, claims: bool) -> None:
    """A token opens nothing without the prefix, and a key nothing with it."""
    jwt = {"jwt": {"claims": {"sub": "u", "iss": "https://id.example", "scope": "read trade"}}}
    who = jwt if claims else None
    with deployed():
        body = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
        placed = request("POST", f"{prefix}/api/orders/execute", body=body, authorizer=who)
        assert placed.status == 202
        location = placed.headers["location"]
        assert location == f"{prefix}/api/orders/{placed.json['orderId']}"
        assert request("GET", location, authorizer=who).json["orderId"] == placed.json["orderId"]
