"""What the HTTP and the WebSocket API have in common: routes, integrations and Lambda authorizers."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from local.cloud.template import Json, Resource, Template, TemplateError
from local.functions import Functions, InvocationError, Throttled

logger = logging.getLogger("local")

# API Gateway's own limit on an integration, HTTP API and WebSocket API.
INTEGRATION_TIMEOUT_S = 29.0


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A Lambda authorizer of the template.

    Attributes:
        identity_sources: as in the template, e.g. ``$request.header.Authorization``.
        ttl_s: how long an answer is kept; 0 for not at all.
        simple: its answers are ``{"isAuthorized", "context"}``; else they are IAM policies.
        version: payload format version.
    """

    logical_id: str
    function: str
    identity_sources: tuple[str, ...]
    ttl_s: float
    simple: bool
    version: str


@dataclass(slots=True)
class Bucket:
    """API Gateway's throttle of one route: a token bucket that is full at first.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html

    Attributes:
        rate: tokens per second.
        burst: tokens that it holds.
    """

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.burst, self.clock()

    def take(self) -> bool:
        """Take the token of one request; False where there is none."""
        now = self.clock()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class Cors:
    """What an HTTP API allows pages of other origins."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age_s: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route and the function behind it. ``bucket`` is None for a route that is not throttled."""

    key: str
    function: str
    authorizer: Authorizer | None
    responds: bool
    bucket: Bucket | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """One API of the template with its stage."""

    id: str
    stage: str
    routes: tuple[Route, ...]
    cors: Cors | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The authorizer did not let a request in: 401, 403 or 500, with API Gateway's message."""

    status: int
    message: str


@dataclass(slots=True)
class Cache[T]:
    """Values that are forgotten after a time."""

    clock: Callable[[], float] = time.monotonic
    _entries: dict[Json, tuple[float, T]] = field(default_factory=dict)

    def get(self, key: Json) -> T | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self.clock():
            return None
        return entry[1]

    def put(self, key: Json, value: T, ttl_s: float) -> None:
        now = self.clock()
        self._entries = {known: entry for known, entry in self._entries.items() if entry[0] > now}
        self._entries[key] = (now + ttl_s, value)


def apis(template: Template, protocol: Literal["HTTP", "WEBSOCKET"]) -> list[Api]:
    """The template's APIs of a protocol.

    Raises:
        TemplateError: an authorizer or an integration is of a kind that is not simulated, or a stage has settings for
            a route that does not exist, which API Gateway refuses.
    """
    found = []
    for resource in template.of_type("AWS::ApiGatewayV2::Api"):
        if resource.properties.get("ProtocolType") != protocol:
            continue
        stages = [
            stage for stage in template.of_type("AWS::ApiGatewayV2::Stage") if _belongs(template, stage, resource)
        ]
        stage = template.name(stages[0]) if stages else "$default"
        settings = template.properties(stages[0]) if stages else {}
        by_route = dict(settings.get("RouteSettings", {}))
        routes = []
        for part in template.of_type("AWS::ApiGatewayV2::Route"):
            if _belongs(template, part, resource):
                route = _route(template, part)
                limits = by_route.pop(route.key, settings.get("DefaultRouteSettings", {}))
                routes.append(dataclasses.replace(route, bucket=_bucket(limits)))
        if by_route:
            raise TemplateError(f"{resource.logical_id}: its stage has settings for no route of its: {set(by_route)}.")
        cors = _cors(template.value(resource.properties.get("CorsConfiguration")))
        found.append(Api(template.api_id(resource), stage, tuple(routes), cors))
    return found


def _bucket(limits: Mapping[str, Json]) -> Bucket | None:
    if "ThrottlingRateLimit" not in limits:
        return None
    return Bucket(float(limits["ThrottlingRateLimit"]), float(limits["ThrottlingBurstLimit"]))


def _cors(configured: Mapping[str, Json] | None) -> Cors | None:
    if configured is None:
        return None
    return Cors(
        origins=tuple(configured.get("AllowOrigins", ())),
        methods=tuple(configured.get("AllowMethods", ())),
        headers=tuple(configured.get("AllowHeaders", ())),
        exposed=tuple(configured.get("ExposeHeaders", ())),
        max_age_s=int(configured.get("MaxAge", 0)),
    )


def _belongs(template: Template, part: Resource, api: Resource) -> bool:
    return bool(template.value(part.properties["ApiId"]) == template.api_id(api))


