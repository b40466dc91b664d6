"""Secrets that are rotated while they are in use: the key of stream tickets, and the one that CloudFront shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from order_engine.aws.clients import call, error_code

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_TTL_S = 300
# What strangers make up must not become calls: a rotation that they hide is seen after this time nevertheless.
_REREAD_S = 10


class RotatedSecret:
    """``RotatedKeys`` in Secrets Manager.

    Kept for five minutes, so that a request rarely waits for it; read again sooner where something does not fit what
    is kept, since it may have been made after a rotation.
    """

    def __init__(self, client: SecretsManagerClient, secret_arn: str) -> None:
        self._client = client
        self._arn = secret_arn
        self._kept: list[str] = []
        self._asked_at = 0.0

    async def accepted(self) -> Sequence[str]:
        return await self._no_older_than(_TTL_S)

    async def reread(self) -> Sequence[str]:
        return await self._no_older_than(_REREAD_S)

    async def _no_older_than(self, seconds: float) -> Sequence[str]:
        now = time.monotonic()
        if not self._kept or now - self._asked_at > seconds:
            # Before the answer, so that one that fails is not asked for by every ticket.
            self._asked_at = now
            self._kept = await self._read()
        return self._kept

    async def _read(self) -> list[str]:
        current = await self._version("AWSCURRENT")
        if current is None:
            raise LookupError("The secret has no current version.")
        former = await self._version("AWSPREVIOUS")
        return [current] if former is None else [current, former]

    async def _version(self, stage: str) -> str | None:
        try:
            answer = await call(self._client.get_secret_value, SecretId=self._arn, VersionStage=stage)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return answer["SecretString"]
