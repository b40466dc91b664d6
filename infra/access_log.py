"""Access logs of both APIs: who asked for what, when, and how it ended.

Never the query string, since a browser's socket carries its ticket there, and no headers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aws_cdk import ArnFormat, Aws, Fn, Stack
from aws_cdk import aws_apigatewayv2 as apigateway

from infra.config import Config
from infra.python_function import log_group

_FIELDS = {
    "requestId": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "user": "$context.authorizer.userId",
    "keyId": "$context.authorizer.keyId",
    "routeKey": "$context.routeKey",
    "status": "$context.status",
    "error": "$context.error.message",
    "authorizerError": "$context.authorizer.error",
    "integrationError": "$context.integrationErrorMessage",
}
HTTP = {
    **_FIELDS,
    "tokenIssuer": "$context.authorizer.claims.iss",
    "tokenSubject": "$context.authorizer.claims.sub",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "responseLength": "$context.responseLength",
    "latencyMs": "$context.responseLatency",
}
WEBSOCKET = {
    **_FIELDS,
    "connectionId": "$context.connectionId",
    "eventType": "$context.eventType",
}


def write_access_log(
    stage: apigateway.HttpStage | apigateway.WebSocketStage, config: Config, fields: Mapping[str, str]
) -> None:
    """Give a stage a log group of its own, with one JSON object for each request.

    In accounts with a shared policy for logs, delivering them adds each group to it, up to 5,120 characters, unless its
    name lies under /aws/vendedlogs/: https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html. Newer deliveries
    have a policy for each group: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
    The stack's own id makes the name another one after each removal, since the group may have outlived the stack.
    """
    incarnation = Fn.select(0, Fn.split("-", Fn.select(2, Fn.split("/", Aws.STACK_ID))))
    kind = "http" if isinstance(stage, apigateway.HttpStage) else "websocket"
    group = log_group(stage, "AccessLog", config, name=f"/aws/vendedlogs/{config.stack_name}/{kind}-{incarnation}")
    arn = Stack.of(stage).format_arn(
        service="logs",
        resource="log-group",
        resource_name=group.log_group_name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    # The stage's own property takes an interface that would call back into this process at synthesis.
    resource = stage.node.default_child
    assert isinstance(resource, apigateway.CfnStage)
    resource.access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
        destination_arn=arn, format=json.dumps(fields)
    )
