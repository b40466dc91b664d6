"""Reading a synthesised CloudFormation template: its resources, and what its intrinsics stand for here.

Names and ARNs are worked out from the template alone. What only exists once a resource has been made (a stream's
ARN, a secret's) is told afterwards with ``Template.learn``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

type Json = Any
type Properties = Mapping[str, Json]

# What the local stack acts on.
SIMULATED = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Authorizer",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::DynamoDB::GlobalTable",
        "AWS::DynamoDB::Table",
        "AWS::Events::Rule",
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Lambda::Version",
        "AWS::Scheduler::Schedule",
        "AWS::SQS::Queue",
        "AWS::SecretsManager::Secret",
    }
)
# What makes no difference to how orders run here: permissions, logs, alarms, packaging.
NOT_SIMULATED = frozenset(
    {
        "AWS::ApiGateway::Account",
        "AWS::ApiGatewayV2::Deployment",
        "AWS::ApplicationSignals::ServiceLevelObjective",
        "AWS::CDK::Metadata",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::KMS::Alias",
        "AWS::KMS::Key",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::Logs::MetricFilter",
        "AWS::Logs::QueryDefinition",
        "AWS::Logs::ResourcePolicy",
        "AWS::Logs::SubscriptionFilter",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::Scheduler::ScheduleGroup",
        "AWS::XRay::Group",
        "AWS::XRay::SamplingRule",
    }
)

# Attribute Arn: the service, and what follows the account with the name put in.
_ARNS = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
    "AWS::DynamoDB::GlobalTable": ("dynamodb", "table/{}"),
    "AWS::SQS::Queue": ("sqs", "{}"),
    "AWS::Lambda::Function": ("lambda", "function:{}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
    "AWS::Events::Rule": ("events", "rule/{}"),
}
# Ref gives their name.
_NAMED = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Events::Rule": "Name",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::ApiGatewayV2::Stage": "StageName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::IAM::Role": "RoleName",
}
_FUNCTION_ARN = re.compile(r":function:([^:/]+)")


class TemplateError(ValueError):
    """The template has something that the local stack needs and does not know; names it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the template. Its properties may still hold intrinsics."""

    logical_id: str
    type: str
    properties: Properties


class Template:
    """A synthesised template.

    Args:
        body: the template as JSON gives it.
        account, region: what the pseudo parameters stand for.

    Raises:
        TemplateError: a resource's type is not known at all.
    """

    def __init__(self, body: Mapping[str, Json], *, account: str, region: str) -> None:
        self._account = account
        self._region = region
        self._parameters: Mapping[str, Properties] = body.get("Parameters", {})
        self._resources: dict[str, Resource] = {}
        self._learnt: dict[tuple[str, str], str] = {}
        self._pseudo: dict[str, Json] = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "local",
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{account}:stack/local/local",
            "AWS::NoValue": _NO_VALUE,
        }
        for logical_id, entry in body.get("Resources", {}).items():
            kind = entry["Type"]
            if kind not in SIMULATED | NOT_SIMULATED:
                raise TemplateError(f"{logical_id}: the local stack does not know the resource type {kind}.")
            if kind in SIMULATED and "Condition" in entry:
                raise TemplateError(f"{logical_id}: the local stack does not know conditions ({entry['Condition']}).")
            self._resources[logical_id] = Resource(logical_id, kind, entry.get("Properties", {}))

    def of_type(self, *types: str) -> Iterator[Resource]:
        """The resources of any of the types, in the template's order."""
        return (resource for resource in self._resources.values() if resource.type in types)

    def resource(self, logical_id: str) -> Resource:
        """Raises TemplateError if there is none."""
        found = self._resources.get(logical_id)
        if found is None:
            raise TemplateError(f"The template has no resource {logical_id}.")
        return found

    def learn(self, logical_id: str, attribute: str, value: str) -> None:
        """Say what an attribute is, or what Ref gives (attribute ``Ref``), once it is known."""
        self._learnt[logical_id, attribute] = value

    def name(self, resource: Resource) -> str:
        """A resource's physical name: what the template says, else its logical id."""
        key = "QueueName" if resource.type == "AWS::SQS::Queue" else _NAMED.get(resource.type, "Name")
        given = self.value(resource.properties.get(key))
        return str(given) if given else resource.logical_id

    def api_id(self, resource: Resource) -> str:
        """Ten letters and digits, as API Gateway's ids are."""
        return hashlib.sha256(resource.logical_id.encode()).hexdigest()[:10]

    def function_of(self, node: Json) -> str:
        """The name of the function behind an ARN: its own, a version's, an alias's, or an API integration's address.

        Raises:
            TemplateError: it is not a function's.
        """
        text = self.value(node)
        match = _FUNCTION_ARN.search(text) if isinstance(text, str) else None
        if match is None:
            raise TemplateError(f"{text!r} is not the ARN of a function.")
        return match[1]

    def properties(self, resource: Resource) -> dict[str, Json]:
        """All properties of a resource, resolved."""
        resolved: dict[str, Json] = self.value(dict(resource.properties))
        return resolved

    def value(self, node: Json) -> Json:
        """A template's value with its intrinsics resolved. What AWS::NoValue stands for is left out.

        Raises:
            TemplateError: an intrinsic, a resource or an attribute is not known.
        """
        if isinstance(node, list):
            return [value for item in node if (value := self.value(item)) is not _NO_VALUE]
        if not isinstance(node, Mapping):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._intrinsic(name, argument)
        return {key: value for key, item in node.items() if (value := self.value(item)) is not _NO_VALUE}

    def _intrinsic(self, name: str, argument: Json) -> Json:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                logical_id, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self._attribute(logical_id, attribute)
            case "Fn::Join":
                separator, parts = argument
                return separator.join(str(part) for part in self.value(parts))
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::Select":
                index, items = argument
                return self.value(items)[int(self.value(index))]
            case "Fn::Split":
                separator, text = argument
                return self.value(text).split(separator)
            case _:
                raise TemplateError(f"The local stack does not know the intrinsic {name}.")

    def _sub(self, argument: Json) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replace(match: re.Match[str]) -> str:
            inner = match[1]
            if inner.startswith("!"):
                return "${" + inner[1:] + "}"
            if inner in variables:
                return str(self.value(variables[inner]))
            if "." in inner:
                return str(self._attribute(*inner.split(".", 1)))
            return str(self._ref(inner))

        return re.sub(r"\$\{([^}]+)\}", replace, text)

    def _ref(self, name: str) -> Json:
        if name in self._pseudo:
            return self._pseudo[name]
        if (name, "Ref") in self._learnt:
            return self._learnt[name, "Ref"]
        if name in self._parameters:
            if "Default" not in self._parameters[name]:
                raise TemplateError(f"The parameter {name} has no default.")
            return self._parameters[name]["Default"]
        return self._ref_of(self.resource(name))

    def _ref_of(self, resource: Resource) -> str:
        match resource.type:
            case kind if kind in _NAMED:
                return self.name(resource)
            case "AWS::SQS::Queue":
                return f"https://sqs.{self._region}.amazonaws.com/{self._account}/{self.name(resource)}"
            case "AWS::ApiGatewayV2::Api":
                return self.api_id(resource)
            case "AWS::ApiGatewayV2::Authorizer" | "AWS::ApiGatewayV2::Integration" | "AWS::ApiGatewayV2::Route":
                return resource.logical_id
            case "AWS::Lambda::Version":
                return f"{self._function_arn(resource.properties['FunctionName'])}:1"
            case "AWS::Lambda::Alias":
                alias = self.value(resource.properties["Name"])
                return f"{self._function_arn(resource.properties['FunctionName'])}:{alias}"
            case kind:
                raise TemplateError(f"The local stack does not know what Ref gives for {resource.logical_id} ({kind}).")

    def _function_arn(self, node: Json) -> str:
        name = self.value(node)
        return name if name.startswith("arn:") else self._arn("lambda", f"function:{name}")

    def _attribute(self, logical_id: str, attribute: str) -> str:
        if (logical_id, attribute) in self._learnt:
            return self._learnt[logical_id, attribute]
        resource = self.resource(logical_id)
        if attribute == "Arn" and resource.type in _ARNS:
            service, rest = _ARNS[resource.type]
            return self._arn(service, rest.format(self.name(resource)))
        match resource.type, attribute:
            case "AWS::SQS::Queue", "QueueName":
                return self.name(resource)
            case "AWS::SQS::Queue", "QueueUrl":
                return self._ref_of(resource)
            case "AWS::Lambda::Version", "Version":
                return "1"
            case "AWS::ApiGatewayV2::Api", "ApiId":
                return self.api_id(resource)
            case "AWS::ApiGatewayV2::Api", "ApiEndpoint":
                scheme = "wss" if resource.properties.get("ProtocolType") == "WEBSOCKET" else "https"
                return f"{scheme}://{self.api_id(resource)}.execute-api.{self._region}.amazonaws.com"
            case "AWS::IAM::Role", "Arn":
                return f"arn:aws:iam::{self._account}:role/{self.name(resource)}"
            case kind, _:
                raise TemplateError(
                    f"The local stack does not know the attribute {attribute} of {logical_id} ({kind})."
                )

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self._region}:{self._account}:{rest}"


