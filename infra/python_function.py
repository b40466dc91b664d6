"""The one way a function is made, and the one way it is allowed something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import encryption
from infra.config import Config
from infra.findings import acknowledge
from order_engine.settings import environment

RUNTIME = lambda_.Runtime.PYTHON_3_13


@dataclass(frozen=True, slots=True)
class Platform:
    """What all functions share. ``code`` has one asset for each package under ``functions/``."""

    config: Config
    layer: lambda_.LayerVersion
    code: Mapping[str, lambda_.Code]


class PythonFunction(Construct):
    """A function with its own role, its own log group, and alarms where nothing else would tell.

    Args:
        handler: dotted name; its first part names the code asset.
        settings: environment by settings field name.
        reserved: reserved concurrency; ignored where the deployment reserves nothing.
        snap_start: whether published versions start from a snapshot.
        traced: whether X-Ray samples its invocations, where the deployment traces.
        tells_errors: whether an alarm watches its errors. Each costs; not where its queue's depth tells as well.
        tells_throttles: whether an alarm watches throttles: where callers are turned away and nothing else tells.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        platform: Platform,
        *,
        handler: str,
        description: str,
        timeout: Duration,
        memory_mb: int = 256,
        settings: Mapping[str, str | int | float],
        reserved: int | None = None,
        snap_start: bool = False,
        traced: bool = True,
        tells_errors: bool = True,
        tells_throttles: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        config = platform.config
        snap_start, traced = snap_start and config.snap_start, traced and config.tracing
        self.log_group = log_group(self, "Logs", config)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"{config.stack_name}: {description}",
        )
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=RUNTIME,
            architecture=architecture(config),
            code=platform.code[handler.partition(".")[0]],
            handler=handler,
            description=description,
            layers=[platform.layer],
            role=self.role,
            timeout=timeout,
            memory_size=memory_mb,
            environment=environment(stage=config.stage, **settings),
            reserved_concurrent_executions=reserved if config.reserved is not None else None,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            tracing=lambda_.Tracing.ACTIVE if traced else lambda_.Tracing.DISABLED,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            "The interpreter that the layer is compiled for and that every test runs on.",
        )
        if snap_start:
            acknowledge(
                self.function,
                "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish",
                "Whoever asks for snapshots publishes versions.",
            )
        if (use := encryption.use(config)) is not None:
            self.role.add_to_policy(use)
        # The log group exists already: no permission to create any.
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.log_group_arn])
        if traced:
            acknowledge(
                self.role,
                "AwsSolutions-IAM5[Resource::*]",
                "X-Ray (PutTraceSegments, PutTelemetryRecords) has no resources to name.",
            )
        told = {"Errors": ("fails", tells_errors), "Throttles": ("is throttled", tells_throttles)}
        self.alarms: Sequence[cloudwatch.Alarm] = [
            self._alarm(name, self.function.metric(name, period=Duration.minutes(5), statistic="Sum"), what)
            for name, (what, wanted) in told.items()
            if wanted
        ]

    def allow(self, actions: Sequence[str], resources: Sequence[str], *, leading_keys: Sequence[str] = ()) -> None:
        """Let the function do these actions on these resources, and nothing else.

        Args:
            leading_keys: where the resources are tables, patterns of the only partition keys that it may name.
        """
        conditions = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(leading_keys)}} if leading_keys else None
        statement = iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
        self.role.add_to_policy(statement)

    def configure(self, **settings: str | int | float) -> None:
        """Add settings, or change some, by settings field name."""
        for name, value in environment(**settings).items():
            self.function.add_environment(name, value)

    def _alarm(self, construct_id: str, metric: cloudwatch.Metric, what: str) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            construct_id,
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{Stack.of(self).stack_name}: the function {self.node.id} {what}.",
        )


def architecture(config: Config) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if config.architecture == "arm64" else lambda_.Architecture.X86_64


def kept(config: Config) -> RemovalPolicy:
    """What becomes of data with their stack. What a failed first deployment made has none and goes with it."""
    return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if config.retain else RemovalPolicy.DESTROY


def log_group(scope: Construct, construct_id: str, config: Config, *, name: str | None = None) -> logs.LogGroup:
    """A log group that keeps its lines as long as the deployment wants, and is kept itself where data are kept."""
    group = logs.LogGroup(scope, construct_id, log_group_name=name, removal_policy=kept(config))
    # The construct's own property is an enumeration that names days in words.
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)
    resource.kms_key_id = config.kms_key
    resource.retention_in_days = config.log_retention_days
    return group
