"""The local stack's HTTP API against real sockets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from local import functions
from local.cloud.template import TemplateError
from local.stack import Stack
from tests.integration.sample import template as sample
from tests.integration.sample.results import Results


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(sample.template(sample.http()), {"GREETING": "hello"}) as started:
        yield started


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as started:
        yield started


async def test_a_request_becomes_a_payload_2_event(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/things/a%20b?x=1&x=2&empty=",
        headers=[("X-Many", "one"), ("X-Many", "two"), ("Cookie", "a=1; b=2"), ("User-Agent", "tests")],
    )
    event = answer.json()
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /things/{id}"
    assert event["rawPath"] == "/things/a b"
    assert event["rawQueryString"] == "x=1&x=2&empty="
    assert event["queryStringParameters"] == {"x": "1,2", "empty": ""}
    assert event["pathParameters"] == {"id": "a b"}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["x-many"] == "one,two"
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert "cookie" not in event["headers"]
    assert "body" not in event
    assert event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert context["http"] == {
        "method": "GET",
        "path": "/things/a b",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "tests",
    }
    assert (context["stage"], context["routeKey"]) == ("$default", "GET /things/{id}")
    assert "authorizer" not in context
    assert answer.headers["apigw-requestid"] == context["requestId"]


async def test_text_comes_as_it_is_and_the_rest_in_base64(client: httpx.AsyncClient) -> None:
    text = (await client.post("/post", json={"price": "1.50 €"})).json()
    assert (text["body"], text["isBase64Encoded"]) == ('{"price":"1.50 €"}', False)
    raw = b"\x00\xff"
    binary = (await client.post("/post", content=raw, headers={"Content-Type": "application/octet-stream"})).json()
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (raw, True)
    broken = (await client.post("/post", content=raw, headers={"Content-Type": "text/plain"})).json()
    assert (base64.b64decode(broken["body"]), broken["isBase64Encoded"]) == (raw, True)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/things/special", "GET /things/special"),
        ("GET", "/things/other", "GET /things/{id}"),
        ("PUT", "/things/other", "ANY /things/{rest+}"),
        ("GET", "/things/a/b", "ANY /things/{rest+}"),
    ],
)
async def test_the_most_specific_route_wins(client: httpx.AsyncClient, method: str, path: str, route: str) -> None:
    assert (await client.request(method, path)).json()["routeKey"] == route


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("GET", "/post"), ("GET", "/things"), ("GET", "/")])
async def test_an_unknown_route_is_not_found(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


async def test_an_answer_becomes_a_response(client: httpx.AsyncClient) -> None:
    answer = await client.post("/post?as=full")
    assert answer.status_code == 201
    assert answer.headers["x-one"] == "1"
    assert answer.headers["content-type"] == "text/css"
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.content == b"\x00\x01\xff"


async def test_an_answer_without_a_status_is_a_json_body(client: httpx.AsyncClient) -> None:
    answer = await client.post("/post?as=plain")
    assert (answer.status_code, answer.json()) == (200, {"hello": "world"})
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_function_that_raises_is_an_internal_error(client: httpx.AsyncClient) -> None:
    answer = await client.post("/post?as=crash")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


async def test_lambda_takes_six_mebibytes_and_no_more(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API Gateway takes ten: what lies between reaches no function."""
    text = {"content-type": "text/plain"}
    assert (await client.post("/post?as=context", content=b"x" * 5_000_000, headers=text)).status_code == 200
    assert (await client.post("/post?as=context", content=b"x" * 7_000_000, headers=text)).status_code == 500
    # An answer is measured, too.
    sizes: list[int] = []
    monkeypatch.setattr(functions, "_within_limit", lambda text, otherwise: sizes.append(len(text)))
    assert (await client.post("/post?as=context")).status_code == 200
    assert len(sizes) == 2


async def test_a_function_is_given_up_after_its_timeout(client: httpx.AsyncClient) -> None:
    started = asyncio.get_running_loop().time()
    answer = await client.get("/slow?seconds=3")
    assert answer.status_code == 500
    assert 0.9 < asyncio.get_running_loop().time() - started < 2


async def test_a_handler_sees_its_context_and_environment(client: httpx.AsyncClient) -> None:
    seen = (await client.post("/post?as=context")).json()
    assert seen["name"] == "Echo"
    assert seen["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:Echo"
    assert (seen["memory"], seen["greeting"]) == (256, "hello")
    assert 0 < seen["left"] <= 5000
    assert seen["requestId"]


async def test_a_body_above_ten_megabytes_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "text/plain"}
    allowed = await client.post("/post", content=b"x" * 10 * 1024 * 1024, headers=headers)
    # It passes the gateway, and is too much for Lambda.
    assert allowed.status_code == 500
    refused = await client.post("/post", content=b"x" * (10 * 1024 * 1024 + 1), headers=headers)
    assert (refused.status_code, refused.json()) == (413, {"message": "Request Entity Too Large"})


