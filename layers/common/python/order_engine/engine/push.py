"""Bring new events to the sockets that follow them, and count what has ended.

What a socket is sent of an order has no gap, whatever happened before: an event goes alone only where everything before
it is known to have been sent to that socket, and else in a snapshot with all of that. So the simplest client is right,
which keeps the last number that it saw and drops what is not above it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Order, Status
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, Connection, ConnectionGone, ConnectionStore, GatewayUnreachable, Push
from order_engine.engine.stats import StatisticsStore, Tally, stage
from order_engine.engine.turns import FairTurns

# A socket that does not take a frame in this time is closed: it may cost one batch this much, and no more.
_POST_MS = 1000
# Tidying up waits for nobody's reading; a connection may have to be opened for it.
_TIDY_MS = 4000
# So many frames go out at once; a frame's time begins when it is its turn.
_POSTS_AT_ONCE = 32
# A user for whom one batch would bring more frames than this gets one for each order, and of what moves on anyway none.
_CROWD = 200
_REMEMBERED = 50_000


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

    @property
    def order_id(self) -> str:
        return self.order.ref.order_id


type EventFrame = Callable[[Order, Event], bytes]
type SnapshotFrames = Callable[[Order, int], Sequence[bytes]]


class Sent:
    """Up to which event this process has sent each socket each order. What is forgotten is sent again, no more."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._upto: OrderedDict[tuple[str, str], int] = OrderedDict()

    def upto(self, connection_id: str, order_id: str) -> int:
        return self._upto.get((connection_id, order_id), 0)

    def note(self, connection_id: str, order_id: str, seq: int) -> None:
        # A record may come again.
        self._upto[connection_id, order_id] = max(seq, self.upto(connection_id, order_id))
        self._upto.move_to_end((connection_id, order_id))
        while len(self._upto) > self._most:
            self._upto.popitem(last=False)

    def forget(self, connection_id: str, order_id: str) -> None:
        self._upto.pop((connection_id, order_id), None)


