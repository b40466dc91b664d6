"""What an operator does beside the API: keys and dead letters, straight on the deployment's AWS resources."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

LOCAL_CREDENTIALS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})


class NotNamed(Exception):
    """It was not said which deployment is meant."""


class NotFound(Exception):
    """What is to be worked on cannot be found. Says where it was looked for."""


@dataclass(frozen=True)
class Place:
    """Where a deployment's resources are.

    Attributes:
        stage: of the stack ``order-engine-<stage>``, whose outputs name the resources.
        endpoint: the simulated services of a local stack, instead of AWS.
        region: of the stage; the profile's if None.
    """

    stage: str | None
    endpoint: str | None
    region: str | None = None

    def client(self, service: str, endpoint: str | None = None) -> Any:
        """A boto3 client; for a local stack with credentials that mean nothing."""
        where: dict[str, Any] = {"region_name": self.region, "endpoint_url": endpoint}
        if self.endpoint is not None:
            where = {"endpoint_url": endpoint or self.endpoint, **LOCAL_CREDENTIALS}
        return boto3.session.Session().client(service, config=_CONFIG, **where)  # type: ignore[call-overload]

    @property
    def _stack(self) -> str:
        return f"order-engine-{self.stage}"

    # A command asks for several of the stack's outputs and resources, which stay as they are meanwhile.
    @cached_property
    def _outputs(self) -> Mapping[str, str]:
        try:
            found = self.client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                raise NotFound(f"There is no stack {self._stack} in this account and region.") from error
            raise
        return {str(item["OutputKey"]): str(item["OutputValue"]) for item in found[0].get("Outputs", [])}

    @cached_property
    def _resources(self) -> Sequence[tuple[str, str]]:
        """Type and name of each."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self._stack)
        listed = (item for page in pages for item in page["StackResourceSummaries"])
        return [(item["ResourceType"], str(item["PhysicalResourceId"])) for item in listed]

    def output(self, name: str) -> str:
        """An output of the stage's stack.

        Raises:
            NotNamed: no stage was given.
            NotFound: there is no such stack, or it has no such output.
        """
        if self.stage is None:
            raise NotNamed("Say which deployment: --stage NAME, or --aws-endpoint URL of a local stack.")
        if name not in self._outputs:
            raise NotFound(f"The stack {self._stack} has no output {name}: deploy it anew.")
        return self._outputs[name]

    def resources(self, kind: str) -> list[str]:
        """The names of the stage's resources of a CloudFormation type.

        Raises:
            NotFound: no stage is meant, or there is no such stack.
        """
        if self.stage is None:
            raise NotFound("Only a deployed stage has a stack of resources.")
        return [name for known, name in self._resources if known == kind]

    @property
    def local(self) -> bool:
        return self.endpoint is not None and self.stage is None

    def table(self, name: str) -> str:
        """A table by what the construct calls it (``Keys``): the stage's, or the local stack's."""
        if not self.local:
            return self.output(f"{name}Table")
        names = self.client("dynamodb").list_tables()["TableNames"]
        found = [known for known in names if name.lower() in known.lower()]
        if len(found) != 1:
            raise NotFound(f"There is no table of {name.lower()} at {self.endpoint}.")
        return str(found[0])

    def close_sockets(self, connection_ids: Sequence[str]) -> int:
        """Close sockets of the stage as far as these credentials may; how many are closed.

        The sweeper of a stage, and of a local stack, closes within a minute what is not closed here.
        """
        if self.local or not connection_ids:
            return 0
        address = self.output("WebSocketUrl").replace("ws", "http", 1)
        client, closed = self.client("apigatewaymanagementapi", address), 0
        for connection_id in connection_ids:
            try:
                client.delete_connection(ConnectionId=connection_id)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("GoneException", "410"):
                    break
            closed += 1
        return closed

    def operator(self) -> str:
        """Who works here, for the record: as AWS names the credentials' owner, or this machine's user."""
        if self.local:
            return f"local:{getpass.getuser()}"
        return str(self.client("sts").get_caller_identity()["Arn"])

    def queue(self, name: str) -> str:
        """A queue's address by what the construct calls it (``DeadLetters``): the stage's, or the local stack's."""
        if not self.local:
            return self.output(f"{name}Queue")
        urls = self.client("sqs").list_queues().get("QueueUrls", [])
        found = [url for url in urls if name.lower() in url.rsplit("/", 1)[-1].lower()]
        if len(found) != 1:
            raise NotFound(f"There is no queue of {name.lower()} at {self.endpoint}.")
        return str(found[0])


def explain(error: BotoCoreError | ClientError) -> str:
    """A sentence about what AWS said, and where it helps what to do."""
    match error:
        case ClientError():
            return f"AWS refused: {error.response.get('Error', {}).get('Message') or error}"
        case NoRegionError():
            return "It is not said in which AWS region: --region NAME, AWS_REGION, or a profile that has one."
        case NoCredentialsError():
            return "There are no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and its secret, or log in."
        case ProfileNotFound() | PartialCredentialsError() | TokenRetrievalError() | SSOError():
            return f"The AWS credentials cannot be used: {error}"
    return f"AWS cannot be reached: {error}"
