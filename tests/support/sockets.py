"""A user's sockets: what they take, what is stored of them, and what they say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

from local.cloud import events
from notify import socket
from order_engine.compose import Engine
from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, OrderRequest
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Connection, ConnectionGone
from order_engine.engine.push import Change, PushEvents
from order_engine.engine.stats import StatisticsStore
from order_engine.wire.views import event_frame, snapshot_frames
from tests.fakes.connections import FakeConnections
from tests.support.clock import StandingClock

USER = "alice"


REQUEST = OrderRequest("market", SOL, USDC, 1_500_000_000, 50)


def new_order(name: str) -> Order:
    return lifecycle.place(OrderRef(USER, name), REQUEST, "", 1)


@dataclass
class Sockets:
    """``Push``: some sockets are gone, some never take a frame, some fail. And what is stored of them."""

    store: FakeConnections = field(default_factory=FakeConnections)
    gone: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    takes_s: float = 0
    posting: int = 0
    most_at_once: int = 0
    tried: int = 0
    closed: list[str] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    engine: Engine | None = None

    async def post(self, connection_id: str, frame: bytes, *, within_ms: int | None = None) -> None:
        async with asyncio.timeout(None if within_ms is None else within_ms / 1000):
            await self._post(connection_id, frame)

    async def _post(self, connection_id: str, frame: bytes) -> None:
        self.tried += 1
        if connection_id in self.gone:
            raise ConnectionGone(connection_id)
        if connection_id in self.stuck:
            await asyncio.sleep(3600)
        if connection_id in self.broken:
            raise OSError("no answer")
        self.posting += 1
        self.most_at_once = max(self.most_at_once, self.posting)
        await asyncio.sleep(self.takes_s)
        self.posting -= 1
        self.got.append((connection_id, json.loads(frame)))

    async def close(self, connection_id: str) -> None:
        self.closed.append(connection_id)

    async def alive(self, connection_id: str) -> bool:
        return connection_id not in self.gone

    def know(self, *connections: Connection) -> None:
        for connection in connections:
            self.store.stored[connection.user_id, connection.connection_id] = connection

    @property
    def known(self) -> set[str]:
        return {name for _, name in self.store.stored}

    def frames(self, connection_id: str) -> list[dict[str, Any]]:
        return [frame for name, frame in self.got if name == connection_id]


class NoStatistics:
    async def count(self, user_id: str, tallies: object) -> None: ...


@dataclass
class Stored:
    orders: dict[str, Order]

    async def get(self, ref: OrderRef) -> Order | None:
        return self.orders.get(ref.order_id)


def push_events(sockets: Sockets, clock: StandingClock | None = None) -> PushEvents:
    return PushEvents(
        sockets.store,
        sockets,
        cast(StatisticsStore, NoStatistics()),
        event_frame,
        snapshot_frames,
        clock or StandingClock(),
        Silent(),
    )


def changes_of(order: Order) -> list[Change]:
    return [Change(str(e.seq), replace(order, events=order.events[: e.seq]), e.seq - 1) for e in order.events]


def message(
    connection_id: str, route: str, body: object = None, order_id: str = "", **identity: str
) -> socket.SocketEvent:
    """What a socket says, or what happens to it; of ``USER``, unless ``identity`` says otherwise."""
    event = events.socket(route, connection_id, {"userId": USER, "orderId": order_id, **identity}, body)
    return cast(socket.SocketEvent, event)


async def serve(sockets: Sockets, event: socket.SocketEvent) -> None:
    assert await socket.handle(cast(Engine, sockets.engine), event, cast(Any, None)) == {"statusCode": 200}
