"""Bring new events to the sockets that follow them, and count what has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Order, OrderRef
from order_engine.engine.execute import Observer
from order_engine.engine.ports import (
    Connection,
    ConnectionGone,
    ConnectionStore,
    OrderStore,
    Push,
    StatisticsStore,
    Tally,
)
from order_engine.engine.stats import stage

# A socket that does not take a frame in this time is closed: it may cost one batch this much, and no more.
_POST_MS = 1000
# So many frames go out at once; a frame's time begins when it is its turn.
_POSTS_AT_ONCE = 32
_FOLLOWED_ORDERS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """One record of the stream: the order after a write, and how many events it had before.

    Attributes:
        record: the record's sequence number, as the stream gives it.
    """

    record: str
    order: Order
    known_events: int

    @property
    def events(self) -> tuple[Event, ...]:
        return self.order.events[self.known_events :]


type EventFrame = Callable[[Order, Event], bytes]
type SnapshotFrames = Callable[[Order, int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class PushEvents:
    """The use case: one batch of the stream."""

    connections: ConnectionStore
    push: Push
    statistics: StatisticsStore
    frame: EventFrame
    observer: Observer

    async def __call__(self, changes: Sequence[Change]) -> list[str]:
        """Push and count a batch.

        Orders go side by side, one order's events one after the other. A socket that is gone is forgotten; one that
        does not take its frame is closed, so that it delays nobody again and its client resumes by sequence number.

        Returns:
            The records that must come again, as the stream names them.
        """
        by_user: dict[str, list[Change]] = {}
        for change in changes:
            if change.events:
                by_user.setdefault(change.order.ref.user_id, []).append(change)
        turns = asyncio.Semaphore(_POSTS_AT_ONCE)
        results = await asyncio.gather(*(self._user(user, mine, turns) for user, mine in by_user.items()))
        return [record for failed in results for record in failed]

    async def _user(self, user_id: str, changes: list[Change], turns: asyncio.Semaphore) -> list[str]:
        try:
            await _all(self._push_all(user_id, changes, turns), self._count(user_id, changes))
        except Exception as error:  # noqa: BLE001 - the stream delivers this user's records again
            self.observer.noted("", "push_failed", f"{type(error).__name__}: {error}")
            return [change.record for change in changes]
        return []

    async def _count(self, user_id: str, changes: list[Change]) -> None:
        tallies = [tally for change in changes if (tally := tally_of(change)) is not None]
        if tallies:
            await self.statistics.count(user_id, tallies)

    async def _push_all(self, user_id: str, changes: list[Change], turns: asyncio.Semaphore) -> None:
        sockets = await self.connections.of_user(user_id)
        if not sockets:
            return
        ordered = sorted(changes, key=lambda change: change.order.ref.order_id)
        await _all(
            *(
                self._push_order(socket, list(group), turns)
                for _, batch in groupby(ordered, key=lambda change: change.order.ref.order_id)
                for group in [list(batch)]
                for socket in sockets
                if socket.follows(group[0].order.ref.order_id)
            )
        )

    async def _push_order(self, socket: Connection, changes: list[Change], turns: asyncio.Semaphore) -> None:
        for change in changes:
            for event in change.events:
                async with turns:
                    taken = await self._post(socket, self.frame(change.order, event))
                if not taken:
                    return
        if socket.single and not socket.awaiting and changes[-1].order.status in lifecycle.TERMINAL:
            await self._quietly(self.push.close(socket.connection_id))

    async def _post(self, socket: Connection, frame: bytes) -> bool:
        """Whether the socket may have more."""
        try:
            async with asyncio.timeout(_POST_MS / 1000):
                await self.push.post(socket.connection_id, frame)
        except ConnectionGone:
            pass
        except Exception as error:  # noqa: BLE001 - one socket's trouble is its own
            self.observer.noted("", "socket_slow", type(error).__name__)
            # Left open, its client would not know that a frame is missing; perhaps the last one.
            await self._quietly(self.push.close(socket.connection_id))
        else:
            return True
        await self._quietly(self.connections.remove(socket.user_id, socket.connection_id))
        return False

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_POST_MS / 1000):
                await work
        except Exception as error:  # noqa: BLE001 - tidying up; the item's time to live does it otherwise
            self.observer.noted("", "tidy_failed", type(error).__name__)


async def _all(*works: Awaitable[None]) -> None:
    """Run side by side, each to its end, and raise the first error only then.

    What went on after the handler's return would be frozen with it, and send its frames in the middle of a later
    batch.
    """
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if outcome is not None:
            raise outcome


def tally_of(change: Change) -> Tally | None:
    """What a change adds to the statistics: something when the order has ended by it, or a limit order came or fired.

    Market orders are counted at their end only: they are on their way for seconds, and a write for each that begins
    would be one more for every order.
    """
    order = change.order
    if not change.events:
        return None
    staged = order.request.type == "limit" and change.known_events > 0
    before = order.events[change.known_events - 1].status if staged else None
    ended = order.status in lifecycle.TERMINAL
    if not ended and (order.request.type == "market" or stage(before) == stage(order.status)):
        return None
    routed = order.routed
    return Tally(
        order_id=order.ref.order_id,
        seq=order.seq,
        at=order.updated_at,
        status=order.status,
        venue=routed.decision.chosen.venue if routed and order.fill else None,
        latency_ms=order.updated_at - order.started_at,
        order_type=order.request.type,
        before=before,
    )


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The use case: a socket asks to follow one order, or all of its user's."""

    orders: OrderStore
    connections: ConnectionStore
    push: Push
    snapshot: SnapshotFrames

    async def one(self, connection: Connection, order_id: str, after: int) -> bool:
        """Follow an order and send its events after ``after``.

        The subscription is stored before the order is read, so that every event is in the snapshot or pushed.

        Returns:
            False if this user has no such order.
        """
        await self.connections.follow(connection.user_id, connection.connection_id, order_id)
        order = await self.orders.get(OrderRef(connection.user_id, order_id))
        if order is None:
            return False
        await self._send(connection, order, after)
        if connection.single:
            # Without it nothing is lost: the socket stays open after the last event, until its client closes it.
            with contextlib.suppress(Exception):
                await self._settle(connection, order)
        return True

    async def _settle(self, connection: Connection, sent: Order) -> None:
        """From here on the socket may be closed after the last event, which may have come in the meantime."""
        order: Order | None = sent
        if sent.status not in lifecycle.TERMINAL:
            await self.connections.answered(connection.user_id, connection.connection_id)
            order = await self.orders.get(sent.ref)
        if order is None or order.status not in lifecycle.TERMINAL:
            return
        if order.seq > sent.seq:
            await self._send(connection, order, sent.seq)
        await self.push.close(connection.connection_id)

    async def all(self, connection: Connection) -> None:
        """Follow all of the user's orders and send the newest as they are now."""
        await self.connections.follow(connection.user_id, connection.connection_id, None)
        page = await self.orders.page(connection.user_id, limit=_FOLLOWED_ORDERS, after=None, status=None)
        for order in reversed(page.orders):
            await self._send(connection, order, 0)

    async def _send(self, connection: Connection, order: Order, after: int) -> None:
        for frame in self.snapshot(order, after):
            await self.push.post(connection.connection_id, frame)
