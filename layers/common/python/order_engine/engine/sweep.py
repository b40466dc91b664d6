"""What time does to orders: stranded ones are sent again, old ones expire. ``triggers`` fires the resting ones.

Each beat has a bound of time and of reads, and goes on in the next one where it stopped: what cannot be moved, however
much of it there is, is passed by and does not stand in the way of what is behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import batched

from order_engine.domain import lifecycle
from order_engine.domain.failures import WAITED_TOO_LONG
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.beats import readable, survive
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, Conflict, OrderQueue, OrderStore
from order_engine.engine.retry import PATIENCE_MS, has_waited_too_long

# An order that made no step for this long has probably lost its message.
STRANDED_MS = 25_000
# A worker's lease ran out this long ago: its message may still come, but not soon.
LEASE_GRACE_MS = 1_000
# From one resend to the next, doubling from the first to the last.
_BACKOFF_MS = (60_000, 900_000)
# Where the queue holds a message for every active order, none is lost, probably: the workers are busy, or stopped.
# Another message would make the queue longer and nothing quicker.
CROWDED_MS = 300_000
_CROWDED_BACKOFF_MS = (CROWDED_MS, 6 * 3_600_000)
# One beat reads so many orders at most: 1000 of each of the index's partitions.
_PAGE, _PAGES = 250, 4
# How many are sent before they are marked: what fails on the way is sent again by the next beat.
_SEND = 100
# So many are written side by side.
_WRITES = 50
# Reading may take this share of a beat, so that what was found can be sent within it.
_LOOKING = 0.6


@dataclass(frozen=True, slots=True)
class Stranded:
    """Whether an order needs another message, and why."""

    resend: bool
    reason: str


def stranded(order: Order, now: int, *, crowded: bool = False) -> Stranded:
    """Decide whether an active order has lost its way to a worker. Pure.

    Args:
        crowded: the queue holds at least as many messages as there are active orders.
    """
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        return Stranded(False, f"{order.status} needs no worker")
    if order.resent_at is not None:
        first, most = _CROWDED_BACKOFF_MS if crowded else _BACKOFF_MS
        if now < order.resent_at + min(most, first << min(32, max(0, order.resends - 1))):
            return Stranded(False, "sent again a short while ago")
    if order.lease is not None:
        if now < order.lease.until + LEASE_GRACE_MS:
            return Stranded(False, "held by a worker")
        return Stranded(True, "its worker's lease ran out")
    since = max(order.updated_at, order.retry_at or 0)
    if now < since + (CROWDED_MS if crowded else STRANDED_MS):
        return Stranded(False, "a message is on its way")
    return Stranded(True, "no worker has taken it")


@dataclass(slots=True)
class Sweep:
    """The use case: a beat sends stranded orders again and ends expired ones."""

    orders: OrderStore
    queue: OrderQueue
    clock: Clock
    observer: Observer
    patience_ms: int = PATIENCE_MS
    # Where the next beat goes on. Only a hint: a new process begins at the beginning.
    _active: str | None = field(default=None, init=False)
    _expiring: str | None = field(default=None, init=False)

    async def beat(self, until: int) -> int:
        """Work until a time (milliseconds since the epoch) at most. Returns how many orders were sent again."""
        sent, _ = await asyncio.gather(
            survive(self.observer, Note.RESEND_FAILED, partial(self._resend, until)),
            survive(self.observer, Note.EXPIRE_FAILED, partial(self._expire, until)),
        )
        return sent or 0

    # --- stranded orders -----------------------------------------------------------------------------------------

    async def _resend(self, until: int) -> int:
        now = self.clock.now_ms()
        began_at = self._active
        lost: list[Order] = []
        seen = 0
        for _ in range(_PAGES):
            listing = await self.orders.active(created_before=now - LEASE_GRACE_MS, after=self._active, limit=_PAGE)
            self._active = listing.after
            found = await self._read(listing.entries)
            seen += len(found)
            overdue = [order for order in found if self._is_overdue(order, now)]
            await self._give_up(overdue, until)
            lost += [order for order in found if stranded(order, now).resend and order not in overdue]
            if listing.after is None or self.clock.now_ms() >= now + (until - now) * _LOOKING:
                break
        if lost:
            lost = await self._unless_crowded(lost, seen, now)
        sent = await self._send(lost, until)
        if sent < len(lost):
            # The same again: what was sent is marked, and the rest must not wait for a whole round.
            self._active = began_at
        return sent

    def _is_overdue(self, order: Order, now: int) -> bool:
        free = order.lease is None or now >= order.lease.until + LEASE_GRACE_MS
        unfinished = order.status not in lifecycle.TERMINAL and order.status is not Status.OPEN
        return free and unfinished and has_waited_too_long(order, self.patience_ms, now)

    async def _give_up(self, overdue: Sequence[Order], until: int) -> None:
        """Also while no worker runs at all: who waits for an answer gets one."""
        for batch in batched(overdue, _WRITES, strict=False):
            now = self.clock.now_ms()
            if now >= until:
                return
            ended = ((order, lifecycle.fail(order, WAITED_TOO_LONG, now)) for order in batch)
            works = (
                survive(self.observer, Note.EXPIRE_FAILED, partial(self._change, old, new), old.ref.order_id)
                for old, new in ended
            )
            await asyncio.gather(*works)

    async def _unless_crowded(self, lost: Sequence[Order], active: int, now: int) -> list[Order]:
        """Those that another message would help.

        At first only messages that wait count: one that was received may have died with its worker, and would come back
        too late. For an order that was sent again already, all count: they are hidden while Lambda is throttled.
        """
        waiting, held = await survive(self.observer, Note.LOOK_FAILED, self.queue.held) or (0, 0)
        return [
            order
            for order in lost
            if stranded(order, now, crowded=(held if order.resends else waiting) >= active).resend
        ]

    async def _send(self, lost: Sequence[Order], until: int) -> int:
        sent = 0
        for batch in batched(lost, _SEND, strict=False):
            now = self.clock.now_ms()
            if now >= until:
                break
            await self.queue.send([order.ref for order in batch])
            sent += len(batch)
            await asyncio.gather(*(self._mark(order, now) for order in batch))
        return sent

    async def _mark(self, order: Order, now: int) -> None:
        self.observer.noted(order.ref.order_id, Note.RESENT, stranded(order, now).reason)

        async def mark() -> None:
            # If it moved after all, the extra message will find that out and end.
            with contextlib.suppress(Conflict):
                await self.orders.mark_resent(order, now)

        await survive(self.observer, Note.MARK_FAILED, mark, order.ref.order_id)

    # --- time limits ---------------------------------------------------------------------------------------------

    async def _expire(self, until: int) -> None:
        for _ in range(_PAGES):
            now = self.clock.now_ms()
            listing = await self.orders.expiring(now=now, after=self._expiring, limit=_PAGE)
            expired = [order for order in await self._read(listing.entries) if _has_expired(order, now)]
            for batch in batched(expired, _WRITES, strict=False):
                if self.clock.now_ms() >= until:
                    return
                await asyncio.gather(*(self._end(order) for order in batch))
            self._expiring = listing.after
            if listing.after is None:
                return

    async def _end(self, order: Order) -> None:
        expired = lifecycle.expire(order, self.clock.now_ms())
        await survive(self.observer, Note.EXPIRE_FAILED, partial(self._change, order, expired), order.ref.order_id)

    async def _change(self, old: Order, new: Order) -> None:
        try:
            await self.orders.replace(old, new)
        except Conflict:
            return
        self.observer.changed(new)

    async def _read(self, refs: Sequence[OrderRef]) -> list[Order]:
        """The orders; those that cannot be read are told of and left out."""
        if not refs:
            return []
        return readable(self.observer, await self.orders.get_many(refs))


def _has_expired(order: Order, now: int) -> bool:
    expires_at = order.request.expires_at
    return Status.EXPIRED in lifecycle.TRANSITIONS[order.status] and expires_at is not None and expires_at <= now
