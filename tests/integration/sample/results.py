"""Reading what the sample functions noted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from local.stack import Stack


class Results:
    """The notes of a stack's functions, in the order in which they were read."""

    def __init__(self, stack: Stack) -> None:
        self._client = stack.client("sqs")
        self._url = self._client.get_queue_url(QueueName="Results")["QueueUrl"]
        self.notes: list[dict[str, Any]] = []

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool], *, seconds: float = 30) -> list[Any]:
        """All notes so far, once there are enough; fails if that takes too long."""
        deadline = time.monotonic() + seconds
        while not enough(self.notes):
            assert time.monotonic() < deadline, f"waited in vain, noted so far: {self.notes}"
            await self._read(wait_s=1)
        return self.notes

    async def of(self, key: str, count: int, *, seconds: float = 30) -> list[dict[str, Any]]:
        """The first ``count`` notes that have a key."""
        notes = await self.until(lambda found: sum(key in note for note in found) >= count, seconds=seconds)
        return [note for note in notes if key in note][:count]

    async def after(self, seconds: float) -> list[dict[str, Any]]:
        """All notes once some time has passed."""
        await asyncio.sleep(seconds)
        await self._read(wait_s=0)
        return self.notes

    async def _read(self, *, wait_s: int) -> None:
        answer = await asyncio.to_thread(
            self._client.receive_message, QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s
        )
        for message in answer.get("Messages", []):
            self.notes.append(json.loads(message["Body"]))
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
