"""The WebSocket API and its clients: sockets that break, answers that come late, views that must end complete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from order_engine.engine.ports import ConnectionGone
from tests.simulation.world import Invocation, World

type Handler = Callable[[Any, Invocation], Coroutine[Any, Any, Any]]


@dataclass(slots=True, eq=False)
class Socket:
    """One connection, as API Gateway and the client know it.

    Attributes:
        troubled: a frame to it failed, or may have; its client may have to resume to be complete.
        subscribed, subscribed_at: the client's last subscription was answered, and when.
    """

    connection_id: str
    client: Client
    connected: bool = False
    open: bool = True
    troubled: bool = False
    subscribed: bool = False
    subscribed_at: int = 0
    last_delivery: float = 0.0
    newest: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Gateway:
    """``Push``: the management API of the WebSocket stage."""

    world: World
    sockets: dict[str, Socket] = field(default_factory=dict)

    async def post(self, connection_id: str, frame: bytes, *, within_ms: int | None = None) -> None:
        try:
            async with asyncio.timeout(None if within_ms is None else within_ms / 1000):
                await self.world.call("push.post", lambda: self._post(connection_id, frame))
        except BaseException:
            self._trouble(connection_id)
            raise

    def _trouble(self, connection_id: str) -> None:
        if connection_id in self.sockets:
            self.sockets[connection_id].troubled = True

    def _post(self, connection_id: str, frame: bytes) -> None:
        socket = self.sockets.get(connection_id)
        if socket is None or not socket.connected or not socket.open:
            raise ConnectionGone(connection_id)
        # Frames of one socket arrive in the order in which they were posted.
        self.world.loop.call_at(self._next_delivery(socket), socket.client.receive, socket, frame)

    def _next_delivery(self, socket: Socket) -> float:
        soon = self.world.loop.time() + self.world.rng.randint(1, 40) / 1000
        socket.last_delivery = max(socket.last_delivery + 0.001, soon)
        return socket.last_delivery

    async def alive(self, connection_id: str) -> bool:
        return await self.world.call("push.alive", lambda: self._alive(connection_id))

    def _alive(self, connection_id: str) -> bool:
        socket = self.sockets.get(connection_id)
        return socket is not None and socket.connected and socket.open

    async def close(self, connection_id: str) -> None:
        await self.world.call("push.close", lambda: self._close(connection_id))

    def _close(self, connection_id: str) -> None:
        socket = self.sockets.get(connection_id)
        if socket is not None:
            # What was posted before the close still arrives.
            self.world.loop.call_at(self._next_delivery(socket), self._closed, socket)

    @staticmethod
    def _closed(socket: Socket) -> None:
        socket.open = False


@dataclass(slots=True, eq=False)
class Client:
    """A program that follows one order or all of a user's, drops repeated events and resumes after a break.

    Attributes:
        order_id: the order that it follows, or None for all.
        ticket: it came with the ticket of that order, so that the server closes the socket at the end.
        seen: per order, the events by sequence number.
        last: per order, what the simplest client keeps: the last sequence number that it took.
    """

    world: World
    gateway: Gateway
    handler: Handler
    name: str
    user_id: str
    order_id: str | None
    ticket: bool
    seen: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    socket: Socket | None = None
    connections: int = 0
    refused: int = 0
    _asking: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Connect and stay connected while the world is bad to sockets."""
        for _ in range(20):
            if await self._connect():
                await self._subscribe()
            assert self.socket is not None
            if self.socket.subscribed:
                if not self.world.happens("disconnected"):
                    return
                await asyncio.sleep(self.world.rng.randint(50, 15_000) / 1000)
                if not self.socket.open:
                    return
            await self._disconnect()
            await asyncio.sleep(self.world.rng.randint(100, 3000) / 1000)

    async def resume(self) -> None:
        """Once everything is over: connect anew and ask for what is missing."""
        for _ in range(20):
            if await self._connect() and await self._subscribe():
                await asyncio.sleep(1)
                return
            await asyncio.sleep(1)

    async def _connect(self) -> bool:
        self.connections += 1
        self.socket = Socket(f"{self.name}-{self.connections}", self)
        self.gateway.sockets[self.socket.connection_id] = self.socket
        done, answer = await self._invoke("$connect")
        # Until $connect has let it in, posting to the connection gives 410.
        self.socket.connected = done and answer["statusCode"] == 200
        return self.socket.connected

    async def _disconnect(self) -> None:
        assert self.socket is not None
        self.socket.open = False
        if self.world.rng.random() < 0.7:
            await self._invoke("$disconnect")

    async def _subscribe(self) -> bool:
        assert self.socket is not None
        for _ in range(5):
            done = await self._ask_for(self.order_id)
            if done:
                self.socket.subscribed, self.socket.subscribed_at = True, self.world.now
                return True
            await asyncio.sleep(0.5)
        return False

    async def _ask_for(self, order_id: str | None) -> bool:
        body: dict[str, object] = {"action": "subscribe"}
        if order_id is not None:
            body |= {"orderId": order_id, "after": self.complete_upto(order_id)}
        done, _ = await self._invoke("subscribe", json.dumps(body))
        return done

    async def _fill_gap(self, order_id: str) -> None:
        """An event without its predecessors: who follows all orders may meet one that the list did not have yet."""
        for _ in range(10):
            await asyncio.sleep(0.3)
            if self.complete_upto(order_id) == max(self.seen[order_id]) or await self._ask_for(order_id):
                break
        self._asking.discard(order_id)

    async def _invoke(self, route: str, body: str | None = None) -> tuple[bool, Any]:
        assert self.socket is not None
        authorizer = {"userId": self.user_id}
        if self.ticket and self.order_id is not None:
            authorizer["orderId"] = self.order_id
        event = {
            "requestContext": {
                "routeKey": route,
                "connectionId": self.socket.connection_id,
                "authorizer": authorizer,
            },
            "body": body,
        }
        return await self.world.invoke("socket", lambda invocation: self.handler(event, invocation), timeout_ms=29_000)

    def complete_upto(self, order_id: str) -> int:
        """The last sequence number before the first gap."""
        seen, seq = self.seen.get(order_id, {}), 0
        while seq + 1 in seen:
            seq += 1
        return seq

    def receive(self, socket: Socket, frame: bytes) -> None:
        """A frame arrives."""
        if not socket.open:
            return
        content = json.loads(frame)
        kind = content["type"]
        if kind == "snapshot":
            for event in content["events"]:
                self._take(content["orderId"], event["seq"])
                self._see(content["orderId"], event)
        elif kind == "event":
            order_id = content["orderId"]
            self._check_order(socket, order_id, content["seq"])
            self._take(order_id, content["seq"])
            self._see(order_id, {name: v for name, v in content.items() if name not in ("type", "orderId", "schema")})
        elif kind == "error":
            self.refused += 1

    def _take(self, order_id: str, seq: int) -> None:
        """The simplest client drops what is not above the last number that it took: nothing may be skipped."""
        last = self.last.get(order_id, 0)
        if seq > last + 1:
            self.world.violate(f"{self.name} was sent {order_id} seq {seq} when it had {last}")
        self.last[order_id] = max(last, seq)

    def _check_order(self, socket: Socket, order_id: str, seq: int) -> None:
        """What comes live and for the first time comes in order: a client may drop what is not above its last."""
        newest = socket.newest.get(order_id, 0)
        if seq < newest and seq not in self.seen.get(order_id, {}) and not socket.troubled:
            self.world.violate(f"{self.name} was sent {order_id} seq {seq} after seq {newest}")
        socket.newest[order_id] = max(newest, seq)

    def _see(self, order_id: str, event: dict[str, Any]) -> None:
        if self.order_id not in (None, order_id):
            self.world.violate(f"{self.name} was sent an event of {order_id}, which it does not follow")
        seen = self.seen.setdefault(order_id, {})
        if seen.setdefault(event["seq"], event) != event:
            self.world.violate(f"{self.name} was told two different things about {order_id} seq {event['seq']}")
        if self.order_id is None and event["seq"] > 1 and event["seq"] - 1 not in seen and order_id not in self._asking:
            self._asking.add(order_id)
            task = self.world.loop.create_task(self._fill_gap(order_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