class _NoValue:
    """What Ref AWS::NoValue gives."""


_NO_VALUE = _NoValue()


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function as the template has it.

    Attributes:
        handler: dotted name, ``module.function``.
        timeout_s: seconds until an invocation is given up.
        reserved: reserved concurrent executions; None for none.
    """

    name: str
    arn: str
    handler: str
    timeout_s: float
    memory_mb: int
    reserved: int | None
    environment: Mapping[str, str]


def functions(template: Template) -> list[Function]:
    """The functions that a handler of ours runs in. CDK's own helpers (other runtimes, inline code) are left out."""
    found = []
    for resource in template.of_type("AWS::Lambda::Function"):
        properties = resource.properties
        code = properties.get("Code", {})
        if not str(properties.get("Runtime", "")).startswith("python") or "ZipFile" in code:
            continue
        variables = template.value(properties.get("Environment", {}).get("Variables", {}))
        reserved = template.value(properties.get("ReservedConcurrentExecutions"))
        found.append(
            Function(
                name=template.name(resource),
                arn=template.value({"Fn::GetAtt": [resource.logical_id, "Arn"]}),
                handler=template.value(properties["Handler"]),
                timeout_s=float(template.value(properties.get("Timeout", 3))),
                memory_mb=int(template.value(properties.get("MemorySize", 128))),
                reserved=None if reserved is None else int(reserved),
                environment={name: str(value) for name, value in variables.items()},
            )
        )
    return found
