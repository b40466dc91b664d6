"""The CDK app. ``cdk`` runs it as ``python -m infra.app`` from the repository's root."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# The CDK runs on node. The virtual environment brings one, which must win over what the system has.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

import aws_cdk as cdk

from infra.config import Config, ConfigError
from infra.stack import OrderEngineStack
from infra.version import version


def build(context: Mapping[str, object] | None = None, outdir: Path | None = None) -> tuple[cdk.App, OrderEngineStack]:
    """Make the app for a context; None takes the one that the CDK's command line gives.

    Raises:
        ConfigError: the context cannot be deployed.
    """
    app = cdk.App(
        context=dict(context) if context is not None else None,
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
    )
    config = Config.from_context(app.node.get_all_context())
    environment = cdk.Environment(
        account=os.environ.get("CDK_DEFAULT_ACCOUNT"),
        region=config.region or os.environ.get("CDK_DEFAULT_REGION"),
    )
    stack = OrderEngineStack(app, config, environment)
    cdk.Tags.of(stack).add("application", "order-engine")
    cdk.Tags.of(stack).add("stage", config.stage)
    cdk.Tags.of(stack).add("version", version())
    if config.cost_center is not None:
        cdk.Tags.of(stack).add("cost-center", config.cost_center)
    return app, stack


def main() -> int:
    try:
        app, _ = build()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
