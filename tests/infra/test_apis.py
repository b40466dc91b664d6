"""The APIs: who may call what, how often, and from where."""

from __future__ import annotations

import json
from pathlib import Path

from infra.access_log import HTTP, WEBSOCKET
from tests.infra.conftest import Synthesise
from tests.infra.template import Resource, Stack, text

SUBMIT, AUTHORIZER = "submit.handler.lambda_handler", "submit.authorizer.lambda_handler"
SOCKET = "notify.socket.lambda_handler"


def http_routes(stack: Stack) -> dict[str, Resource]:
    return {
        item["Properties"]["RouteKey"]: item["Properties"]
        for item in stack.of_type("AWS::ApiGatewayV2::Route").values()
        if text(item["Properties"]["ApiId"]).startswith("<Http")
    }


KEYED = ("POST /api/orders/execute", "DELETE /api/orders/{orderId}", "GET /api/quote", "ANY /api/{proxy+}")


def test_everything_under_api_asks_the_authorizer_and_the_page_does_not(stack: Stack) -> None:
    routes = http_routes(stack)
    assert {key: route["AuthorizationType"] for key, route in routes.items()} == {
        **dict.fromkeys(KEYED, "CUSTOM"),
        "$default": "NONE",
    }
    (used,) = {text(routes[key]["AuthorizerId"]) for key in KEYED}
    _, authorizer = stack.target({"Ref": used.strip("<>")})
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["AuthorizerResultTtlInSeconds"] == 60
    assert authorizer["EnableSimpleResponses"] is True
    assert authorizer["AuthorizerPayloadFormatVersion"] == "2.0"
    assert stack.function(AUTHORIZER)[0] in text(authorizer["AuthorizerUri"])


def test_a_socket_may_show_a_header_or_a_ticket(stack: Stack) -> None:
    """With an identity source, API Gateway would answer 401 itself wherever that is missing."""
    _, connect = stack.one("AWS::ApiGatewayV2::Route", RouteKey="$connect")
    _, authorizer = stack.target(connect["AuthorizerId"])
    assert connect["AuthorizationType"] == "CUSTOM"
    assert authorizer["AuthorizerType"] == "REQUEST"
    assert authorizer.get("IdentitySource", []) == []
    assert stack.function(AUTHORIZER)[0] in text(authorizer["AuthorizerUri"])


def test_a_configured_issuer_adds_routes_behind_the_native_authorizer(stack: Stack, prod: Stack) -> None:
    routes = {key: route for key, route in http_routes(prod).items() if "/oidc/" in key and "OPTIONS" not in key}
    assert set(routes) == {key.replace("/api/", "/oidc/api/") for key in KEYED}
    for route in routes.values():
        assert route["AuthorizationType"] == "JWT"
        _, authorizer = prod.target(route["AuthorizerId"])
        assert authorizer["JwtConfiguration"] == {"Audience": ["order-engine"], "Issuer": "https://id.example.com/"}
    assert prod.function(SUBMIT)[1]["Environment"]["Variables"]["OIDC_ISSUER"] == "https://id.example.com/"
    assert not any("oidc" in key for key in http_routes(stack))


def test_on_an_emulator_sockets_are_found_there(synthesise: Synthesise) -> None:
    deployed = synthesise(emulatorUrl="http://127.0.0.1:4566")
    push, submit = (deployed.function(handler)[1]["Environment"]["Variables"] for handler in (SOCKET, SUBMIT))
    endpoint = text(push["CONNECTIONS_ENDPOINT"])
    assert endpoint.startswith("http://127.0.0.1:4566/_aws/execute-api/<WebSocketApi")
    assert text(submit["WEBSOCKET_URL"]) == endpoint.replace("http:", "ws:")


def stages(stack: Stack) -> dict[str, Resource]:
    return {item["Properties"]["StageName"]: item for item in stack.of_type("AWS::ApiGatewayV2::Stage").values()}


def limits(rate: int, burst: int) -> Resource:
    return {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}


def test_every_route_has_a_throttle_of_its_own(synthesise: Synthesise, stack: Stack, prod: Stack) -> None:
    """A bucket is shared by all callers of its route: strangers must not stand in line before traders.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
    """
    for deployed in (stack, prod):
        settings = stages(deployed)["$default"]["Properties"]["RouteSettings"]
        assert set(settings) == set(http_routes(deployed))
        for key, route in http_routes(deployed).items():
            assert settings[key] == (limits(100, 200) if route["AuthorizationType"] == "NONE" else limits(500, 1000))
    chosen = synthesise(apiRateLimit="50", apiBurstLimit="60", publicRateLimit="7", publicBurstLimit="8")
    settings = stages(chosen)["$default"]["Properties"]["RouteSettings"]
    assert settings["POST /api/orders/execute"] == limits(50, 60)
    assert settings["$default"] == stages(chosen)["$default"]["Properties"]["DefaultRouteSettings"] == limits(7, 8)
    sockets = stages(chosen)["live"]["Properties"]
    assert sockets["RouteSettings"] == {"$connect": limits(50, 60)}
    assert sockets["DefaultRouteSettings"] == limits(50, 60)


