"""What exists in an AWS account, as far as this project makes any of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import boto3

type Inventory = dict[str, frozenset[str]]


def take(session: boto3.Session, endpoint: str) -> Inventory:
    """Names by kind of resource. Everything in the account counts, whoever made it."""

    def names(service: str, operation: str, key: str, read: Callable[[Any], str]) -> frozenset[str]:
        client: Any = session.client(service, endpoint_url=endpoint)  # type: ignore[call-overload]
        if client.can_paginate(operation):
            pages: Iterable[dict[str, Any]] = client.get_paginator(operation).paginate()
        else:
            pages = [getattr(client, operation)()]
        return frozenset(read(item) for page in pages for item in page.get(key, ()))

    def named(field: str) -> Callable[[Any], str]:
        return lambda item: str(item[field])

    return {
        "function": names("lambda", "list_functions", "Functions", named("FunctionName")),
        "layer": names("lambda", "list_layers", "Layers", named("LayerName")),
        "event source": names("lambda", "list_event_source_mappings", "EventSourceMappings", named("UUID")),
        "table": names("dynamodb", "list_tables", "TableNames", str),
        "queue": names("sqs", "list_queues", "QueueUrls", str),
        "API": names("apigatewayv2", "get_apis", "Items", named("ApiId")),
        "secret": names("secretsmanager", "list_secrets", "SecretList", named("Name")),
        "role": names("iam", "list_roles", "Roles", named("RoleName")),
        "log group": names("logs", "describe_log_groups", "logGroups", named("logGroupName")),
        "alarm": names("cloudwatch", "describe_alarms", "MetricAlarms", named("AlarmName")),
        "dashboard": names("cloudwatch", "list_dashboards", "DashboardEntries", named("DashboardName")),
        "rule": names("events", "list_rules", "Rules", named("Name")),
    }


def difference(after: Inventory, before: Inventory) -> Inventory:
    """What came since."""
    return {kind: new for kind, found in after.items() if (new := found - before[kind])}
