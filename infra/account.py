"""The CDK app of what an account and region need once. ``infra.bootstrap`` deploys it where it is missing.

API Gateway writes the access logs of WebSocket stages by one role of the whole account and region, which other APIs may
use. It has a stack of its own, so that no stage makes, changes or leaks any.
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# As in infra.app: the CDK runs on the virtual environment's node.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

import aws_cdk as cdk
from aws_cdk import aws_apigateway as rest
from aws_cdk import aws_iam as iam

from infra.findings import acknowledge

STACK = "order-engine-account"
_LOGGING = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"


def build(outdir: Path | None = None, role: str | None = None) -> cdk.App:
    """Make the app.

    Args:
        role: ARN of a role to take instead of making one; the context's ``apiLogRole`` if None.
    """
    app = cdk.App(outdir=str(outdir) if outdir else None, analytics_reporting=False)
    region = app.node.try_get_context("region") or os.environ.get("CDK_DEFAULT_REGION")
    stack = cdk.Stack(
        app,
        STACK,
        stack_name=STACK,
        env=cdk.Environment(account=os.environ.get("CDK_DEFAULT_ACCOUNT"), region=region),
        description="Lets API Gateway write logs in this account and region",
    )
    cdk.Tags.of(stack).add("application", "order-engine")
    arn: str | None = role or app.node.try_get_context("apiLogRole")
    if not arn:
        made = iam.Role(
            stack,
            "ApiGatewayLogs",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(_LOGGING)],
        )
        acknowledge(
            made,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_LOGGING}]",
            "API Gateway accepts a role for its account setting only with these permissions.",
        )
        arn = made.role_arn
    rest.CfnAccount(stack, "Account", cloud_watch_role_arn=arn)
    return app


if __name__ == "__main__":
    build().synth()
