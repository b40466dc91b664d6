"""One run of the sweeper: beats of two kinds, side by side, as long as any order is active or rests.

Sending stranded orders again and ending expired ones never waits for resting orders to be compared with the market:
each kind has a rhythm, a bound of time and a place of its own. They share a processor, and nothing that the triggers do
holds it for longer than one decision of the router.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from order_engine.engine.beats import survive
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, OrderStore
from order_engine.engine.sweep import Sweep
from order_engine.engine.triggers import Triggers


class _Shift:
    """What the two kinds of beats know of each other: whether there is anything to do, and whether all is done."""

    def __init__(self, deadline: int) -> None:
        self.deadline = deadline
        self.begun = asyncio.Event()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.begun.set()


@dataclass(frozen=True, slots=True)
class Rounds:
    """The use case."""

    orders: OrderStore
    sweep: Sweep
    triggers: Triggers
    clock: Clock
    observer: Observer

    async def run(self, deadline: int, *, sweep_every_ms: int, watch_every_ms: int, stay_until: int = 0) -> None:
        """Work in beats while any order is active or rests, until ``deadline`` (milliseconds since the epoch) at most.

        Args:
            sweep_every_ms, watch_every_ms: zero switches a beat's repetition off.
            stay_until: do not take a table in which nothing waits for idle before then: its index may lag behind.
        """
        shift = _Shift(deadline)
        await asyncio.gather(
            self._sweeping(shift, sweep_every_ms, stay_until), self._watching(shift, watch_every_ms, sweep_every_ms)
        )

    async def _sweeping(self, shift: _Shift, every_ms: int, stay_until: int) -> None:
        while True:
            now = self.clock.now_ms()
            wake = now + every_ms if every_ms else shift.deadline
            # An idle deployment pays for this look and nothing else. One that fails says nothing.
            if await survive(self.observer, Note.LOOK_FAILED, self.orders.any_waiting) is False:
                if now >= stay_until:
                    shift.end()
                    return
                wake = min(wake, stay_until)
            else:
                shift.begun.set()
                until = min(wake, shift.deadline)
                await survive(self.observer, Note.SWEEP_FAILED, partial(self.sweep.beat, until))
            if wake >= shift.deadline:
                shift.begun.set()
                return
            await self._rest_until(wake)

    async def _watching(self, shift: _Shift, every_ms: int, pairs_every_ms: int) -> None:
        await shift.begun.wait()
        look_at = self.clock.now_ms()
        while not shift.over:
            now = self.clock.now_ms()
            wake = now + every_ms if every_ms else shift.deadline
            if now >= look_at:
                look_at = now + pairs_every_ms
                await survive(self.observer, Note.WATCH_FAILED, self.triggers.find_pairs)
            await survive(self.observer, Note.WATCH_FAILED, partial(self.triggers.beat, min(wake, shift.deadline)))
            if wake >= shift.deadline:
                return
            await self._rest_until(wake)

    async def _rest_until(self, wake: int) -> None:
        """A beat that took longer than its time is followed at once."""
        await self.clock.sleep(max(1, wake - self.clock.now_ms()))
