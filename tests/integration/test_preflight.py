"""A browser's preflight reaches the function on a route of its own, and must be answered with success."""

from __future__ import annotations

import pytest

from tests.support.cloud import deployed
from tests.support.http import request

ASKED = {"origin": "https://desk.example.com", "access-control-request-method": "DELETE"}


@pytest.mark.parametrize("path", ["/api/orders/execute", "/api/orders/none", "/oidc/api/orders", "/api/tokens-unknown"])
def test_a_preflight_is_answered_without_a_key(path: str) -> None:
    with deployed():
        reply = request("OPTIONS", path, headers=ASKED, authorizer={})
    assert (reply.status, reply.text) == (204, "")


@pytest.mark.parametrize("missing", sorted(ASKED))
def test_what_is_no_preflight_is_a_method_like_any_other(missing: str) -> None:
    with deployed():
        headers = {name: value for name, value in ASKED.items() if name != missing}
        assert request("OPTIONS", "/api/orders", headers=headers, authorizer={}).status == 405
