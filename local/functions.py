"""Invoking handlers: concurrency, timeouts, errors and the lines that Lambda logs around an invocation.

Where a handler runs is the business of a ``Host``: ``InProcess`` here, ``local.isolated`` in worker processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import queue
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from local.cloud.template import Function, Json
from local.threads import in_thread

logger = logging.getLogger("local")

# Of a function that reserves nothing. An account's default would be 1000, which a machine cannot bear: here callers
# wait for each other where AWS would run them at once.
UNRESERVED_CONCURRENCY = 10


# Of a synchronous invocation's event and of its answer.
MAX_PAYLOAD = 6 * 1024 * 1024


class InvocationError(Exception):
    """An invocation that failed. ``payload`` is what Lambda reports of it."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.payload: dict[str, Json] = {"errorType": kind, "errorMessage": message, "stackTrace": trace or []}

    @property
    def kind(self) -> str:
        return str(self.payload["errorType"])


class HandlerMissing(Exception):
    """A handler cannot be imported; says which and why."""


class Throttled(Exception):
    """The function's reserved concurrency is used up."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event for one function. ``deadline`` is in seconds of ``time.time()``."""

    function: Function
    event: Json
    request_id: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Context:
    """The context object of a handler."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    deadline: float
    function_version: str = "$LATEST"
    client_context: None = None
    identity: None = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.time()) * 1000))


def context_of(invocation: Invocation) -> Context:
    function = invocation.function
    return Context(
        function_name=function.name,
        invoked_function_arn=function.arn,
        memory_limit_in_mb=function.memory_mb,
        aws_request_id=invocation.request_id,
        log_group_name=f"/aws/lambda/{function.name}",
        log_stream_name="local",
        deadline=invocation.deadline,
    )


def handler_of(dotted: str) -> Callable[[Json, Context], Json]:
    """Import a handler by its dotted name. Whatever the module raises, this raises."""
    module, _, name = dotted.rpartition(".")
    handler: Callable[[Json, Context], Json] = getattr(importlib.import_module(module.replace("/", ".")), name)
    return handler


def run_handler(handler: Callable[[Json, Context], Json], event: Json, context: Context) -> Json:
    """Call a handler as Lambda's runtime does: what it returns must be JSON.

    Raises:
        InvocationError: the handler raised, or its result is not JSON.
    """
    try:
        result = handler(event, context)
    except BaseException as error:
        trace = traceback.format_exception(error)
        raise InvocationError(type(error).__name__, str(error), trace) from error
    try:
        return json.loads(json.dumps(result))
    except (TypeError, ValueError) as error:
        raise InvocationError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


class Host(Protocol):
    """Where handlers run."""

    async def start(self) -> None:
        """Get ready; raises whatever keeps handlers from running."""

    async def run(self, invocation: Invocation) -> Json:
        """Run one invocation to its end.

        Raises:
            InvocationError: it failed.
            TimeoutError: it was not done by its deadline.
        """

    async def stop(self) -> None: ...


class _Environment:
    """A thread that runs one invocation at a time, as an execution environment does. It is used again, since
    handlers may keep an event loop or connections per thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="environment").start()

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def end(self) -> None:
        """Let the thread end after what it works on."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class InProcess:
    """Handlers in threads of this process. A handler that exceeds its timeout cannot be killed: it is ignored, and
    its thread is used again once it has returned."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._handlers: dict[str, Callable[[Json, Context], Json]] = {}
        self._idle: dict[str, list[_Environment]] = {name: [] for name in functions}

    async def start(self) -> None:
        await in_thread(self._import_all)

    def _import_all(self) -> None:
        for function in self._functions.values():
            try:
                self._handlers[function.name] = _within(handler_of(function.handler), function.environment)
            except Exception as error:
                logger.exception("cannot import %s", function.handler)
                raise HandlerMissing(f"{function.handler} cannot be imported: {error!r}.") from error

    async def run(self, invocation: Invocation) -> Json:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Json] = loop.create_future()
        idle = self._idle[invocation.function.name]
        environment = idle.pop() if idle else _Environment()

        def settle(result: Json, error: Exception | None) -> None:
            idle.append(environment)
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def job() -> None:
            result, error = None, None
            try:
                handler = self._handlers[invocation.function.name]
                result = run_handler(handler, invocation.event, context_of(invocation))
            except InvocationError as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        environment.submit(job)
        async with asyncio.timeout(invocation.deadline - time.time()):
            return await future

    async def stop(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().end()


def _within(handler: Callable[[Json, Context], Json], own: Mapping[str, str]) -> Callable[[Json, Context], Json]:
    """The handler as the function's own environment makes it, where it can be made for one."""
    made: Callable[[Mapping[str, str]], Callable[[Json, Context], Json]] | None = getattr(handler, "within", None)
    return handler if made is None else made({**os.environ, **own})


class Functions:
    """The functions by name, and how many of each may run at once."""

    def __init__(self, functions: Mapping[str, Function], host: Host) -> None:
        self._functions = functions
        self._host = host
        self._slots = {
            name: asyncio.BoundedSemaphore(max(0, function.reserved or 0) or UNRESERVED_CONCURRENCY)
            for name, function in functions.items()
        }
        self._running: set[asyncio.Task[Json]] = set()

    def __getitem__(self, name: str) -> Function:
        return self._functions[name]

    async def start(self) -> None:
        await self._host.start()

    async def stop(self) -> None:
        """Abandon what runs."""
        for task in self._running:
            task.cancel()
        await self._host.stop()

    async def invoke(self, name: str, event: Json, *, wait: bool = True) -> Json:
        """Invoke a function with an event and return what it returned.

        Args:
            wait: wait for a free slot (as a poller does), or be throttled (as a synchronous caller is).

        Raises:
            InvocationError: it raised, was killed, or was not done within its timeout.
            Throttled: all its reserved concurrency is in use, or it has none.
        """
        function, slots = self._functions[name], self._slots[name]
        if function.reserved == 0 or (function.reserved is not None and slots.locked() and not wait):
            raise Throttled(name)
        await slots.acquire()
        task = asyncio.create_task(self._run(function, event))
        self._running.add(task)

        def ended(task: asyncio.Task[Json]) -> None:
            self._running.discard(task)
            slots.release()
            if not task.cancelled():
                task.exception()  # the caller may be gone; what went wrong is in the log

        task.add_done_callback(ended)
        # A caller that no longer waits does not end the function.
        return await asyncio.shield(task)

    async def _run(self, function: Function, event: Json) -> Json:
        request_id = str(uuid.uuid4())
        started = time.time()
        # An event that is not JSON would never reach a function; a handler must not share it with its caller.
        text = json.dumps(event)
        invocation = Invocation(function, json.loads(text), request_id, started + function.timeout_s)
        logger.info("START %s RequestId: %s", function.name, request_id)
        try:
            _within_limit(text, "RequestEntityTooLarge")
            result = await self._host.run(invocation)
            _within_limit(json.dumps(result), "Function.ResponseSizeTooLarge")
            return result
        except TimeoutError:
            error = InvocationError("Sandbox.Timedout", f"Task timed out after {function.timeout_s:.2f} seconds")
            logger.error("%s %s RequestId: %s", function.name, error, request_id)
            raise error from None
        except InvocationError as error:
            trace = "".join(error.payload["stackTrace"])
            logger.error("%s failed: %s: %s RequestId: %s\n%s", function.name, error.kind, error, request_id, trace)
            raise
        finally:
            logger.info(
                "END %s RequestId: %s Duration: %.0f ms", function.name, request_id, 1000 * (time.time() - started)
            )


def _within_limit(text: str, otherwise: str) -> None:
    """Refuse what Lambda would refuse of an event or an answer.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    if len(text) > MAX_PAYLOAD:
        raise InvocationError(otherwise, f"{len(text)} bytes; Lambda takes {MAX_PAYLOAD} of a synchronous invocation.")
