"""CloudFront and a firewall in front, where the context asks for it. None of this has met the real CloudFront."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import firewall as firewall_app
from infra.app import build
from infra.config import Config, ConfigError
from infra.preflight import Facts, check
from order_engine.settings import ORIGIN_KEY_HEADER
from tests.infra.conftest import Synthesise
from tests.infra.template import Resource, Stack, text

SUBMIT, AUTHORIZER = "submit.handler.lambda_handler", "submit.authorizer.lambda_handler"
ACL = "arn:aws:wafv2:us-east-1:111122223333:global/webacl/order-engine-dev/0a1b2c3d-0000-1111-2222-333344445555"
CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/0a1b2c3d-0000-1111-2222-333344445555"
# Managed policies by their ids.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


@pytest.fixture(scope="session")
def edge(synthesise: Synthesise) -> Stack:
    return synthesise(edge="true")


def distribution(stack: Stack) -> dict[str, Any]:
    config: dict[str, Any] = stack.one("AWS::CloudFront::Distribution")[1]["DistributionConfig"]
    return config


def behaviours(stack: Stack) -> dict[str, Resource]:
    config = distribution(stack)
    return {"*": config["DefaultCacheBehavior"], **{item["PathPattern"]: item for item in config["CacheBehaviors"]}}


def origin(stack: Stack, behaviour: Resource) -> dict[str, Any]:
    [found] = [item for item in distribution(stack)["Origins"] if item["Id"] == behaviour["TargetOriginId"]]
    return dict(found)


def test_switched_off_there_is_nothing_of_it(synthesise: Synthesise, stack: Stack) -> None:
    assert synthesise(edge="false").content == stack.content
    kinds = {item["Type"] for item in stack.content["Resources"].values()}
    assert [kind for kind in kinds if kind.startswith(("AWS::CloudFront", "AWS::WAF"))] == []
    assert "ORIGIN_KEY_ARN" not in json.dumps(stack.content)
    assert ORIGIN_KEY_HEADER not in json.dumps(stack.content)


def test_switched_on_it_takes_nothing_away(edge: Stack, stack: Stack) -> None:
    """What was there stays under its name, so that a stage can be given an edge, and lose it."""
    names = set(stack.content["Resources"])
    # A published version is named by what it has.
    assert {name for name in names - set(edge.content["Resources"]) if "CurrentVersion" not in name} == set()


def test_what_is_live_is_never_kept_and_reaches_its_api_as_it_was_sent(edge: Stack) -> None:
    """Authorization is passed on because all headers are, and API Gateway finds its API by the host.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html
    """
    live = {path: item for path, item in behaviours(edge).items() if path != "*"}
    assert set(live) == {"/api/*", "/oidc/*", "/health", "/live"}
    for item in live.values():
        assert item["CachePolicyId"] == CACHING_DISABLED
        assert item["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST
        # A redirect would have let a key travel in plain text.
        assert item["ViewerProtocolPolicy"] == "https-only"
        assert {"GET", "POST", "DELETE", "OPTIONS", "HEAD"} <= set(item["AllowedMethods"])
    # CloudFront keeps errors for ten seconds unless it is told otherwise, live or not.
    errors = distribution(edge)["CustomErrorResponses"]
    assert {item["ErrorCode"] for item in errors} >= {400, 403, 404, 405, 500, 502, 503, 504}
    assert {item["ErrorCachingMinTTL"] for item in errors} == {0}


def test_the_page_is_kept_as_long_as_it_says(edge: Stack) -> None:
    page = behaviours(edge)["*"]
    _, policy = edge.target(page["CachePolicyId"])
    config = policy["CachePolicyConfig"]
    assert (config["MinTTL"], config["DefaultTTL"], config["MaxTTL"]) == (0, 0, 31_536_000)
    sent = config["ParametersInCacheKeyAndForwardedToOrigin"]
    # What makes no difference to a file must not make another copy of it, and nobody's cookie is passed on.
    assert (sent["EnableAcceptEncodingGzip"], sent["EnableAcceptEncodingBrotli"]) == (True, False)
    assert {sent["CookiesConfig"]["CookieBehavior"], sent["HeadersConfig"]["HeaderBehavior"]} == {"none"}
    assert sent["QueryStringsConfig"] == {"QueryStringBehavior": "none"}
    assert page["ViewerProtocolPolicy"] == "redirect-to-https"


def test_each_api_is_behind_its_own_paths(edge: Stack) -> None:
    by_path = {path: origin(edge, item) for path, item in behaviours(edge).items()}
    http, socket = (
        next(name for name in edge.of_type("AWS::ApiGatewayV2::Api") if name.startswith(kind))
        for kind in ("HttpApi", "WebSocketApi")
    )
    for path, item in by_path.items():
        api = socket if path == "/live" else http
        assert text(item["DomainName"]).startswith(f"<{api}>.execute-api."), path
        # The path is the client's own: with another put before it, no API would know it.
        assert "OriginPath" not in item
        assert item["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"
        assert item["CustomOriginConfig"]["OriginSSLProtocols"] == ["TLSv1.2"]
    _, stage = edge.one("AWS::ApiGatewayV2::Stage", StageName="live")
    assert stage["ApiId"] == {"Ref": socket}


def test_both_origins_are_shown_the_key_and_the_template_has_it_not(edge: Stack) -> None:
    [secret] = [name for name in edge.of_type("AWS::SecretsManager::Secret") if "OriginKey" in name]
    for item in distribution(edge)["Origins"]:
        [header] = item["OriginCustomHeaders"]
        assert header["HeaderName"] == ORIGIN_KEY_HEADER
        assert text(header["HeaderValue"]) == f"{{{{resolve:secretsmanager:<{secret}>:SecretString:::}}}}"
    generated = edge.content["Resources"][secret]["Properties"]["GenerateSecretString"]
    assert (generated["PasswordLength"], generated["ExcludePunctuation"]) == (48, True)
    assert "SecretString" not in edge.content["Resources"][secret]["Properties"]


def test_a_rotation_names_the_version_that_cloudfront_is_to_show(synthesise: Synthesise) -> None:
    """CloudFormation reads a secret when the text that names it changes.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references-secretsmanager.html
    """
    version = "0a1b2c3d-0000-1111-2222-333344445555"
    rotated = synthesise(edge="true", edgeKeyVersion=version)
    for item in distribution(rotated)["Origins"]:
        assert text(item["OriginCustomHeaders"][0]["HeaderValue"]).endswith(f":SecretString:::{version}}}}}")


def test_who_checks_the_key_may_read_it_and_nobody_else(edge: Stack) -> None:
    [secret] = [name for name in edge.of_type("AWS::SecretsManager::Secret") if "OriginKey" in name]
    readers = set()
    for item in edge.of_type("AWS::Lambda::Function").values():
        handler = item["Properties"]["Handler"]
        told = item["Properties"]["Environment"]["Variables"].get("ORIGIN_KEY_ARN")
        may = [one for one in edge.statements(handler) if f"<{secret}>" in one.resources]
        assert bool(may) == (told == {"Ref": secret}), handler
        if may:
            assert {action for one in may for action in one.actions} == {"secretsmanager:GetSecretValue"}
            readers.add(handler)
    assert readers == {SUBMIT, AUTHORIZER}


def test_a_keyed_route_takes_nothing_without_the_header_and_keeps_no_answer_across_it(edge: Stack) -> None:
    """API Gateway keeps an authorizer's answer by its identity sources: one found on the way round is no answer here.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
    """
    sources = [
        item["Properties"].get("IdentitySource", []) for item in edge.of_type("AWS::ApiGatewayV2::Authorizer").values()
    ]
    assert sorted(sources) == [[], ["$request.header.Authorization", f"$request.header.{ORIGIN_KEY_HEADER}"]]


@pytest.mark.parametrize("own", [False, True])
def test_clients_are_told_the_address_in_front(own: bool, synthesise: Synthesise) -> None:
    names = {"edgeDomain": "orders.example.com", "edgeCertificate": CERTIFICATE} if own else {}
    stack = synthesise(edge="true", **names)
    made, _ = stack.one("AWS::CloudFront::Distribution")
    domain = "orders.example.com" if own else f"<{made}.DomainName>"
    outputs = {name: text(item["Value"]) for name, item in stack.content["Outputs"].items()}
    assert outputs["HttpUrl"] == f"https://{domain}"
    assert outputs["WebSocketUrl"] == f"wss://{domain}/live"
    assert text(stack.function(SUBMIT)[1]["Environment"]["Variables"]["WEBSOCKET_URL"]) == f"wss://{domain}/live"
    assert outputs["EdgeDomain"] == f"<{made}.DomainName>"
    config = distribution(stack)
    assert config.get("Aliases", []) == (["orders.example.com"] if own else [])
    if own:
        assert config["ViewerCertificate"]["AcmCertificateArn"] == CERTIFICATE
        assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_functions_push_to_the_api_itself(edge: Stack, stack: Stack) -> None:
    for handler in ("notify.handler.lambda_handler", "notify.socket.lambda_handler", "process.sweep.lambda_handler"):
        [with_edge, without] = [
            text(one.function(handler)[1]["Environment"]["Variables"]["CONNECTIONS_ENDPOINT"]) for one in (edge, stack)
        ]
        assert with_edge == without


# --- the firewall --------------------------------------------------------------------------------------------------


def check_firewall(acl: Resource, rate: int) -> None:
    assert acl["Scope"] == "CLOUDFRONT"
    rules = {rule["Name"]: rule for rule in acl["Rules"]}
    limit = rules["Rate"]["Statement"]["RateBasedStatement"]
    assert limit == {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": rate}
    refusal = rules["Rate"]["Action"]["Block"]["CustomResponse"]
    assert (refusal["ResponseCode"], refusal["ResponseHeaders"]) == (429, [{"Name": "Retry-After", "Value": "300"}])
    body = acl["CustomResponseBodies"][refusal["CustomResponseBodyKey"]]
    assert json.loads(body["Content"])["code"] == "rate_limited"
    common = rules["Common"]["Statement"]["ManagedRuleGroupStatement"]
    assert (common["VendorName"], common["Name"]) == ("AWS", "AWSManagedRulesCommonRuleSet")
    assert {one["Name"]: one["ActionToUse"] for one in common["RuleActionOverrides"]} == {
        "SizeRestrictions_BODY": {"Count": {}},
        "NoUserAgent_HEADER": {"Count": {}},
    }
    # Samples would hold keys and tickets.
    seen = [acl["VisibilityConfig"], *(rule["VisibilityConfig"] for rule in rules.values())]
    assert {item["SampledRequestsEnabled"] for item in seen} == {False}


@pytest.mark.parametrize(("context", "rate"), [({}, 10_000), ({"edgeRate": "700"}, 700)])
def test_a_firewall_stands_in_cloudfront(context: dict[str, str], rate: int, synthesise: Synthesise) -> None:
    stack = synthesise(edge="true", **context)
    name, acl = stack.one("AWS::WAFv2::WebACL")
    check_firewall(acl, rate)
    assert distribution(stack)["WebACLId"] == {"Fn::GetAtt": [name, "Arn"]}


def test_elsewhere_the_firewall_is_given(synthesise: Synthesise, tmp_path: Path) -> None:
    given = synthesise(edge="true", region="eu-central-1", edgeFirewall=ACL)
    assert given.of_type("AWS::WAFv2::WebACL") == {}
    assert distribution(given)["WebACLId"] == ACL
    with pytest.raises(ConfigError, match=r"in eu-central-1: make firewall STAGE=dev prints the ARN"):
        build({"edge": "true", "region": "eu-central-1", "bundle": False}, tmp_path)
    at_home = synthesise(edge="true", region="us-east-1")
    assert len(at_home.of_type("AWS::WAFv2::WebACL")) == 1


def test_the_firewalls_own_stack_goes_to_the_region_that_cloudfront_reads(tmp_path: Path) -> None:
    firewall_app.build({"edge": "true", "stage": "qa", "region": "eu-central-1", "edgeRate": "50"}, tmp_path).synth()
    template = json.loads((tmp_path / "order-engine-qa-firewall.template.json").read_text())
    [(name, acl)] = [(name, item) for name, item in template["Resources"].items() if "WAF" in item["Type"]]
    check_firewall(acl["Properties"], 50)
    assert template["Outputs"]["FirewallArn"]["Value"] == {"Fn::GetAtt": [name, "Arn"]}
    # CloudFront's firewalls are all in one region: that of a stage there, of the same name, must not be met.
    assert acl["Properties"]["Name"] == "order-engine-qa-firewall"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["artifacts"]["order-engine-qa-firewall"]["environment"].endswith("/us-east-1")
    with pytest.raises(ConfigError, match="for edge=true only"):
        firewall_app.build({"stage": "qa"}, tmp_path)


def test_a_first_firewall_that_fails_can_be_repeated(tmp_path: Path) -> None:
    """Its stack holds no data, and WAF deletes nothing that a distribution uses; protection would only keep a failure.

    https://docs.aws.amazon.com/waf/latest/APIReference/API_DeleteWebACL.html
    """
    firewall_app.build({"edge": "true", "stage": "prod"}, tmp_path).synth()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert not manifest["artifacts"]["order-engine-prod-firewall"]["properties"].get("terminationProtection")


@pytest.mark.parametrize(
    ("region", "given", "stops"),
    [("us-east-1", {}, False), ("eu-central-1", {}, True), ("eu-central-1", {"edgeFirewall": ACL}, False)],
)
def test_a_firewall_that_is_missing_is_said_before_anything_is_changed(
    region: str, given: dict[str, str], stops: bool
) -> None:
    config = Config.from_context({"edge": "true", **given})
    findings = check(config, Facts("111122223333", region, stack_status=""))
    assert [finding.stops for finding in findings] == ([True] if stops else [])
    assert all("make firewall STAGE=dev" in finding.remedy for finding in findings)


def test_the_firewall_is_made_and_removed_by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def run(*arguments: str) -> int:
        ran.append(arguments)
        return 0

    monkeypatch.setattr("infra.cdk.cdk", run)
    main: Callable[[list[str]], int] = firewall_app.main
    assert main(["qa", "-c", "edge=true"]) == 0
    assert main(["qa", "--remove", "-c", "edge=true"]) == 0
    assert [arguments[0] for arguments in ran] == ["bootstrap", "deploy", "destroy"]
    for arguments in ran:
        assert arguments[-4:] == ("-c", "stage=qa", "-c", "edge=true")
        assert arguments[arguments.index("--app") + 1].endswith("-m infra.firewall")
