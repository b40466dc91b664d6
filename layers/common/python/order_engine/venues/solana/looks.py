"""What became of transactions: asked for all that are under way together, and not more often than it can change."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from order_engine.engine.ports import Clock
from order_engine.venues.solana.node import MAX_STATUSES, Known, Node

_MOST_REMEMBERED = 1000


@dataclass(slots=True)
class _Round:
    """One look: at which signatures, and who looks."""

    wanted: set[str] = field(default_factory=set)
    task: asyncio.Task[Mapping[str, Known]] | None = None


@dataclass(slots=True)
class Looks:
    """Looks at the statuses of transactions, for all who ask in this process.

    Attributes:
        first_ms: a transaction that was sent just now is not looked for before: it cannot have been confirmed.
        every_ms: between two looks. A node that is asked more often answers the same.
    """

    node: Node
    clock: Clock
    first_ms: int = 1100
    every_ms: int = 400
    _sent: dict[str, int] = field(default_factory=dict)
    # The look that begins next, by event loop: a process may have several.
    _next: dict[asyncio.AbstractEventLoop, _Round] = field(default_factory=dict)
    _looked_at: float = -math.inf

    def sent(self, signature: str) -> bool:
        """Note that a transaction is given to the network. Returns whether it has been before, in this process."""
        before = signature in self._sent
        if not before and len(self._sent) >= _MOST_REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._sent.setdefault(signature, _now_ms())
        return before

    async def known(self, signature: str) -> Known:
        """What a node knows of a signature, without its history.

        Raises:
            NodeUnavailable, NodeRefused: no node answered.
        """
        sent_at = self._sent.get(signature)
        if sent_at is not None:
            await self.clock.sleep(max(0, sent_at + self.first_ms - _now_ms()))
        loop = asyncio.get_running_loop()
        turn = self._next.get(loop)
        if turn is None or turn.task is None or turn.task.done() or len(turn.wanted) >= MAX_STATUSES:
            turn = self._next[loop] = _Round()
            turn.task = asyncio.create_task(self._look(loop, turn))
            # Everybody may have stopped waiting: its error is then nobody's.
            turn.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        turn.wanted.add(signature)
        assert turn.task is not None
        # Whoever stops waiting does not stop it for the others.
        return (await asyncio.shield(turn.task))[signature]

    async def _look(self, loop: asyncio.AbstractEventLoop, turn: _Round) -> Mapping[str, Known]:
        try:
            await self.clock.sleep(round(max(0, self._looked_at + self.every_ms - _now_ms())))
        finally:
            # Whoever asks from here on asks for the next look.
            if self._next.get(loop) is turn:
                del self._next[loop]
        self._looked_at = _now_ms()
        return await self.node.statuses(sorted(turn.wanted), search_history=False)


def _now_ms() -> int:
    """Milliseconds by a clock that nobody sets: one that is set back would keep everybody waiting for as long."""
    return round(asyncio.get_running_loop().time() * 1000)
