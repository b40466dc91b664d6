"""Event source mappings: pollers that turn queues and streams into invocations.

Behaviour: the Lambda developer guide, "Using Lambda with Amazon SQS" and "Using Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.cloud.template import Json, Template, TemplateError

if TYPE_CHECKING:
    pass

logger = logging.getLogger("local")


# After a poll that failed.
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class EventSource:
    """An event source mapping of the template, resolved."""

    source_arn: str
    function: str
    batch_size: int
    window_s: float
    reports_failures: bool
    properties: Mapping[str, Json]


def mappings(template: Template) -> list[EventSource]:
    """The enabled mappings.

    Raises:
        TemplateError: a setting is not simulated.
    """
    found = []
    for resource in template.of_type("AWS::Lambda::EventSourceMapping"):
        properties = template.properties(resource)
        if not properties.get("Enabled", True):
            continue
        arn = properties["EventSourceArn"]
        queue = ":sqs:" in arn
        if not queue and ":dynamodb:" not in arn:
            raise TemplateError(f"{resource.logical_id}: event sources such as {arn} are not simulated.")
        if queue and "FilterCriteria" in properties:
            raise TemplateError(f"{resource.logical_id}: filters on queues are not simulated.")
        if not queue and properties.get("StartingPosition") != "TRIM_HORIZON":
            raise TemplateError(f"{resource.logical_id}: only the starting position TRIM_HORIZON is simulated.")
        found.append(
            EventSource(
                source_arn=arn,
                # The function's name, its ARN, or its alias's ARN.
                function=_function_name(template, properties["FunctionName"]),
                batch_size=int(properties.get("BatchSize", 10 if queue else 100)),
                window_s=float(properties.get("MaximumBatchingWindowInSeconds", 0)),
                reports_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", ()),
                properties=properties,
            )
        )
    return found


def _function_name(template: Template, name: str) -> str:
    return template.function_of(name) if name.startswith("arn:") else name.partition(":")[0]


class BadReport(ValueError):
    """A function's batchItemFailures cannot be read: the whole batch counts as failed."""


def reported_failures(answer: Json, known: Sequence[str]) -> set[str]:
    """The identifiers that a function's answer names as failed; none for an empty answer.

    Raises:
        BadReport: an identifier is missing, empty or unknown.
    """
    if answer is None or answer == {} or answer == "":
        return set()
    failures = answer.get("batchItemFailures") if isinstance(answer, Mapping) else _NOT_A_LIST
    if failures is None or failures == []:
        return set()
    if not isinstance(failures, list):
        raise BadReport("batchItemFailures is not a list")
    named = set()
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not identifier or identifier not in known:
            raise BadReport(f"batchItemFailures names {identifier!r}, which was not in the batch")
        named.add(identifier)
    return named


_NOT_A_LIST = object()