def _route(template: Template, resource: Resource) -> Route:
    properties = template.properties(resource)
    integration_id = str(properties.get("Target", "")).removeprefix("integrations/")
    integration = template.resource(integration_id)
    kind = integration.properties.get("IntegrationType")
    if kind != "AWS_PROXY":
        raise TemplateError(f"{integration_id}: integrations of type {kind} are not simulated.")
    authorization = properties.get("AuthorizationType", "NONE")
    if authorization not in ("NONE", "CUSTOM"):
        raise TemplateError(f"{resource.logical_id}: authorization of type {authorization} is not simulated.")
    return Route(
        key=properties["RouteKey"],
        function=template.function_of(integration.properties["IntegrationUri"]),
        authorizer=_authorizer(template, properties["AuthorizerId"]) if authorization == "CUSTOM" else None,
        responds="RouteResponseSelectionExpression" in properties,
    )


def _authorizer(template: Template, logical_id: str) -> Authorizer:
    resource = template.resource(logical_id)
    properties = template.properties(resource)
    if properties.get("AuthorizerType") != "REQUEST":
        raise TemplateError(f"{logical_id}: authorizers of type {properties.get('AuthorizerType')} are not simulated.")
    version = properties.get("AuthorizerPayloadFormatVersion", "1.0")
    return Authorizer(
        logical_id=logical_id,
        function=template.function_of(properties["AuthorizerUri"]),
        identity_sources=tuple(properties.get("IdentitySource", ())),
        # A WebSocket API does not keep answers unless told to; an HTTP API neither.
        ttl_s=float(properties.get("AuthorizerResultTtlInSeconds", 0)),
        simple=bool(properties.get("EnableSimpleResponses", False)),
        version=version,
    )


class Gatekeeper:
    """Asks authorizers and keeps their answers."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._answers: Cache[Mapping[str, Json] | Refused] = Cache()

    async def admit(
        self,
        authorizer: Authorizer,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        route_key: str,
        event: Callable[[list[str]], Json],
    ) -> Mapping[str, Json] | Refused:
        """The authorizer's context for a request, or why it is refused.

        Args:
            headers: by lower-case name.
            event: makes the authorizer's event from the values of its identity sources.
        """
        identity = [_identity(source, headers, query, route_key) for source in authorizer.identity_sources]
        if not all(identity):
            return Refused(401, "Unauthorized")
        values = [value or "" for value in identity]
        key = (authorizer.logical_id, *values)
        if authorizer.ttl_s and values and (known := self._answers.get(key)) is not None:
            return known
        try:
            answer = await self._functions.invoke(authorizer.function, event(values), wait=False)
        except Throttled:
            return Refused(500, "Internal Server Error")
        except InvocationError as error:
            # The one message by which an authorizer may ask for a 401.
            if str(error) == "Unauthorized":
                return Refused(401, "Unauthorized")
            return Refused(500, "Internal Server Error")
        decision = _decision(authorizer, answer)
        if authorizer.ttl_s and values and not (isinstance(decision, Refused) and decision.status == 500):
            self._answers.put(key, decision, authorizer.ttl_s)
        return decision


def _identity(source: str, headers: Mapping[str, str], query: Mapping[str, str], route_key: str) -> str | None:
    plain = source.removeprefix("$").removeprefix("route.")
    if plain.startswith("request.header."):
        return headers.get(plain.removeprefix("request.header.").lower())
    if plain.startswith("request.querystring."):
        return query.get(plain.removeprefix("request.querystring."))
    if plain == "context.routeKey":
        return route_key
    raise TemplateError(f"The identity source {source} is not simulated.")


def _decision(authorizer: Authorizer, answer: Json) -> Mapping[str, Json] | Refused:
    if not isinstance(answer, dict):
        return Refused(500, "Internal Server Error")
    if authorizer.simple:
        if not isinstance(answer.get("isAuthorized"), bool):
            return Refused(500, "Internal Server Error")
        return dict(answer.get("context") or {}) if answer["isAuthorized"] else Refused(403, "Forbidden")
    statements = (answer.get("policyDocument") or {}).get("Statement")
    if not isinstance(statements, list) or "principalId" not in answer:
        return Refused(500, "Internal Server Error")
    effects = {statement.get("Effect") for statement in statements}
    # Authorizers here answer for the request they were asked about: resources are not matched.
    if "Allow" not in effects or "Deny" in effects:
        return Refused(403, "Forbidden")
    return {**(answer.get("context") or {}), "principalId": answer["principalId"]}


def request_id() -> str:
    """Like API Gateway's: it is text, not a UUID."""
    return uuid.uuid4().hex[:15] + "="


def request_time(seconds: float) -> str:
    """The common log format's time, UTC."""
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(seconds))
