"""Clocks that a test holds in its hands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.support.orders import T0


@dataclass(slots=True)
class StandingClock:
    """``Clock`` at one moment, until a test moves it. Asleep it only goes on.

    Attributes:
        short_by: milliseconds by which a sleep ends too early.
        slept: what was asked for, in milliseconds.
    """

    now: int = 1_800_000_000_000
    short_by: int = 0
    slept: list[int] = field(default_factory=list)

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, ms: int) -> None:
        self.slept.append(ms)
        self.now += ms - self.short_by


@dataclass(slots=True)
class TickingClock:
    """``Clock`` that goes on by a millisecond whenever somebody looks. Nobody sleeps."""

    now: int = T0 - 1

    def now_ms(self) -> int:
        self.now += 1
        return self.now

    async def sleep(self, ms: int) -> None:
        raise AssertionError("Nobody waits here.")


@dataclass(slots=True)
class LoopClock:
    """``Clock`` in the time of an event loop: of the one that is given, else of the running one."""

    loop: asyncio.AbstractEventLoop | None = None
    began_at: int = T0

    def now_ms(self) -> int:
        loop = self.loop or asyncio.get_running_loop()
        return self.began_at + round(loop.time() * 1000)

    async def sleep(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)