@dataclass(frozen=True, slots=True)
class PushEvents:
    """The use case: one batch of the stream."""

    connections: ConnectionStore
    push: Push
    statistics: StatisticsStore
    frame: EventFrame
    snapshot: SnapshotFrames
    clock: Clock
    observer: Observer
    sent: Sent = field(default_factory=Sent)

    async def __call__(self, changes: Sequence[Change]) -> list[str]:
        """Push and count a batch.

        Orders go side by side, one order's events one after the other, and users take fair turns. A socket that is
        gone is forgotten; one that does not take its frame is closed, so that it delays nobody again and its client
        resumes by sequence number.

        Returns:
            The records that must come again, as the stream names them.
        """
        by_user: dict[str, list[Change]] = {}
        for change in changes:
            if change.events:
                by_user.setdefault(change.order.ref.user_id, []).append(change)
        turns = FairTurns(_POSTS_AT_ONCE)
        results = await asyncio.gather(*(self._user(user, mine, turns) for user, mine in by_user.items()))
        return [record for failed in results for record in failed]

    async def _user(self, user_id: str, changes: list[Change], turns: FairTurns) -> list[str]:
        try:
            await _all(self._push_all(user_id, changes, turns), self._count(user_id, changes))
        except Exception as error:  # noqa: BLE001 - the stream delivers this user's records again
            self.observer.noted("", Note.PUSH_FAILED, f"{type(error).__name__}: {error}")
            return [change.record for change in changes]
        return []

    async def _count(self, user_id: str, changes: list[Change]) -> None:
        tallies = [tally for change in changes if (tally := tally_of(change)) is not None]
        if tallies:
            await self.statistics.count(user_id, tallies)

    async def _push_all(self, user_id: str, changes: list[Change], turns: FairTurns) -> None:
        now = self.clock.now_ms()
        # Whose credential has ended is sent nothing more; it is closed by who looks for such.
        sockets = [_Socket(known) for known in await self.connections.of_user(user_id) if not known.ended(now)]
        ordered = sorted(changes, key=lambda change: change.order_id)
        orders = [list(group) for _, group in groupby(ordered, key=lambda change: change.order_id)]
        pairs = [(socket, mine) for mine in orders for socket in sockets if socket.known.follows(mine[0].order_id)]
        if sum(len(mine) for _, mine in pairs) > _CROWD:
            pairs = [(socket, fewer) for socket, mine in pairs if (fewer := _last_steps(mine))]
        await _all(*(self._push_order(socket, mine, turns) for socket, mine in pairs))
        await _all(*(self._forget(socket) for socket in sockets))

    async def _push_order(self, socket: _Socket, changes: list[Change], turns: FairTurns) -> None:
        known, order_id = socket.known, changes[0].order_id
        for change in changes:
            for frame in self._frames(known, change):
                async with turns.of(known.user_id):
                    # Another order's frame may have failed meanwhile.
                    if socket.lost or not await self._post(known, frame):
                        socket.lost = True
                        return
            self.sent.note(known.connection_id, order_id, change.order.seq)
        if changes[-1].order.status in lifecycle.TERMINAL:
            self.sent.forget(known.connection_id, order_id)
            socket.over.append(order_id)

    def _frames(self, known: Connection, change: Change) -> Sequence[bytes]:
        """What brings a socket up to date, without a gap after what it has."""
        has = max(known.orders.get(change.order_id, 0), self.sent.upto(known.connection_id, change.order_id))
        if has >= change.order.seq:
            return []
        if has >= change.known_events:
            return [self.frame(change.order, event) for event in change.events]
        return self.snapshot(change.order, has)

    async def _forget(self, socket: _Socket) -> None:
        """What has ended needs no following, and a socket of one order that has ended no more time."""
        known = socket.known
        if socket.lost or not socket.over:
            return
        if known.only is not None:
            await self._quietly(self.push.close(known.connection_id))
        elif over := [order_id for order_id in socket.over if order_id in known.orders]:
            await self._quietly(self.connections.unfollow(known.user_id, known.connection_id, over))

    async def _post(self, known: Connection, frame: bytes) -> bool:
        """Whether the socket may have more."""
        try:
            await self.push.post(known.connection_id, frame, within_ms=_POST_MS)
        except ConnectionGone:
            pass
        except GatewayUnreachable:
            # No socket's fault. Its record comes again, and brings what has not been sent.
            raise
        except Exception as error:  # noqa: BLE001 - one socket's trouble is its own
            self.observer.noted("", Note.SOCKET_SLOW, type(error).__name__)
            # Left open, its client would not know that a frame is missing; perhaps the last one.
            await self._quietly(self.push.close(known.connection_id))
        else:
            return True
        await self._quietly(self.connections.remove(known.user_id, known.connection_id))
        return False

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_TIDY_MS / 1000):
                await work
        except Exception as error:  # noqa: BLE001 - tidying up; the item's time to live does it otherwise
            self.observer.noted("", Note.TIDY_FAILED, type(error).__name__)


@dataclass(slots=True, eq=False)
class _Socket:
    """A socket during one batch: whether it can take no more, and which orders have ended."""

    known: Connection
    lost: bool = False
    over: list[str] = field(default_factory=list)


def _last_steps(changes: list[Change]) -> list[Change]:
    """An order's last change alone; none if another will follow soon, which will tell of all before it."""
    last = changes[-1]
    if last.order.status not in lifecycle.TERMINAL and last.order.status is not Status.OPEN:
        return []
    return [replace(last, known_events=changes[0].known_events)]


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
    staged = order.request.trigger.rests and change.known_events > 0
    before = order.events[change.known_events - 1].status if staged else None
    ended = order.status in lifecycle.TERMINAL
    if not ended and (not order.request.trigger.rests or stage(before) == stage(order.status)):
        return None
    routed = order.routed
    return Tally(
        order_id=order.ref.order_id,
        seq=order.seq,
        at=order.updated_at,
        status=order.status,
        venue=routed.decision.chosen.venue if routed and order.fill else None,
        latency_ms=order.updated_at - order.started_at,
        before=before,
    )