async def test_the_authorizer_decides(client: httpx.AsyncClient) -> None:
    missing = await client.get("/guarded/a")
    assert (missing.status_code, missing.json()) == (401, {"message": "Unauthorized"})
    denied = await client.get("/guarded/a", headers={"Authorization": "Bearer bad"})
    assert (denied.status_code, denied.json()) == (403, {"message": "Forbidden"})
    broken = await client.get("/guarded/a", headers={"Authorization": "Bearer crash"})
    assert (broken.status_code, broken.json()) == (500, {"message": "Internal Server Error"})
    admitted = await client.get("/guarded/a", headers={"Authorization": "Bearer good-ann"})
    assert admitted.json()["requestContext"]["authorizer"] == {"lambda": {"userId": "ann"}}


async def test_the_authorizer_is_asked_once_per_identity(stack: Stack, client: httpx.AsyncClient) -> None:
    for token in ("good-ann", "good-ann", "good-bob", "bad", "bad"):
        await client.get("/guarded/a?x=1", headers={"Authorization": f"Bearer {token}"})
    notes = await Results(stack).after(0.1)
    asked = [note["authorizer"] for note in notes]
    assert sorted(event["identitySource"][0] for event in asked) == ["Bearer bad", "Bearer good-ann", "Bearer good-bob"]
    assert asked[0]["type"] == "REQUEST"
    assert asked[0]["routeArn"].endswith("/$default/GET/guarded/a")
    assert asked[0]["routeKey"] == "ANY /guarded/{proxy+}"


async def test_requests_run_at_once(client: httpx.AsyncClient) -> None:
    started = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(client.get("/slow?seconds=0.5") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert asyncio.get_running_loop().time() - started < 1.5


async def test_reserved_concurrency_throttles() -> None:
    resources = sample.http()
    resources["Slow"]["Properties"]["ReservedConcurrentExecutions"] = 1
    async with (
        Stack(sample.template(resources)) as stack,
        httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as client,
    ):
        answers = await asyncio.gather(*(client.get("/slow?seconds=0.4") for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
        assert (await client.get("/slow?seconds=0")).status_code == 200


# --- pages of other origins, and throttles -------------------------------------------------------------------------

_PREFLIGHT = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
_DESK = {"Origin": "https://desk.example.com"}


@asynccontextmanager
async def served(resources: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Stack(sample.template(resources), {"GREETING": "hello"}) as stack,
        httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as client,
    ):
        yield client


async def test_a_greedy_route_with_an_authorizer_catches_preflights() -> None:
    """As API Gateway does: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html"""
    async with served(sample.with_cors()) as client:
        caught = await client.options("/guarded/a", headers=_DESK | _PREFLIGHT)
        assert caught.status_code == 401
        assert "access-control-allow-origin" not in caught.headers
        # Where no route takes it, the API answers by itself.
        answered = await client.options("/post", headers=_DESK | _PREFLIGHT)
        assert answered.status_code == 204
        assert answered.headers["access-control-allow-origin"] == "https://desk.example.com"
        assert answered.headers["access-control-allow-methods"] == "GET,DELETE"
        assert answered.headers["access-control-allow-headers"] == "Authorization"
        assert answered.headers["access-control-max-age"] == "60"


async def test_a_route_for_preflights_is_answered_by_its_function_with_the_apis_headers() -> None:
    async with served(sample.with_cors("OPTIONS /guarded/{proxy+}")) as client:
        asked = await client.options("/guarded/a", headers=_DESK | _PREFLIGHT)
        assert asked.status_code == 200
        assert asked.json()["routeKey"] == "OPTIONS /guarded/{proxy+}"
        assert asked.headers["access-control-allow-methods"] == "GET,DELETE"
        stranger = await client.options("/guarded/a", headers={"Origin": "https://evil.example"} | _PREFLIGHT)
        assert not [name for name in stranger.headers if name.startswith("access-control-")]


async def test_cors_headers_are_the_apis_and_never_the_functions() -> None:
    async with served(sample.with_cors()) as client:
        own = await client.get("/things/a?as=cors", headers=_DESK)
        assert own.headers["access-control-allow-origin"] == "https://desk.example.com"
        assert own.headers["access-control-expose-headers"] == "X-One"
        other = await client.get("/things/a?as=cors", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        assert "access-control-allow-origin" not in (await client.get("/things/a?as=cors")).headers


async def test_a_throttled_route_leaves_the_others_alone() -> None:
    resources = sample.http()
    few, many = (
        {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 3},
        {
            "ThrottlingRateLimit": 100,
            "ThrottlingBurstLimit": 100,
        },
    )
    resources["HttpStage"]["Properties"] |= {"DefaultRouteSettings": few, "RouteSettings": {"POST /post": many}}
    async with served(resources) as client:
        answers = [await client.get("/things/special") for _ in range(8)]
        codes = [answer.status_code for answer in answers]
        assert codes[:3] == [200] * 3
        assert 429 in codes
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json() == {"message": "Too Many Requests"}
        # Each route has a bucket of its own, also where the limits are the stage's default.
        assert (await client.get("/things/other")).status_code == 200
        assert {(await client.post("/post")).status_code for _ in range(8)} == {200}


async def test_a_stage_with_settings_for_no_route_is_refused() -> None:
    resources = sample.http()
    resources["HttpStage"]["Properties"]["RouteSettings"] = {"GET /nowhere": {"ThrottlingRateLimit": 1}}
    with pytest.raises(TemplateError, match="GET /nowhere"):
        async with Stack(sample.template(resources)):
            pass
