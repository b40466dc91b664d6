"""The stream's client side: frames in, each event of an order once and in order out."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import websockets

from cli.errors import ApiError, Unreachable
from cli.events import Merge, OrderEvent
from order_engine.domain.errors import TooNew
from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.order import Status
from order_engine.wire import forms

if TYPE_CHECKING:
    from order_engine.wire.schema import OrderSummaryView


class Api(Protocol):
    """What a follower asks the HTTP API for."""

    @property
    def url(self) -> str: ...

    async def stream_address(self) -> tuple[str, Mapping[str, str]]:
        """Where all orders can be followed, and what to send with the handshake."""

    def orders(self) -> AsyncGenerator[OrderSummaryView]:
        """All orders, newest first."""


_OPEN_S = 10.0
# A subscription or ping that is not answered in this time: the connection is dead.
_ANSWER_S = 10.0
# After so long a silence the client asks again: API Gateway closes a connection after ten minutes without a message.
_QUIET_S = 30.0
_FIRST_WAIT_S = 0.5
# A connection that served longer than this was a good one: the next is tried soon after it.
_STEADY_S = 5.0
_LONGEST_WAIT_S = 15.0
_GIVE_UP_S = 300.0
_REMEMBERED = 10_000
_PROBED = 50
# Clocks of several machines, and an index that lags behind the table.
_MARGIN = timedelta(seconds=60)
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class StreamState:
    """What became of the connection: made, or lost and tried again after ``retry_in_s`` seconds."""

    connected: bool
    retry_in_s: float = 0.0
    reason: str = ""


def jitter(most_s: float) -> float:
    """A random wait of at most ``most_s`` seconds: clients that failed together do not come back together."""
    return secrets.SystemRandom().uniform(0, most_s)


class _Lost(Exception):
    """The connection is of no use any more."""


class Follower:
    """Follows one order or all, over as many connections as it takes."""

    def __init__(
        self,
        api: Api,
        *,
        order_id: str | None = None,
        after: int = 0,
        first_address: str | None = None,
        since: datetime | None = None,
        on_state: Callable[[StreamState], None] | None = None,
    ) -> None:
        self._api = api
        self._only = order_id
        self._first_address = first_address
        self._since = since
        self._on_state = on_state or (lambda state: None)
        self._orders: OrderedDict[str, Merge] = OrderedDict()
        if order_id is not None:
            self._orders[order_id] = Merge(after)
        # Of this connection: what was asked for and not answered, and which orders a snapshot has shown.
        self._asked: dict[str, float] = {}
        self._shown: set[str] = set()
        self._caught_up = False
        # Orders that were placed before this were all seen on an earlier connection.
        self._horizon: datetime | None = since
        self._by_key = False
        self._failures = 0
        self._opened_at = self._useful_at = time.monotonic()

    async def events(self) -> AsyncGenerator[OrderEvent]:
        """The events; ends after the last one of a single order.

        Raises:
            ApiError: there is no such order, or the key is refused.
            Unreachable: no connection could be made for five minutes.
        """
        while not self._done:
            try:
                async with aclosing(self._connection()) as events:
                    async for event in events:
                        yield event
                reason = "the server closed the connection"
            except (ApiError, Unreachable, OSError, TimeoutError, websockets.WebSocketException, _Lost) as error:
                reason = self._curable(error)
            if not self._done:
                await self._pause(reason)

    def _curable(self, error: Exception) -> str:
        """Why the connection failed, if another may do better.

        Raises:
            ApiError: no other will.
        """
        if isinstance(error, ApiError) and not error.passing:
            raise error
        if isinstance(error, websockets.InvalidStatus):
            status = error.response.status_code
            if status in (401, 403) and self._by_key:
                raise ApiError(
                    status, "unauthorized", "The API key is missing, unknown, expired or revoked."
                ) from error
            return f"the server refused the connection ({status})"
        if isinstance(error, Unreachable):
            return error.reason
        if isinstance(error, websockets.ConnectionClosed):
            return "the connection broke"
        return str(error) or "no answer in time"

    async def _pause(self, reason: str) -> None:
        """Wait before the next connection, longer after each that was of no use.

        Raises:
            Unreachable: none was of use for five minutes.
        """
        now = time.monotonic()
        if self._useful_at - self._opened_at > _STEADY_S:
            self._failures = 0
        if now - self._useful_at > _GIVE_UP_S:
            raise Unreachable(self._api.url, reason)
        wait_s = jitter(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self._failures))
        self._failures = min(self._failures + 1, 10)
        self._on_state(StreamState(False, wait_s, reason))
        await asyncio.sleep(wait_s)

    async def _connection(self) -> AsyncGenerator[OrderEvent]:
        self._opened_at = time.monotonic()
        address, headers = await self._address()
        async with websockets.connect(
            address,
            additional_headers=headers,
            open_timeout=_OPEN_S,
            close_timeout=1,
            # API Gateway documents no answer to the protocol's own ping; the action "ping" has one.
            ping_interval=None,
            compression=None,
        ) as socket:
            await self._begin(socket)
            async with aclosing(self._read(socket)) as events:
                async for event in events:
                    yield event

    @property
    def _done(self) -> bool:
        return self._only is not None and self._orders[self._only].finished

    async def _address(self) -> tuple[str, Mapping[str, str]]:
        address, self._first_address = self._first_address, None
        if address is not None:
            return address, {}
        address, headers = await self._api.stream_address()
        self._by_key = bool(headers)
        return address, headers

    async def _begin(self, socket: websockets.ClientConnection) -> None:
        self._asked.clear()
        self._shown.clear()
        self._caught_up = False
        if self._only is not None:
            await self._ask(socket, self._only)
        else:
            await socket.send(json.dumps({"action": "subscribe"}))

    async def _ask(self, socket: websockets.ClientConnection, order_id: str) -> None:
        """Ask for an order's events after the last one that came out."""
        after = self._orders[order_id].seq if order_id in self._orders else 0
        self._asked[order_id] = time.monotonic()
        await socket.send(json.dumps({"action": "subscribe", "orderId": order_id, "after": after}))

    async def _read(self, socket: websockets.ClientConnection) -> AsyncGenerator[OrderEvent]:
        """The events of one connection, until it is closed or nothing more can come.

        Raises:
            _Lost, ApiError, websockets.WebSocketException.
        """
        waiting_for_answer = True
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S if waiting_for_answer or self._asked else _QUIET_S):
                    frame = _parse(await socket.recv())
            except websockets.ConnectionClosedOK:
                return
            except TimeoutError:
                if waiting_for_answer or self._asked:
                    raise _Lost("no answer in time") from None
                waiting_for_answer = True
                await self._probe(socket)
                continue
            waiting_for_answer = False
            self._useful_at = time.monotonic()
            for event in self._take(frame):
                yield event
            if self._done:
                return
            if frame["type"] == "subscribed":
                await self._catch_up(socket)
            for order_id in self._gaps(frame):
                await self._ask(socket, order_id)
            if self._asked and time.monotonic() - min(self._asked.values()) > _ANSWER_S:
                raise _Lost("no answer in time")
            self._forget()

    async def _probe(self, socket: websockets.ClientConnection) -> None:
        """After a silence: is the connection alive, and was anything lost on the way?"""
        if self._only is None:
            await socket.send(json.dumps({"action": "ping"}))
        moving = [name for name, merge in self._orders.items() if not merge.finished]
        for order_id in moving[-_PROBED:]:
            await self._ask(socket, order_id)

    def _take(self, frame: Mapping[str, Any]) -> list[OrderEvent]:
        """The events that a frame brings out.

        Raises:
            ApiError: the subscription was refused.
            _Lost: the frame cannot be understood.
        """
        kind = frame["type"]
        try:
            if kind == "event":
                event = OrderEvent.read(str(frame["orderId"]), frame)
                return self._merge(event.order_id).add([event])
            if kind == "snapshot":
                return self._snapshot(frame)
            if kind == "error":
                raise ApiError(0, str(frame["code"]), str(frame["message"]))
        except (KeyError, ValueError, TypeError) as error:
            raise _Lost("the server sent a frame that cannot be read") from error
        return []

    def _snapshot(self, frame: Mapping[str, Any]) -> list[OrderEvent]:
        order_id, seq, status = str(frame["orderId"]), int(frame["seq"]), Status(frame["status"])
        events = [OrderEvent.read(order_id, view) for view in frame["events"]]
        if order_id not in self._orders and self._too_old(status, events):
            self._orders[order_id] = Merge(seq)
        merge = self._merge(order_id)
        ready = merge.snapshot(seq, status, events)
        if merge.seq >= seq:
            self._asked.pop(order_id, None)
            self._shown.add(order_id)
            if order_id == self._only:
                self._connected()
        return ready

    def _too_old(self, status: Status, events: list[OrderEvent]) -> bool:
        return self._since is not None and status in TERMINAL and bool(events) and events[0].at < self._since

    def _merge(self, order_id: str) -> Merge:
        return self._orders.setdefault(order_id, Merge())

    def _gaps(self, frame: Mapping[str, Any]) -> list[str]:
        """The order of this frame, if events before it are missing and were not asked for yet."""
        order_id = frame.get("orderId")
        if not isinstance(order_id, str) or order_id in self._asked:
            return []
        merge = self._orders.get(order_id)
        return [order_id] if merge is not None and merge.gap else []

    async def _catch_up(self, socket: websockets.ClientConnection) -> None:
        """After a subscription to all: ask for what changed while there was no connection."""
        missing = [name for name, merge in self._orders.items() if not merge.finished and name not in self._shown]
        if self._horizon is not None:
            async for order in self._api.orders():
                if datetime.fromisoformat(order["createdAt"]) < self._horizon:
                    break
                if order["orderId"] not in self._orders:
                    missing.append(order["orderId"])
        for order_id in missing:
            if order_id not in self._asked:
                await self._ask(socket, order_id)
        newest = max((merge.created_at for merge in self._orders.values() if merge.created_at), default=_EPOCH)
        self._horizon = max(newest - _MARGIN, self._since or _EPOCH) if newest != _EPOCH else self._since or _EPOCH
        self._connected()

    def _connected(self) -> None:
        if not self._caught_up:
            self._caught_up = True
            self._on_state(StreamState(True))

    def _forget(self) -> None:
        """Bound the memory of finished orders."""
        while len(self._orders) > _REMEMBERED and next(iter(self._orders.values())).finished:
            self._orders.popitem(last=False)


def _parse(text: str | bytes) -> dict[str, Any]:
    """A frame.

    Raises:
        ApiError: it has a newer form than this program reads.
        _Lost: it cannot be understood.
    """
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Lost("the server sent a frame that cannot be read") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        # API Gateway's own messages have no type.
        raise _Lost(str(frame.get("message")) if isinstance(frame, dict) else "a frame that is not an object")
    try:
        forms.FRAME.check(frame.get(forms.SCHEMA))
    except TooNew as error:
        message = "The engine's stream has a newer form than this program reads: install its newer release."
        raise ApiError(0, "program_too_old", message) from error
    except ValueError as error:
        raise _Lost("the server sent a frame that cannot be read") from error
    return frame
