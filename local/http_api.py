"""The HTTP API: requests become payload 2.0 events, answers of functions become responses.

Formats: API Gateway's developer guide, "Create AWS Lambda proxy integrations for HTTP APIs" and "Control access to
HTTP APIs with AWS Lambda authorizers".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

from local.cloud.account import ACCOUNT, REGION
from local.cloud.template import Json
from local.functions import Functions, InvocationError, Throttled
from local.gateway import INTEGRATION_TIMEOUT_S, Api, Cors, Gatekeeper, Refused, Route, request_id, request_time

MAX_BODY = 10 * 1024 * 1024
_TEXT_TYPES = ("application/json", "application/javascript", "application/xml", "text/")


class RouteTable:
    """Finds the route of a request: the most specific path first, then the method before ANY, then $default."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._default: Route | None = None
        self._routes: list[tuple[str, tuple[str, ...], Route]] = []
        for route in routes:
            if route.key == "$default":
                self._default = route
            else:
                method, _, path = route.key.partition(" ")
                self._routes.append((method, _segments(path), route))
        self._routes.sort(key=lambda entry: ([_rank(segment) for segment in entry[1]], entry[0] == "ANY"))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route for a method and a path, and the path's parameters."""
        segments = _segments(path)
        for wanted, pattern, route in self._routes:
            if wanted in (method, "ANY") and (parameters := _match(pattern, segments)) is not None:
                return route, parameters
        return (self._default, {}) if self._default else None


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _rank(segment: str) -> int:
    return 2 if segment.endswith("+}") else 1 if segment.startswith("{") else 0


def _match(pattern: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    for position, wanted in enumerate(pattern):
        if wanted.endswith("+}"):
            rest = "/".join(segments[position:])
            return {**parameters, wanted[1:-2]: unquote(rest)} if rest else None
        if position >= len(segments):
            return None
        if wanted.startswith("{"):
            if not segments[position]:
                return None
            parameters[wanted[1:-1]] = unquote(segments[position])
        elif wanted != segments[position]:
            return None
    return parameters if len(pattern) == len(segments) else None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as API Gateway sees it."""

    method: str
    raw_path: str
    raw_query: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    source_ip: str
    body: bytes


def read_request(request: web.Request, body: bytes) -> Request:
    """Names in lower case; values of a repeated header or parameter joined with commas; cookies apart."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers.items():
        lower = name.lower()
        if lower == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        else:
            # Bytes that are no UTF-8 arrive as lone surrogates, which no JSON event can carry.
            text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            headers[lower] = f"{headers[lower]},{text}" if lower in headers else text
    query: dict[str, str] = {}
    for name, value in request.query.items():
        query[name] = f"{query[name]},{value}" if name in query else value
    source = request.remote or "127.0.0.1"
    host, _, port = request.host.partition(":")
    headers |= {
        "host": request.host or host,
        "x-forwarded-for": f"{headers['x-forwarded-for']}, {source}" if "x-forwarded-for" in headers else source,
        "x-forwarded-port": port or "80",
        "x-forwarded-proto": "http",
    }
    raw_path, _, raw_query = request.raw_path.partition("?")
    return Request(request.method, raw_path, raw_query, query, headers, tuple(cookies), source, body)


def event_of(api: Api, route: Route, request: Request, parameters: Mapping[str, str], context: Json) -> dict[str, Json]:
    """The payload 2.0 event.

    Args:
        context: the authorizer's context; None without an authorizer.
    """
    now = time.time()
    path = unquote(request.raw_path)
    request_context: dict[str, Json] = {
        "accountId": ACCOUNT,
        "apiId": api.id,
        "domainName": request.headers["host"],
        "domainPrefix": request.headers["host"].partition(".")[0],
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": request_id(),
        "routeKey": route.key,
        "stage": api.stage,
        "time": request_time(now),
        "timeEpoch": int(now * 1000),
    }
    if context is not None:
        request_context["authorizer"] = {"lambda": context}
    event: dict[str, Json] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": request.raw_query,
        "headers": dict(request.headers),
        "requestContext": request_context,
        "isBase64Encoded": False,
    }
    if request.cookies:
        event["cookies"] = list(request.cookies)
    if request.query:
        event["queryStringParameters"] = dict(request.query)
    if parameters:
        event["pathParameters"] = dict(parameters)
    if request.body:
        text = _text(request)
        event["body"] = base64.b64encode(request.body).decode() if text is None else text
        event["isBase64Encoded"] = text is None
    return event


