"""What the functions' roles allow, and whether it is what they call.

The policies are those of the synthesised template, evaluated here as IAM does: an action, a resource and the partition
keys of the items that are named must match one Allow statement, and no Deny.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.account import Call
from local.cloud.template import Function, Template, functions
from tests.infra.flows import Recorded

# What the Lambda service does under a function's role, without any call of ours. For event sources see
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions and
# https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html#events-dynamodb-permissions
_EVERY_FUNCTION = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
_QUEUE_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
_STREAM_SOURCE = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}

type Wanted = tuple[str, str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One action on one resource, as a function's role allows it.

    Attributes:
        keys: patterns of the only partition keys that it is for; empty for all.
    """

    function: str
    action: str
    resource: str
    keys: tuple[str, ...] = ()

    def covers(self, function: str, action: str, resource: str, keys: tuple[str, ...] = ()) -> bool:
        return (
            function == self.function
            and fnmatch.fnmatchcase(action.lower(), self.action.lower())
            and fnmatch.fnmatchcase(resource, self.resource)
            and (not self.keys or self._names_only(keys))
        )

    def _names_only(self, keys: tuple[str, ...]) -> bool:
        # A call that names no key is not for a grant that is bound to some.
        return bool(keys) and all(any(fnmatch.fnmatchcase(key, wanted) for wanted in self.keys) for key in keys)


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def handlers(template: Template) -> dict[str, tuple[Function, str]]:
    """Handler module to the function and its role's logical id."""
    by_name = {function.name: function for function in functions(template)}
    found = {}
    for resource in template.of_type("AWS::Lambda::Function"):
        function = by_name[template.name(resource)]
        role, _ = resource.properties["Role"]["Fn::GetAtt"]
        found[function.handler.rpartition(".")[0]] = (function, role)
    return found


def grants(template: Template) -> Iterator[Grant]:
    roles = {role: handler for handler, (_, role) in handlers(template).items()}
    for policy in template.of_type("AWS::IAM::Policy"):
        names = [reference["Ref"] for reference in policy.properties["Roles"]]
        for statement in template.value(policy.properties["PolicyDocument"])["Statement"]:
            # Not used; one that came would have to be evaluated here.
            assert statement["Effect"] == "Allow"
            keys = _leading_keys(statement.get("Condition", {}))
            for role in set(names) & set(roles):
                for action in _listed(statement["Action"]):
                    for resource in _listed(statement["Resource"]):
                        yield Grant(roles[role], action, resource, keys)


def _leading_keys(condition: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """The one condition that is used and evaluated here: which partition keys a call may name."""
    if not condition:
        return ()
    assert set(condition) == {"ForAllValues:StringLike"}
    [(name, patterns)] = condition["ForAllValues:StringLike"].items()
    assert name == "dynamodb:LeadingKeys"
    return tuple(_listed(patterns))


def by_the_platform(grant: Grant, template: Template) -> bool:
    """Whether the Lambda service itself needs a grant, for this function's log, trace or event source."""
    if grant.action in _EVERY_FUNCTION:
        return True
    function, _ = handlers(template)[grant.function]
    for mapping in template.of_type("AWS::Lambda::EventSourceMapping"):
        properties = template.properties(mapping)
        source = properties["EventSourceArn"]
        if properties["FunctionName"] != function.name:
            continue
        if ":sqs:" in source and grant.action in _QUEUE_SOURCE and grant.resource == source:
            return True
        if ":sqs:" not in source and grant.action in _STREAM_SOURCE and grant.resource in (source, "*"):
            return True
    return False


def wanted(call: Call) -> Iterator[Wanted]:
    for resource in call.resources:
        yield call.function, call.action, resource, call.leading_keys


def refused(recorded: Recorded, granted: Sequence[Grant]) -> list[Wanted]:
    """Calls that no role allows."""
    calls = {triple for call in recorded.calls for triple in wanted(call)}
    return [call for call in sorted(calls) if not any(grant.covers(*call) for grant in granted)]


def unused(recorded: Recorded, granted: Sequence[Grant]) -> list[Grant]:
    """Grants that nothing needs."""
    calls = {triple for call in recorded.calls for triple in wanted(call)}
    return [
        grant
        for grant in granted
        if not by_the_platform(grant, recorded.template) and not any(grant.covers(*call) for call in calls)
    ]
