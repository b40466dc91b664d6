"""The firewall in front of CloudFront, and the CDK app that makes it where a stage lies in another region.

CloudFront takes firewalls of us-east-1 only. A stage there has its firewall in its own stack; ``make firewall`` deploys
that of any other stage there, as a stack of its own, and prints the ARN that the stage is given (``edgeFirewall``).
https://docs.aws.amazon.com/waf/latest/developerguide/how-aws-waf-works-resources.html
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# As in infra.app: the CDK runs on the virtual environment's node.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

import aws_cdk as cdk
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.config import Config, ConfigError
from infra.context import EDGE_REGION

WINDOW_S = 300
# Rules of AWS's common set that would refuse what is right here: they count instead.
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
COUNTED: Mapping[str, str] = {
    "SizeRestrictions_BODY": "Bodies up to 16 KB are read, and what is larger gets a problem with a code.",
    "NoUserAgent_HEADER": "Programs' WebSocket clients often send none.",
}
_TOO_MANY = {
    "type": "urn:order-engine:problem:rate_limited",
    "title": "Too many requests",
    "status": 429,
    "code": "rate_limited",
    "detail": "Too many requests from this address in a short time.",
}


def firewall(scope: Construct, construct_id: str, name: str, rate: int) -> waf.CfnWebACL:
    """A limit for each address, and AWS's rules against common attacks.

    Args:
        rate: requests that one address may send in five minutes.
    """
    return waf.CfnWebACL(
        scope,
        construct_id,
        name=name,
        scope="CLOUDFRONT",
        description=f"In front of {name}",
        default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
        visibility_config=_seen(name),
        custom_response_bodies={
            "TooMany": waf.CfnWebACL.CustomResponseBodyProperty(
                content=json.dumps(_TOO_MANY), content_type="APPLICATION_JSON"
            )
        },
        rules=[
            waf.CfnWebACL.RuleProperty(
                name="Rate",
                priority=0,
                action=waf.CfnWebACL.RuleActionProperty(
                    block=waf.CfnWebACL.BlockActionProperty(
                        custom_response=waf.CfnWebACL.CustomResponseProperty(
                            response_code=429,
                            custom_response_body_key="TooMany",
                            response_headers=[
                                waf.CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value=str(WINDOW_S))
                            ],
                        )
                    )
                ),
                statement=waf.CfnWebACL.StatementProperty(
                    rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                        limit=rate, aggregate_key_type="IP", evaluation_window_sec=WINDOW_S
                    )
                ),
                visibility_config=_seen(f"{name}-rate"),
            ),
            waf.CfnWebACL.RuleProperty(
                name="Common",
                priority=1,
                override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
                statement=waf.CfnWebACL.StatementProperty(
                    managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                        vendor_name="AWS",
                        name="AWSManagedRulesCommonRuleSet",
                        rule_action_overrides=[
                            waf.CfnWebACL.RuleActionOverrideProperty(
                                name=rule, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
                            )
                            for rule in COUNTED
                        ],
                    )
                ),
                visibility_config=_seen(f"{name}-common"),
            ),
        ],
    )


def _seen(metric: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    # Samples of requests would show keys and tickets to whoever may look at the firewall.
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=False
    )


def stack_name(config: Config) -> str:
    return f"{config.stack_name}-firewall"


def build(context: Mapping[str, object] | None = None, outdir: Path | None = None) -> cdk.App:
    """Make the app for a context; None takes the one that the CDK's command line gives.

    Raises:
        ConfigError: the context cannot be deployed, or wants no firewall.
    """
    app = cdk.App(
        context=dict(context) if context is not None else None,
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
    )
    config = Config.from_context(app.node.get_all_context())
    if config.edge is None:
        raise ConfigError("The firewall is for edge=true only.")
    stack = cdk.Stack(
        app,
        stack_name(config),
        stack_name=stack_name(config),
        env=cdk.Environment(account=os.environ.get("CDK_DEFAULT_ACCOUNT"), region=EDGE_REGION),
        description="Firewall of an order execution engine",
        # Never protected: it holds no data, a first deployment that fails must be removed, and WAF itself refuses to
        # delete what a distribution uses.
    )
    cdk.Tags.of(stack).add("application", "order-engine")
    cdk.Tags.of(stack).add("stage", config.stage)
    # A stage of the same name in this region has a firewall of the stage's name.
    made = firewall(stack, "Firewall", stack_name(config), config.edge.rate)
    arn = cdk.CfnOutput(stack, "Arn", value=made.attr_arn, description="Give it to the stage: -c edgeFirewall=…")
    arn.override_logical_id("FirewallArn")
    return app


def deploy(stage: str, options: Sequence[str], *, remove: bool) -> int:
    """Bootstrap the region where that is missing, and deploy or remove the stack; the exit code."""
    from infra.cdk import cdk as run
    from infra.deploy import approval

    application = ("--app", f"{sys.executable} -m infra.firewall", "-c", f"stage={stage}", *options)
    if remove:
        return run("destroy", "--force", *application)
    return run("bootstrap", *application) or run("deploy", "--require-approval", approval(), *application)


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given:
        remove = "--remove" in given
        stage, *options = [argument for argument in given if argument != "--remove"]
        return deploy(stage, options, remove=remove)
    try:
        app = build()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
