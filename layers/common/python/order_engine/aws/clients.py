"""boto3 clients: one of each per process, with timeouts that fit inside a worker's lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# A call that is tried again after its answer was lost finds itself (see OrderStore.replace).
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "max_attempts": 3},
    max_pool_connections=50,
    tcp_keepalive=True,
)


# A frame is worth little after a second; the client resumes.
_PUSH_CONFIG = _CONFIG.merge(Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "max_attempts": 2}))


def _session() -> boto3.session.Session:
    return boto3.session.Session()


@cache
def dynamodb() -> DynamoDBClient:
    return _session().client("dynamodb", config=_CONFIG)


@cache
def sqs() -> SQSClient:
    return _session().client("sqs", config=_CONFIG)


@cache
def secrets() -> SecretsManagerClient:
    return _session().client("secretsmanager", config=_CONFIG)


@cache
def connections(endpoint: str) -> ApiGatewayManagementApiClient:
    """The client that pushes to sockets; ``endpoint`` is the stage's management address."""
    return _session().client("apigatewaymanagementapi", endpoint_url=endpoint, config=_PUSH_CONFIG)


async def call[T](function: Callable[..., T], **arguments: Any) -> T:
    """Run one blocking AWS call beside the event loop."""
    return await asyncio.to_thread(partial(function, **arguments))


def error_code(error: ClientError) -> str:
    """The service's name for what went wrong."""
    return error.response.get("Error", {}).get("Code", "")


def old_item(error: ClientError) -> dict[str, Any] | None:
    """The item that made a condition fail, where ReturnValuesOnConditionCheckFailure asked for it."""
    item: dict[str, Any] | None = error.response.get("Item")  # type: ignore[assignment]
    return item or None


CONDITION_FAILED: Literal["ConditionalCheckFailedException"] = "ConditionalCheckFailedException"