def test_a_stage_waits_for_the_routes_that_it_throttles(stack: Stack, prod: Stack) -> None:
    """CloudFormation makes them side by side otherwise, and a stage with settings for no route is refused."""
    for deployed in (stack, prod):
        for stage in stages(deployed).values():
            keys = stage["Properties"]["RouteSettings"]
            waited_for = {
                deployed.content["Resources"][name]["Properties"].get("RouteKey") for name in stage["DependsOn"]
            }
            assert set(keys) <= waited_for


def test_both_stages_are_logged_without_secrets(stack: Stack) -> None:
    for item in stages(stack).values():
        assert "requestId" in json.loads(item["Properties"]["AccessLogSettings"]["Format"])
    for field in [*HTTP.values(), *WEBSOCKET.values()]:
        # A ticket is in the query string, a key in a header.
        assert not any(word in field.lower() for word in ("query", "header", "authorization"))


def test_access_logs_do_not_fill_the_accounts_policy_and_never_meet_an_older_one(stack: Stack, prod: Stack) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-and-resource-policy.html"""
    for deployed, stage in ((stack, "dev"), (prod, "prod")):
        names = []
        for item in stages(deployed).values():
            group = text(item["Properties"]["AccessLogSettings"]["DestinationArn"]).rpartition(":")[2].strip("<>")
            names.append(deployed.content["Resources"][group]["Properties"]["LogGroupName"])
        assert len({json.dumps(name) for name in names}) == 2
        for name in names:
            _, parts = name["Fn::Join"]
            assert parts[0].startswith(f"/aws/vendedlogs/order-engine-{stage}/")
            # Another stack of the stage, after this one was removed, has another name.
            assert '{"Ref": "AWS::StackId"}' in json.dumps(parts[1])


def test_browsers_of_other_origins_are_refused_unless_configured(stack: Stack, prod: Stack) -> None:
    assert "CorsConfiguration" not in stack.one("AWS::ApiGatewayV2::Api", ProtocolType="HTTP")[1]
    _, api = prod.one("AWS::ApiGatewayV2::Api", ProtocolType="HTTP")
    cors = api["CorsConfiguration"]
    assert cors["AllowOrigins"] == ["https://desk.example.com"]
    assert {"GET", "POST", "DELETE"} <= set(cors["AllowMethods"])
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(cors["AllowHeaders"])


def test_a_configured_origin_may_use_every_route_with_every_header_of_the_api(prod: Stack) -> None:
    """The description says which; a browser asks beforehand for each method and header, and hides what is not named."""
    description = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
    operations = {(method, path): what for path, one in description["paths"].items() for method, what in one.items()}
    parameters = [parameter for what in operations.values() for parameter in what.get("parameters", [])]
    answers = [answer for what in operations.values() for answer in what["responses"].values()]
    # An answer may be written once and referred to.
    answers += description["components"].get("responses", {}).values()
    cors = prod.one("AWS::ApiGatewayV2::Api", ProtocolType="HTTP")[1]["CorsConfiguration"]

    methods = {method.upper() for method, _ in operations}
    assert {"GET", "POST", "DELETE"} <= methods <= set(cors["AllowMethods"])
    sent = {parameter["name"].lower() for parameter in parameters if parameter["in"] == "header"}
    # OpenAPI leaves these two out of the parameters: they go without saying.
    needed = sent | {"authorization", "content-type"}
    assert {"idempotency-key"} <= needed <= {name.lower() for name in cors["AllowHeaders"]}
    given = {name.lower() for answer in answers for name in answer.get("headers", {})}
    # The others a page may read anyway: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name
    hidden = given - {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
    assert {"retry-after", "location"} <= hidden <= {name.lower() for name in cors["ExposeHeaders"]}


def behind(stack: Stack, route: Resource) -> object:
    integration = text(route["Target"]).removeprefix("integrations/").strip("<>")
    return stack.content["Resources"][integration]["Properties"]["IntegrationUri"]


def test_a_preflight_has_routes_without_an_authorizer_where_origins_are_configured(stack: Stack, prod: Stack) -> None:
    """ANY would catch it, and it carries no key: 401, and the browser never calls.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """
    asked = {key: route for key, route in http_routes(prod).items() if key.startswith("OPTIONS ")}
    assert set(asked) == {"OPTIONS /api/{proxy+}", "OPTIONS /oidc/api/{proxy+}"}
    for route in asked.values():
        assert route["AuthorizationType"] == "NONE"
        # It must be answered with success, and so it is, by the function behind all routes.
        assert behind(prod, route) == behind(prod, http_routes(prod)["$default"])
    assert not any(key.startswith("OPTIONS") for key in http_routes(stack))
