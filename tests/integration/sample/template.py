"""A template written by hand with the resource types that the project's own has."""

from __future__ import annotations

from typing import Any

_HANDLERS = "tests.integration.sample.handlers"
_RESULTS = {"Results": {"Type": "AWS::SQS::Queue", "Properties": {}}}


def function(name: str, handler: str, **properties: Any) -> dict[str, Any]:
    """A function resource under its logical id."""
    return {
        name: {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Handler": f"{_HANDLERS}.{handler}",
                "Runtime": "python3.13",
                "Code": {"S3Bucket": "assets", "S3Key": "code.zip"},
                "Timeout": 5,
                "MemorySize": 256,
                "Environment": {
                    "Variables": {
                        "RESULTS_URL": {"Ref": "Results"},
                        "CONNECTIONS_ENDPOINT": {
                            "Fn::Sub": "https://${Sockets}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live"
                        },
                    }
                },
                **properties,
            },
        }
    }


def _invoked(name: str) -> dict[str, Any]:
    parts = ["arn:", {"Ref": "AWS::Partition"}, ":apigateway:", {"Ref": "AWS::Region"}]
    parts += [":lambda:path/2015-03-31/functions/", {"Fn::GetAtt": [name, "Arn"]}, "/invocations"]
    return {"Fn::Join": ["", parts]}


def _part(api: str, kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": {"ApiId": {"Ref": api}, **properties}}


def _route(api: str, key: str, integration: str, authorizer: str | None = None) -> dict[str, Any]:
    guarded = {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": authorizer}} if authorizer else {}
    target = {"Fn::Join": ["", ["integrations/", {"Ref": integration}]]}
    return _part(api, "Route", RouteKey=key, Target=target, **guarded)


def http() -> dict[str, Any]:
    """An HTTP API whose integration goes through an alias, with an authorizer on /guarded."""
    return {
        **function("Echo", "echo"),
        **function("Slow", "slow", Timeout=1),
        **function("Authorize", "authorize"),
        "EchoVersion": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Echo"}}},
        "EchoLive": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {
                "FunctionName": {"Ref": "Echo"},
                "FunctionVersion": {"Fn::GetAtt": ["EchoVersion", "Version"]},
                "Name": "live",
            },
        },
        "Http": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "http", "ProtocolType": "HTTP"}},
        "HttpStage": _part("Http", "Stage", StageName="$default", AutoDeploy=True),
        "EchoIntegration": _part(
            "Http",
            "Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri={"Ref": "EchoLive"},
            PayloadFormatVersion="2.0",
        ),
        "SlowIntegration": _part(
            "Http",
            "Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri={"Fn::GetAtt": ["Slow", "Arn"]},
            PayloadFormatVersion="2.0",
        ),
        "Keys": _part(
            "Http",
            "Authorizer",
            AuthorizerType="REQUEST",
            AuthorizerUri=_invoked("Authorize"),
            AuthorizerPayloadFormatVersion="2.0",
            AuthorizerResultTtlInSeconds=60,
            EnableSimpleResponses=True,
            IdentitySource=["$request.header.Authorization"],
        ),
        "Guarded": _route("Http", "ANY /guarded/{proxy+}", "EchoIntegration", "Keys"),
        "OneThing": _route("Http", "GET /things/{id}", "EchoIntegration"),
        "TheThing": _route("Http", "GET /things/special", "EchoIntegration"),
        "AnyThing": _route("Http", "ANY /things/{rest+}", "EchoIntegration"),
        "SlowRoute": _route("Http", "GET /slow", "SlowIntegration"),
        "Post": _route("Http", "POST /post", "EchoIntegration"),
    }


def with_cors(*routes: str) -> dict[str, Any]:
    """The HTTP API for pages of https://desk.example.com, with some more routes to the function Echo."""
    resources = http()
    resources["Http"]["Properties"]["CorsConfiguration"] = {
        "AllowOrigins": ["https://desk.example.com"],
        "AllowMethods": ["GET", "DELETE"],
        "AllowHeaders": ["Authorization"],
        "ExposeHeaders": ["X-One"],
        "MaxAge": 60,
    }
    return resources | {f"More{place}": _route("Http", key, "EchoIntegration") for place, key in enumerate(routes)}


def websocket() -> dict[str, Any]:
    """A WebSocket API with an authorizer on $connect."""
    return {
        **function("Socket", "socket"),
        **function("AuthorizeSocket", "authorize_socket"),
        "Sockets": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {"ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.action"},
        },
        "SocketsStage": _part("Sockets", "Stage", StageName="live", AutoDeploy=True),
        "SocketIntegration": _part(
            "Sockets", "Integration", IntegrationType="AWS_PROXY", IntegrationUri=_invoked("Socket")
        ),
        "Tickets": _part(
            "Sockets",
            "Authorizer",
            AuthorizerType="REQUEST",
            AuthorizerUri=_invoked("AuthorizeSocket"),
            IdentitySource=["route.request.querystring.user"],
        ),
        "Connect": _route("Sockets", "$connect", "SocketIntegration", "Tickets"),
        "Disconnect": _route("Sockets", "$disconnect", "SocketIntegration"),
        "Default": _route("Sockets", "$default", "SocketIntegration"),
        "Named": _route("Sockets", "named", "SocketIntegration"),
    }


def queues(*, visibility_s: int = 1, receives: int = 3, concurrency: int = 2, **mapping: Any) -> dict[str, Any]:
    """A queue that feeds the function Batch, and its dead letters."""
    return {
        **function("Batch", "batch"),
        # Its dead letters come after it, as they may in a template.
        "Work": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                "VisibilityTimeout": visibility_s,
                "RedrivePolicy": {
                    "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                    "maxReceiveCount": receives,
                },
            },
        },
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"MessageRetentionPeriod": 1_209_600}},
        "WorkSource": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "BatchSize": 10,
                "EventSourceArn": {"Fn::GetAtt": ["Work", "Arn"]},
                "FunctionName": {"Ref": "Batch"},
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": concurrency},
                **mapping,
            },
        },
    }


def streams(**mapping: Any) -> dict[str, Any]:
    """A table whose stream feeds the function Stream, with a failure destination."""
    return {
        **function("Stream", "stream"),
        "Failures": {"Type": "AWS::SQS::Queue", "Properties": {}},
        "Things": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
                "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
            },
        },
        "ThingsSource": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "BatchSize": 10,
                "StartingPosition": "TRIM_HORIZON",
                "EventSourceArn": {"Fn::GetAtt": ["Things", "StreamArn"]},
                "FunctionName": {"Ref": "Stream"},
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "MaximumRetryAttempts": 1,
                "BisectBatchOnFunctionError": True,
                "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Failures", "Arn"]}}},
                **mapping,
            },
        },
    }


def schedule() -> dict[str, Any]:
    """A rule that invokes the function Tick every minute."""
    return {
        **function("Tick", "tick"),
        "EveryMinute": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "ScheduleExpression": "rate(1 minute)",
                "State": "ENABLED",
                "Targets": [{"Id": "Target0", "Arn": {"Fn::GetAtt": ["Tick", "Arn"]}}],
            },
        },
    }


def template(*parts: dict[str, Any]) -> dict[str, Any]:
    """A template of these resources and the queue of results. The functions' variables need the WebSocket API."""
    resources = {**_RESULTS, "Sockets": websocket()["Sockets"]}
    for part in parts:
        resources |= part
    return {"Resources": resources}