def _text(request: Request) -> str | None:
    """The body as text, or None where API Gateway would encode it."""
    if not request.headers.get("content-type", "").lower().startswith(_TEXT_TYPES):
        return None
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return None


def authorizer_event(
    api: Api, route: Route, request: Request, parameters: Mapping[str, str], identity: list[str]
) -> dict[str, Json]:
    """The event for a Lambda authorizer, payload 2.0: the request without its body."""
    event = event_of(api, route, request, parameters, None)
    event.pop("body", None)
    event.pop("isBase64Encoded")
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.id}/{api.stage}/{request.method}{unquote(request.raw_path)}"
    return {**event, "type": "REQUEST", "routeArn": arn, "identitySource": identity}


def response_of(answer: Json) -> web.Response:
    """What a function's answer becomes. Without a status code the whole answer is a JSON body."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        body = answer if isinstance(answer, str) else json.dumps(answer)
        return web.Response(status=200, body=body.encode(), content_type="application/json")
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in (answer.get("headers") or {}).items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            headers[name] = str(value)
    for cookie in answer.get("cookies") or ():
        headers.add("Set-Cookie", cookie)
    body = answer.get("body") or ""
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        status = int(answer["statusCode"])
        content = base64.b64decode(text, validate=True) if answer.get("isBase64Encoded") else text.encode()
        headers.setdefault("Content-Type", "text/plain;charset=UTF-8")
        return web.Response(status=status, headers=headers, body=content)
    except (ValueError, TypeError, binascii.Error):
        return _message(500, "Internal Server Error")


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def with_cors(response: web.Response, cors: Cors, request: Request) -> web.Response:
    """Put the API's CORS headers in place of the integration's.

    An OPTIONS request takes the route that matches it, with its authorizer, and is answered by API Gateway itself only
    where there is none. Its own errors (401, 429) get no CORS headers here; what AWS adds to them is not documented.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """
    for name in [name for name in response.headers if name.lower().startswith("access-control-")]:
        del response.headers[name]
    origin = request.headers.get("origin")
    if origin is None or not {origin, "*"} & set(cors.origins):
        return response
    response.headers["Access-Control-Allow-Origin"] = origin if origin in cors.origins else "*"
    if _is_preflight(request):
        response.headers["Access-Control-Allow-Methods"] = ",".join(cors.methods)
        response.headers["Access-Control-Allow-Headers"] = ",".join(cors.headers)
        response.headers["Access-Control-Max-Age"] = str(cors.max_age_s)
    elif cors.exposed:
        response.headers["Access-Control-Expose-Headers"] = ",".join(cors.exposed)
    return response


def _message(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status, headers={"Apigw-Requestid": request_id()})


class HttpApi:
    """Serves one HTTP API of the template."""

    def __init__(self, api: Api, functions: Functions, gatekeeper: Gatekeeper) -> None:
        self._api = api
        self._routes = RouteTable(api.routes)
        self._functions = functions
        self._gatekeeper = gatekeeper

    def application(self) -> web.Application:
        """One catch-all route: which requests there are is the template's business."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _message(413, "Request Entity Too Large")
        seen = read_request(request, body)
        found = self._routes.find(seen.method, seen.raw_path)
        if found is None:
            if self._api.cors is not None and _is_preflight(seen):
                return with_cors(web.Response(status=204), self._api.cors, seen)
            return _message(404, "Not Found")
        route, parameters = found
        if route.bucket is not None and not route.bucket.take():
            return _message(429, "Too Many Requests")
        context = None
        if route.authorizer is not None:
            admitted = await self._gatekeeper.admit(
                route.authorizer,
                headers=seen.headers,
                query=seen.query,
                route_key=route.key,
                event=lambda identity: authorizer_event(self._api, route, seen, parameters, identity),
            )
            if isinstance(admitted, Refused):
                return _message(admitted.status, admitted.message)
            context = dict(admitted)
        event = event_of(self._api, route, seen, parameters, context)
        try:
            async with asyncio.timeout(INTEGRATION_TIMEOUT_S):
                answer = await self._functions.invoke(route.function, event, wait=False)
        except (Throttled, TimeoutError):
            return _message(503, "Service Unavailable")
        except InvocationError:
            return _message(500, "Internal Server Error")
        response = response_of(answer)
        if self._api.cors is not None:
            with_cors(response, self._api.cors, seen)
        response.headers.setdefault("Apigw-Requestid", event["requestContext"]["requestId"])
        return response
