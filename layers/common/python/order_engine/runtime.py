"""What every Lambda handler shares: one event loop per environment, logging and metrics per invocation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from order_engine import observability

_local = threading.local()
# AWS calls that may run beside each other. The default, a few per processor, would let slow ones hold up the rest.
_THREADS = 64
# A worker stops beginning new work this long before Lambda would stop it.
MARGIN_MS = 1000


class Context(Protocol):
    """The part of Lambda's context object that the handlers use."""

    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int: ...


def event_loop() -> asyncio.AbstractEventLoop:
    """This thread's loop. It outlives invocations, because connections are kept open between them."""
    loop: asyncio.AbstractEventLoop | None = getattr(_local, "loop", None)
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="aws"))
        _local.loop = loop
    # Each time: whoever else runs a loop in this thread leaves none behind.
    asyncio.set_event_loop(loop)
    return loop


def entry[E, R](handle: Callable[[E, Context], Coroutine[Any, Any, R]]) -> Callable[[E, Context], R]:
    """Make a Lambda handler of a coroutine function."""

    def lambda_handler(event: E, context: Context) -> R:
        with observability.invocation(context.function_name, context.aws_request_id):
            return event_loop().run_until_complete(handle(event, context))

    return lambda_handler


async def gather[T](works: list[Awaitable[T]]) -> list[T | BaseException]:
    """All results, each error in the place of its result."""
    return await asyncio.gather(*works, return_exceptions=True)
