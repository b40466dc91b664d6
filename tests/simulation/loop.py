"""An asyncio event loop in which waiting costs nothing: when nobody can run, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import asyncio.events
from collections.abc import Coroutine
from typing import Any


class Deadlock(Exception):
    """Every task waits for something that no timer will bring."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Timers in virtual time, no files and no threads. The order of callbacks is asyncio's own, hence repeatable."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._clock_resolution = 1e-9
        self._selector = self

    def time(self) -> float:
        return self._virtual

    def select(self, timeout: float | None) -> list[object]:
        """Called by asyncio where it would wait for input: time passes instead."""
        if timeout is None:
            raise Deadlock("Nothing is left to happen.")
        if timeout > 0:
            self._virtual = self._scheduled[0].when()
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There is no input."""

    def _write_to_self(self) -> None:
        """There are no other threads to wake the loop for."""


def run[T](loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end of ``main``, then drop whatever still waits."""
    former = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            left = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            loop.close()
            asyncio.events._set_running_loop(former)
