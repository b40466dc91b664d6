"""Blocking work beside the event loop.

Every call gets a daemon thread of its own. A pool of the standard library would be joined at the interpreter's
exit, so that a handler that still sleeps would hold up Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable


async def in_thread[**P, T](function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function and return what it returns, or raise what it raises.

    Cancelling the caller does not stop the thread: its result is ignored.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(apply: Callable[[], None]) -> None:
        if not future.done():
            apply()

    def run() -> None:
        try:
            result = context.run(function, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            # StopIteration cannot be set on a future.
            failure = error if not isinstance(error, StopIteration) else RuntimeError("StopIteration")
            apply = lambda: future.set_exception(failure)  # noqa: E731
        else:
            apply = lambda: future.set_result(result)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, apply)

    threading.Thread(target=run, daemon=True, name=getattr(function, "__name__", "call")).start()
    return await future
