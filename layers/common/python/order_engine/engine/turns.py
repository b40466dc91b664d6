"""Turns that are shared fairly: whoever has least under way is next, whatever others have waiting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """At most ``slots`` turns at once. One party's crowd delays another's by the turns under way, not by its queue."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._under_way = Counter[str]()
        # In the order in which the parties came to wait, which decides between equals.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, party: str) -> AsyncIterator[None]:
        """One turn of a party."""
        await self._take(party)
        try:
            yield
        finally:
            self._under_way[party] -= 1
            self._hand_on()

    async def _take(self, party: str) -> None:
        if self._free:
            self._free -= 1
            self._under_way[party] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Given and cancelled at the same moment.
                self._under_way[party] -= 1
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while self._waiting:
            party = min(self._waiting, key=self._under_way.__getitem__)
            # To the end of the line, if it has more.
            queue = self._waiting.pop(party)
            turn = queue.popleft()
            if queue:
                self._waiting[party] = queue
            if not turn.done():
                self._under_way[party] += 1
                turn.set_result(None)
                return
        self._free += 1
