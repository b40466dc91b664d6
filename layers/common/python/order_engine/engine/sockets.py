"""A socket's own life: it is opened, asks for orders, and ends with the credential that opened it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from order_engine.domain import lifecycle
from order_engine.domain.errors import EngineError
from order_engine.domain.order import Order, OrderRef
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, Connection, ConnectionStore, OrderStore, Push
from order_engine.engine.push import SnapshotFrames

# API Gateway closes a socket after two hours; ten minutes more cover a lost $disconnect.
KEPT_MS = (2 * 60 + 10) * 60_000
FOLLOWED_ORDERS = 20
# A socket that was opened a moment ago may still be in its handshake, during which it looks gone. Taking one for gone
# costs its client a reconnection; keeping what is gone locks somebody out.
_YOUNG_MS = 5_000
# So often a user who is at the limit may have us look for sockets that went without a word.
_LOOK_MS = 5_000
_MAX_REMEMBERED = 10_000
# So many that have ended are closed side by side, and so often in a row.
_AT_ONCE, _ROUNDS = 50, 20
# The next look is a minute away: what ends just after this one is waited for.
_SOON_MS = 5_000


class Revoked(EngineError):
    """The key has been revoked."""

    code = "unauthorized"


class TooManySockets(EngineError):
    code = "too_many_sockets"


@dataclass(frozen=True, slots=True)
class Connect:
    """The use case: a client opens a socket."""

    connections: ConnectionStore
    push: Push
    clock: Clock
    _looked_at: dict[str, int] = field(default_factory=dict)

    async def __call__(self, connection: Connection, most: int) -> None:
        """Let it in as one of at most ``most`` sockets of its user.

        It is stored before it is counted: of two that come at the same moment at least one sees the other, and a
        revocation sees the socket or the socket the revocation.

        Raises:
            Revoked, TooManySockets: it is not let in, and forgotten.
        """
        await self.connections.add(connection, expires_at=connection.since + KEPT_MS)
        try:
            present = await self.connections.of_user(connection.user_id)
            if all(known.connection_id != connection.connection_id for known in present):
                raise Revoked("The API key has been revoked.")
            if len(present) > most and len(present) - await self._forget_gone(connection, present) > most:
                raise TooManySockets(f"A user may have {most} sockets open. One can follow many orders.")
        except BaseException:
            await self.connections.remove(connection.user_id, connection.connection_id)
            raise

    async def _forget_gone(self, newcomer: Connection, present: Sequence[Connection]) -> int:
        """Forget sockets that went without a word, which happens; how many."""
        now = self.clock.now_ms()
        if now - self._looked_at.get(newcomer.user_id, 0) < _LOOK_MS:
            return 0
        if len(self._looked_at) >= _MAX_REMEMBERED:
            self._looked_at.clear()
        self._looked_at[newcomer.user_id] = now
        old = [known for known in present if now - known.since > _YOUNG_MS]
        gone = await asyncio.gather(*map(self._forget_if_gone, old))
        return sum(gone)

    async def _forget_if_gone(self, known: Connection) -> bool:
        if await self.push.alive(known.connection_id):
            return False
        await self.connections.remove(known.user_id, known.connection_id)
        return True


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The use case: a socket asks to follow one order, or all of its user's."""

    orders: OrderStore
    connections: ConnectionStore
    push: Push
    snapshot: SnapshotFrames
    clock: Clock
    most: int

    async def one(self, connection: Connection, order_id: str, after: int) -> bool:
        """Follow an order and send its events after ``after``.

        The subscription is stored before the order is read for the snapshot, so that every event is in that or
        pushed. Until then who pushes knows of nothing that was sent, and sends all that comes after ``after``.

        Returns:
            False if this user has no such order.

        Raises:
            ConnectionGone, TooManyOrders: see ``ConnectionStore.follow``.
        """
        ref = OrderRef(connection.user_id, order_id)
        order = await self.orders.get(ref)
        if order is None:
            return False
        followed = order.status not in lifecycle.TERMINAL
        if followed:
            await self.connections.follow(
                connection.user_id,
                connection.connection_id,
                order_id,
                known=min(after, order.seq),
                most=self.most,
                now=self.clock.now_ms(),
            )
            order = await self.orders.get(ref) or order
        await self._send(connection, order, after)
        if order.status in lifecycle.TERMINAL:
            # Without it nothing is lost: the client closes the socket, or it goes in time.
            with contextlib.suppress(Exception):
                await self._finish(connection, order_id, followed=followed)
        return True

    async def _finish(self, connection: Connection, order_id: str, *, followed: bool) -> None:
        if connection.only is not None:
            await self.push.close(connection.connection_id)
        elif followed:
            await self.connections.unfollow(connection.user_id, connection.connection_id, [order_id])

    async def all(self, connection: Connection) -> None:
        """Follow all of the user's orders and send the newest as they are now.

        Raises:
            ConnectionGone: see ``ConnectionStore.follow_all``.
        """
        await self.connections.follow_all(connection.user_id, connection.connection_id, now=self.clock.now_ms())
        page = await self.orders.page(connection.user_id, limit=FOLLOWED_ORDERS, after=None, status=None)
        for order in reversed(page.orders):
            await self._send(connection, order, 0)

    async def _send(self, connection: Connection, order: Order, after: int) -> None:
        for frame in self.snapshot(order, after):
            await self.push.post(connection.connection_id, frame)


@dataclass(frozen=True, slots=True)
class CloseEnded:
    """The use case: close the sockets whose key was revoked or has expired.

    Nothing is sent to them from the moment of their end; this is about the sockets themselves. A look costs what it
    finds, however many others are open.
    """

    connections: ConnectionStore
    push: Push
    clock: Clock
    observer: Observer

    async def __call__(self) -> int:
        """Close those that have ended, and those that end in a moment when they do. Returns how many were closed."""
        closed = 0
        for _ in range(_ROUNDS):
            try:
                found = await self.connections.ended(self.clock.now_ms() + _SOON_MS, limit=_AT_ONCE)
            except Exception as error:  # noqa: BLE001 - the next look may do better
                self.observer.noted("", Note.CLOSE_FAILED, type(error).__name__)
                break
            done = await asyncio.gather(*map(self._close, found))
            closed += sum(done)
            if len(found) < _AT_ONCE or not any(done):
                break
        return closed

    async def _close(self, connection: Connection) -> bool:
        wait = (connection.ends_at or 0) - self.clock.now_ms()
        if wait > 0:
            await self.clock.sleep(wait)
        try:
            await self.push.close(connection.connection_id)
            await self.connections.remove(connection.user_id, connection.connection_id)
        except Exception as error:  # noqa: BLE001 - the next look finds it again
            self.observer.noted("", Note.CLOSE_FAILED, type(error).__name__)
            return False
        return True
