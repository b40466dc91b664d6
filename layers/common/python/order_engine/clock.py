"""The real clock."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """``Clock`` of this machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)
