"""AWS clients: one of each per engine, with timeouts that fit inside a worker's lease.

They are botocore's own, which boto3's are too. Importing boto3 itself brings S3's transfer manager with it, and a third
of a worker's cold start (``bench.cold_start``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.httpsession import get_cert_path
from botocore.session import Session, get_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

    from order_engine.aws.endpoint import Endpoint

# A call that is tried again after its answer was lost finds itself (see OrderStore.replace).
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "max_attempts": 3},
    max_pool_connections=50,
    tcp_keepalive=True,
)


# Clients may be used by several threads at once; a session may not.
_making = threading.Lock()


class Clients:
    """The clients of one engine, of the process's credentials and region, each made when it is first used."""

    def __init__(self) -> None:
        self._made: list[Any] = []
        self._endpoints: list[Endpoint] = []

    def rehearse(self, make: Callable[[], object]) -> None:
        """Make what ``make`` makes, and let each client of it make its first calls, which nobody hears.

        What is there before is left as it is. See ``rehearsal``.
        """
        from order_engine.aws import rehearsal

        rehearsal.begin_anew_after_restore()
        with rehearsal.without_credentials(self._session):
            make()
            rehearsal.rehearse(self._made, self._endpoints)

    @cached_property
    def _session(self) -> Session:
        return get_session()

    def _client(self, service: str) -> Any:
        with _making:
            client = self._session.create_client(service, config=_CONFIG)
        self._made.append(client)
        return client

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> SQSClient:
        client: SQSClient = self._client("sqs")
        return client

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    def connections(self, endpoint: str) -> Endpoint:
        """What pushes to sockets; ``endpoint`` is the stage's management address."""
        from order_engine.aws.endpoint import Endpoint

        with _making:
            credentials, region = self._session.get_credentials(), self._session.get_config_variable("region")
            roots = self._session.get_config_variable("ca_bundle") or get_cert_path(True)
        made = Endpoint(endpoint, "execute-api", region, credentials, roots)
        self._endpoints.append(made)
        return made


async def call[T](function: Callable[..., T], **arguments: Any) -> T:
    """Run one blocking AWS call beside the event loop."""
    return await asyncio.to_thread(partial(function, **arguments))


async def items_of(read: Callable[..., Any], **asked: Any) -> AsyncIterator[dict[str, Any]]:
    """All items of a Query or Scan, page by page."""
    start: dict[str, Any] = {}
    while True:
        answer = await call(read, **asked, **start)
        for item in answer["Items"]:
            yield item
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def error_code(error: ClientError) -> str:
    """The service's name for what went wrong."""
    return error.response.get("Error", {}).get("Code", "")


def old_item(error: ClientError) -> dict[str, Any] | None:
    """The item that made a condition fail, where ReturnValuesOnConditionCheckFailure asked for it."""
    item: dict[str, Any] | None = error.response.get("Item")  # type: ignore[assignment]
    return item or None


CONDITION_FAILED: Literal["ConditionalCheckFailedException"] = "ConditionalCheckFailedException"
