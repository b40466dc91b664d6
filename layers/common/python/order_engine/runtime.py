"""What every Lambda handler shares: an engine, one event loop per environment, logging and metrics per invocation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from order_engine import observability
from order_engine.compose import Engine, deployed, starting

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


class _Rehearsal:
    """The context of an invocation that is none."""

    aws_request_id = function_name = "rehearsal"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


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


class Handler[E, R]:
    """A Lambda handler: what serves an event, over an engine.

    Args:
        serve: makes the function that serves an engine's events.
    """

    def __init__(self, serve: Callable[[Engine], Callable[[E, Context], R]], engine: Engine) -> None:
        self._make = serve
        self._serve = serve(engine)
        self.engine = engine

    def __call__(self, event: E, context: Context) -> R:
        event_loop()
        with observability.invocation(self.engine.settings.stage, context.function_name, context.aws_request_id):
            return self._serve(event, context)

    def rehearse(self, *events: E) -> None:
        """Where Lambda starts a function: serve these, so that what is made at first requests is there.

        They must be such as nobody but this process hears of.
        """
        if starting():
            event_loop()
            for event in events:
                self._serve(event, _Rehearsal())

    def over(self, engine: Engine) -> Handler[E, R]:
        """The same handler over another engine."""
        return Handler(self._make, engine)

    def within(self, environment: Mapping[str, str]) -> Handler[E, R]:
        """The same handler over the engine that an environment describes."""
        return self.over(deployed(environment))


def entry[E, R](handle: Callable[[Engine, E, Context], Coroutine[Any, Any, R]], engine: Engine) -> Handler[E, R]:
    """Make a Lambda handler of a coroutine function."""

    def serve(engine: Engine) -> Callable[[E, Context], R]:
        return lambda event, context: event_loop().run_until_complete(handle(engine, event, context))

    return Handler(serve, engine)


async def gather[T](works: list[Awaitable[T]]) -> list[T | BaseException]:
    """All results, each error in the place of its result."""
    return await asyncio.gather(*works, return_exceptions=True)
