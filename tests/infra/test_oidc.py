"""The second set of routes, for tokens of an OIDC issuer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from order_engine.runtime import Context


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
