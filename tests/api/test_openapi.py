"""The API's description: complete, committed, and shown without any other server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.api import openapi
from tests.api.conftest import Deploy
from tests.support.http import request

DOCUMENT: dict[str, Any] = json.loads(openapi.text())
OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]


def test_the_committed_document_is_the_one_that_is_served(deploy: Deploy) -> None:
    deploy()

    assert openapi.PATH.read_text(encoding="utf-8") == openapi.text(), "python -m tests.api.openapi --write"
    assert request("GET", "/openapi.json").json == DOCUMENT


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda value: str(value)[:32])
def test_an_operation_says_who_may_call_it_and_how_it_fails(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["operationId"]
    assert operation["summary"]
    if path.startswith("/api/"):
        assert operation["security"] == [{"apiKey": []}]
        assert {"401", "403", "503"} <= set(operation["responses"])
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            shared = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
            problem = shared["content"]["application/problem+json"]
            assert problem["example"]["status"] == int(status)
        else:
            assert "$ref" in answer["content"]["application/json"]["schema"]


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', openapi.text())):
        found: Any = DOCUMENT
        for part in reference.split("/"):
            found = found[part]
        assert found


def test_the_description_is_shown_from_this_origin_alone(deploy: Deploy) -> None:
    deploy()

    page = request("GET", "/docs")

    assert page.status == 200
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert "http:" not in page.text
    assert "https:" not in page.text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert request("GET", address).status == 200, address
    # What the desk is forbidden stays forbidden there.
    assert "trusted-types 'none'" in request("GET", "/").headers["content-security-policy"]
