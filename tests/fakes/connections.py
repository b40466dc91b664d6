"""The connections table."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from order_engine.engine.ports import Connection, ConnectionGone, TooManyOrders
from tests.fakes.wire import Direct, Wire

type Name = tuple[str, str]


class FakeConnections:
    """``ConnectionStore`` in memory."""

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire or Direct()
        self.stored: dict[Name, Connection] = {}
        self.revoked: set[Name] = set()
        # What the index says, which follows the table after a while.
        self._index: dict[Name, int] = {}

    async def add(self, connection: Connection, *, expires_at: int) -> None:
        ends_at = connection.ends_at
        kept = dataclasses.replace(connection, ends_at=None if ends_at is None or ends_at >= expires_at else ends_at)
        await self._wire.call("connections.add", lambda: self._put(kept), again=True)

    def _put(self, connection: Connection) -> None:
        name = (connection.user_id, connection.connection_id)
        self.stored[name] = connection
        if connection.ends_at is not None:
            self._wire.later("connections.index", lambda: self._index.__setitem__(name, connection.ends_at or 0))

    async def follow(self, user_id: str, connection_id: str, order_id: str, *, known: int, most: int, now: int) -> None:
        await self._wire.call(
            "connections.follow", lambda: self._follow((user_id, connection_id), order_id, known, most, now), again=True
        )

    def _follow(self, name: Name, order_id: str, known: int, most: int, now: int) -> None:
        connection = self._open(name, now)
        if order_id not in connection.orders and len(connection.orders) >= most:
            raise TooManyOrders(name[1])
        self._set(connection, {**connection.orders, order_id: known})

    def _open(self, name: Name, now: int) -> Connection:
        connection = self.stored.get(name)
        if connection is None or connection.ended(now):
            raise ConnectionGone(name[1])
        return connection

    def _set(self, connection: Connection, orders: Mapping[str, int]) -> None:
        name = (connection.user_id, connection.connection_id)
        self.stored[name] = dataclasses.replace(connection, orders=orders)

    async def follow_all(self, user_id: str, connection_id: str, *, now: int) -> None:
        await self._wire.call("connections.follow", lambda: self._follow_all((user_id, connection_id), now), again=True)

    def _follow_all(self, name: Name, now: int) -> None:
        self.stored[name] = dataclasses.replace(self._open(name, now), follows_all=True)

    async def unfollow(self, user_id: str, connection_id: str, order_ids: Collection[str]) -> None:
        await self._wire.call("connections.unfollow", lambda: self._unfollow((user_id, connection_id), order_ids))

    def _unfollow(self, name: Name, order_ids: Collection[str]) -> None:
        connection = self.stored.get(name)
        if connection is not None:
            left = {order_id: known for order_id, known in connection.orders.items() if order_id not in order_ids}
            self._set(connection, left)

    async def remove(self, user_id: str, connection_id: str) -> None:
        await self._wire.call("connections.remove", lambda: self._remove((user_id, connection_id)), again=True)

    def _remove(self, name: Name) -> None:
        gone = self.stored.pop(name, None)
        if gone is not None and gone.ends_at is not None:
            self._wire.later("connections.index", lambda: self._unlist(name))

    def _unlist(self, name: Name) -> None:
        self._index.pop(name, None)

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        return await self._wire.call("connections.of_user", lambda: self._of_user(user_id))

    def _of_user(self, user_id: str) -> list[Connection]:
        return [
            known
            for name, known in sorted(self.stored.items())
            if name[0] == user_id and (user_id, known.key_id) not in self.revoked
        ]

    async def revoke(self, user_id: str, key_id: str, now: int, *, expires_at: int) -> Sequence[Connection]:
        return await self._wire.call("connections.revoke", lambda: self._revoke(user_id, key_id, now))

    def _revoke(self, user_id: str, key_id: str, now: int) -> list[Connection]:
        own = [known for name, known in sorted(self.stored.items()) if (name[0], known.key_id) == (user_id, key_id)]
        self.revoked.add((user_id, key_id))
        for known in own:
            self._put(dataclasses.replace(known, ends_at=now))
        return own

    async def ended(self, now: int, *, limit: int) -> Sequence[Connection]:
        def listed() -> list[Connection]:
            found = sorted((ends_at, name) for name, ends_at in self._index.items() if ends_at <= now)
            return [Connection(*name, ends_at=ends_at) for ends_at, name in found[:limit]]

        return await self._wire.call("connections.ended", listed)
