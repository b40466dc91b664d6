"""The connections table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from order_engine.engine.ports import Connection, ConnectionGone
from tests.fakes.wire import Direct, Wire


class FakeConnections:
    """``ConnectionStore`` in memory."""

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire or Direct()
        self.stored: dict[tuple[str, str], Connection] = {}

    async def add(self, connection: Connection, *, expires_at: int) -> None:
        key = (connection.user_id, connection.connection_id)
        await self._wire.call("connections.add", lambda: self.stored.__setitem__(key, connection), again=True)

    async def follow(self, user_id: str, connection_id: str, order_id: str | None) -> None:
        await self._wire.call(
            "connections.follow", lambda: self._follow((user_id, connection_id), order_id), again=True
        )

    def _follow(self, key: tuple[str, str], order_id: str | None) -> None:
        known = self.stored.get(key)
        if known is None:
            raise ConnectionGone(key[1])
        self.stored[key] = (
            dataclasses.replace(known, awaiting=True, follows_all=True)
            if order_id is None
            else dataclasses.replace(known, awaiting=True, order_ids=known.order_ids | {order_id})
        )

    async def answered(self, user_id: str, connection_id: str) -> None:
        await self._wire.call("connections.answered", lambda: self._answered((user_id, connection_id)), again=True)

    def _answered(self, key: tuple[str, str]) -> None:
        known = self.stored.get(key)
        if known is None:
            raise ConnectionGone(key[1])
        self.stored[key] = dataclasses.replace(known, awaiting=False)

    async def remove(self, user_id: str, connection_id: str) -> None:
        await self._wire.call("connections.remove", lambda: self.stored.pop((user_id, connection_id), None), again=True)

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        return await self._wire.call(
            "connections.of_user", lambda: [known for key, known in sorted(self.stored.items()) if key[0] == user_id]
        )
