"""How a batch of a stream's records is delivered, halved, tried again and given up.

Behaviour: the Lambda developer guide, "Using Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.cloud.template import Json
from local.functions import InvocationError

if TYPE_CHECKING:
    pass

logger = logging.getLogger("local")

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a stream's mapping does about failures.

    Attributes:
        retries: after the first try; None for no limit.
        age_s: records older than this are given up; None for no limit.
        bisect: halve a batch whose invocation failed.
    """

    retries: int | None
    age_s: float | None
    bisect: bool


@dataclass(frozen=True, slots=True)
class Discarded:
    """Records that were given up, and why: ``RetryAttemptsExhausted`` or ``RecordAgeExceeded``."""

    records: Sequence[Json]
    condition: str
    invocations: int
    error: InvocationError | None


type Invoke = Callable[[Sequence[Json]], Awaitable[int]]


async def deliver(
    records: Sequence[Json],
    invoke: Invoke,
    policy: Policy,
    discard: Callable[[Discarded], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    now: Callable[[], float] = time.time,
) -> None:
    """Get every record of a batch delivered in order, or given up; then return.

    A part that fails is tried again before anything after it is tried. A batch whose invocation fails is halved
    where the policy says so, which does not count as a try; a failure reported at a record leaves what came before
    it done.

    Args:
        invoke: delivers records and returns how many from the start are done; raises InvocationError.
        discard: is told of records that are given up.
        sleep, now: seconds.
    """
    waiting = deque([(list(records), 0)])
    while waiting:
        part, tries = waiting.popleft()
        if policy.age_s is not None and (old := _too_old(part, now() - policy.age_s)):
            await discard(Discarded(part[:old], "RecordAgeExceeded", tries, None))
            if old < len(part):
                waiting.appendleft((part[old:], tries))
            continue
        error: InvocationError | None = None
        try:
            done = await invoke(part)
        except InvocationError as failure:
            error, done = failure, 0
        rest = part[done:]
        if not rest:
            continue
        if error is not None and policy.bisect and len(rest) > 1:
            middle = len(rest) // 2
            waiting.appendleft((rest[middle:], tries))
            waiting.appendleft((rest[:middle], tries))
        elif policy.retries is not None and tries >= policy.retries:
            await discard(Discarded(rest, "RetryAttemptsExhausted", tries + 1, error))
            continue
        else:
            waiting.appendleft((rest, tries + 1))
        await sleep(min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(tries, 10)))


def _too_old(records: Sequence[Json], limit: float) -> int:
    """How many records from the start were made before a time."""
    for position, record in enumerate(records):
        if record["dynamodb"]["ApproximateCreationDateTime"] >= limit:
            return position
    return len(records)
