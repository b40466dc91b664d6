"""Looking at the AWS account that is deployed into. What may not be looked at is left unknown."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from infra.config import Config
from infra.preflight import Facts

_CLIENT = ClientConfig(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
_ISSUER_S = 10.0


class Unreachable(Exception):
    """AWS cannot be asked who is asking: no credentials, no region, no network."""


class Look:
    """One account and region."""

    def __init__(self, region: str | None) -> None:
        self._session = boto3.Session(region_name=region)
        try:
            self.account: str = self.client("sts").get_caller_identity()["Account"]
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(str(error)) from error
        self.region: str = self._session.region_name or ""

    def client(self, service: str) -> Any:
        return self._session.client(service, config=_CLIENT)  # type: ignore[call-overload]

    def facts(self, config: Config) -> Facts:
        """Everything that a deployment of ``config`` wants to know first."""
        status, protected = _told(lambda: self.stack(config.stack_name)) or (None, False)
        limits = _told(lambda: self.client("lambda").get_account_settings()["AccountLimit"]) or {}
        found = Facts(self.account, self.region, stack_status=status)
        kept = (_told(lambda: list(self.kept_tables(config.stage))) if found.first else None) or []
        return Facts(
            account=self.account,
            region=self.region,
            concurrency=limits.get("ConcurrentExecutions"),
            unreserved=limits.get("UnreservedConcurrentExecutions"),
            reserved_here=_told(lambda: self._reserved(config.stack_name)) or 0 if status else 0,
            log_role=_told(self.log_role),
            stack_status=status,
            protected=protected,
            kept_tables=sorted(table for table, _ in kept),
            issuer_problem=issuer_problem(config.oidc_issuer) if config.oidc_issuer else "",
        )

    def stack(self, name: str) -> tuple[str, bool]:
        """A stack's status (empty for none), and whether it is protected."""
        try:
            [found] = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return "", False
            raise
        return str(found["StackStatus"]), bool(found.get("EnableTerminationProtection", False))

    def _reserved(self, stack: str) -> int:
        functions = self.client("lambda")
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        names = [
            item["PhysicalResourceId"]
            for page in pages
            for item in page["StackResourceSummaries"]
            if item["ResourceType"] == "AWS::Lambda::Function" and item.get("PhysicalResourceId")
        ]
        answers = (functions.get_function_concurrency(FunctionName=name) for name in names)
        return sum(answer.get("ReservedConcurrentExecutions", 0) for answer in answers)

    def log_role(self) -> str:
        """The role by which API Gateway writes logs; empty for none."""
        return str(self.client("apigateway").get_account().get("cloudwatchRoleArn") or "")

    def kept_tables(self, stage: str) -> Iterator[tuple[str, str]]:
        """Tables of a stage whose stack is gone: name, and what part of it they were.

        The tags are the app's own: a table keeps them without its stack.
        """
        tagging = self.client("resourcegroupstaggingapi")
        wanted = [{"Key": "application", "Values": ["order-engine"]}, {"Key": "stage", "Values": [stage]}]
        pages = tagging.get_paginator("get_resources").paginate(
            TagFilters=wanted, ResourceTypeFilters=["dynamodb:table"]
        )
        for page in pages:
            for found in page["ResourceTagMappingList"]:
                tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
                if "part" in tags:
                    yield found["ResourceARN"].rpartition("/")[2], tags["part"]


def issuer_problem(issuer: str) -> str:
    """Why an issuer's discovery document cannot be used; empty where it can.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
    """
    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    if urlsplit(address).scheme != "https":
        return f"{address} is not https."
    try:
        with urllib.request.urlopen(address, timeout=_ISSUER_S) as answer:  # noqa: S310 - https, just checked
            document = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"{address}: {error}"
    if not isinstance(document, dict) or document.get("issuer") != issuer or "jwks_uri" not in document:
        return f"{address} names another issuer, or no keys."
    return ""


def _told[T](look: Callable[[], T]) -> T | None:
    """What AWS says; None where it does not say."""
    try:
        return look()
    except (BotoCoreError, ClientError):
        return None
