"""A clock that stands until it is moved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StandingClock:
    """``Clock`` at one moment. Asleep it only moves on."""

    now: int = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, ms: int) -> None:
        self.now += ms
