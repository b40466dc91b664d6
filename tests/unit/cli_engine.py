"""A small engine for the client's tests: the API and the stream's protocol over real sockets, with ill will."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import websockets
from websockets.asyncio.server import Server, ServerConnection, serve

type Json = dict[str, Any]

LIFE = ("pending", "routing", "building", "submitted", "confirmed")
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Engine:
    """Orders and the sockets that follow them.

    Attributes:
        random: decides when a socket is cut, and whether frames come twice or late.
        cut: the chance that a socket is cut after a frame; ``twice``, that a live frame comes twice; ``early``, that
            a live frame overtakes the snapshot that it should follow.
        silent: subscriptions are not answered.
        refuse: tickets that no socket may be opened with.
    """

    random: Random = field(default_factory=Random)
    cut: float = 0.0
    twice: float = 0.0
    early: float = 0.0
    silent: bool = False
    refuse: set[str] = field(default_factory=set)
    orders: dict[str, list[Json]] = field(default_factory=dict)
    followers: dict[ServerConnection, set[str] | None] = field(default_factory=dict)
    messages: list[Json] = field(default_factory=list)
    tickets: int = 0
    opened: int = 0
    answers: list[httpx.Response] = field(default_factory=list)
    server: Server | None = None
    on_message: Callable[[ServerConnection, Json], Awaitable[bool]] | None = None

    async def start(self) -> None:
        self.server = await serve(self._serve, "127.0.0.1", 0, process_request=self._admit)

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    @property
    def ws_url(self) -> str:
        assert self.server is not None
        port = next(iter(self.server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}"

    def place(self, order_id: str, created: datetime | None = None) -> None:
        at = created or START + timedelta(seconds=len(self.orders))
        self.orders[order_id] = [{"seq": 1, "status": "pending", "at": at.isoformat(), "attempt": 0}]

    async def step(self, order_id: str) -> None:
        """Bring an order one step on, and push the event."""
        events = self.orders[order_id]
        event = {"seq": len(events) + 1, "status": LIFE[len(events)], "at": events[0]["at"], "attempt": 1}
        events.append(event)
        for socket, followed in list(self.followers.items()):
            if followed is None or order_id in followed:
                await self._push(socket, order_id, event)

    async def _push(self, socket: ServerConnection, order_id: str, event: Json) -> None:
        frame = {"type": "event", "orderId": order_id, **event}
        for _ in range(2 if self.random.random() < self.twice else 1):
            await self._post(socket, frame)

    async def _post(self, socket: ServerConnection, frame: Json) -> None:
        try:
            await socket.send(json.dumps(frame))
        except websockets.ConnectionClosed:
            self.followers.pop(socket, None)
            return
        if self.random.random() < self.cut:
            self.followers.pop(socket, None)
            # With a farewell, or without.
            if self.random.random() < 0.5:
                await socket.close()
            else:
                socket.transport.abort()

    def _admit(self, socket: ServerConnection, request: websockets.Request) -> websockets.Response | None:
        ticket = parse_qs(urlsplit(request.path).query).get("ticket", [""])[0]
        if ticket in self.refuse or (not ticket and request.headers.get("Authorization") != "Bearer oek_test"):
            return socket.respond(403, "Forbidden")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.opened += 1
        try:
            async for text in socket:
                await self._message(socket, json.loads(text))
        except websockets.ConnectionClosed:
            pass
        finally:
            self.followers.pop(socket, None)

    async def _message(self, socket: ServerConnection, message: Json) -> None:
        self.messages.append(message)
        if self.silent or (self.on_message is not None and await self.on_message(socket, message)):
            return
        if message["action"] == "ping":
            await self._post(socket, {"type": "pong", "at": START.isoformat()})
            return
        order_id, after = message.get("orderId"), message.get("after", 0)
        if order_id is None:
            self.followers[socket] = None
            for name in list(self.orders)[-20:]:
                await self._snapshot(socket, name, 0)
            await self._post(socket, {"type": "subscribed", "orders": "all"})
        elif order_id not in self.orders:
            await self._post(socket, {"type": "error", "code": "order_not_found", "message": "There is no such order."})
        else:
            followed = self.followers.setdefault(socket, set())
            if followed is not None:
                followed.add(order_id)
            await self._snapshot(socket, order_id, after)

    async def _snapshot(self, socket: ServerConnection, order_id: str, after: int) -> None:
        events = list(self.orders[order_id])
        last = events[-1]
        if self.random.random() < self.early:
            await self._push(socket, order_id, last)
        head = {"type": "snapshot", "orderId": order_id, "seq": last["seq"], "status": last["status"]}
        await self._post(socket, head | {"events": [event for event in events if event["seq"] > after]})

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._http)

    def _http(self, request: httpx.Request) -> httpx.Response:
        if self.answers:
            return self.answers.pop(0)
        if request.url.path == "/api/stream-tickets":
            self.tickets += 1
            return httpx.Response(201, json={"wsUrl": f"{self.ws_url}?ticket=t{self.tickets}", "expiresAt": ""})
        if request.url.path == "/api/orders":
            newest = list(reversed(self.orders.items()))
            start = int(request.url.params.get("cursor", 0))
            page = [{"orderId": name, "createdAt": events[0]["at"]} for name, events in newest[start : start + 3]]
            content: Json = {"orders": page}
            if start + 3 < len(newest):
                content["nextCursor"] = str(start + 3)
            return httpx.Response(200, json=content)
        return httpx.Response(404, json={"code": "not_found", "detail": "There is nothing at this address."})


async def work(engine: Engine, order_ids: list[str], pause_s: float) -> None:
    """Bring all orders to their end, in turns."""
    for _ in LIFE[1:]:
        for order_id in order_ids:
            await engine.step(order_id)
            await asyncio.sleep(pause_s * engine.random.random())


LEG = {"venue": "raydium", "pool": "3WgEabcdzeUw", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5"}


ROUTE = {
    "venue": "raydium",
    "kind": "single",
    "amountOut": "219.57",
    "netOut": "219.56",
    "price": "146.38",
    "priceImpactBps": "5",
    "legs": [LEG | {"amountOut": "219.57"}],
}


OTHER = ROUTE | {"venue": "meteora", "netOut": "219.5", "amountOut": "219.51"}


ORDER: dict[str, Any] = {
    "orderId": "fcbb10b2-561e-5542-bbcd-dbcd8fc27228",
    "status": "confirmed",
    "type": "market",
    "tokenIn": "SOL",
    "tokenOut": "USDC",
    "amountIn": "1.5",
    "slippageBps": 50,
    "limitPrice": None,
    "expiresAt": None,
    "walletAddress": None,
    "createdAt": "2026-01-01T00:00:00.000Z",
    "updatedAt": "2026-01-01T00:00:02.500Z",
    "seq": 5,
    "attempts": 1,
    "venue": "raydium",
    "reason": "One raydium pool gives 219.56 USDC.",
    "route": ROUTE,
    "quotes": [ROUTE, OTHER],
    "minOut": "218.47",
    "improvementBps": "2.7",
    "txHash": "3nvRw1MdfoNFPWTm3J6XCFma1ihBJHC9U1SbS6GUpMfXmo7PCGutxXN8TqUZXgi4WXho3FbTftaBT26Fw32xmKps",
    "amountOut": "219.55",
    "executedPrice": "146.36",
    "failureReason": None,
    "error": None,
}
