"""What one socket's trouble may do to others, and what a socket's own messages bring about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from notify import socket
from order_engine import bootstrap
from order_engine.domain import lifecycle
from order_engine.domain.amounts import SOL, USDC
from order_engine.domain.order import Event, Failure, Lease, Order, OrderRef, OrderRequest, Retry, Status
from order_engine.engine import push
from order_engine.engine.execute import Silent
from order_engine.engine.ports import Connection, ConnectionGone, OrderStore, StatisticsStore
from order_engine.engine.push import Change, PushEvents, Subscribe
from order_engine.wire.views import event_frame, snapshot_frames

USER = "alice"
REQUEST = OrderRequest("market", SOL.mint, USDC.mint, 1_500_000_000, 50)


def new_order(name: str) -> Order:
    return lifecycle.place(OrderRef(USER, name), REQUEST, "", 1)


@dataclass
class Sockets:
    """``Push`` and ``ConnectionStore`` in one: some sockets are gone, some never take a frame."""

    known: dict[str, Connection] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    takes_s: float = 0
    posting: int = 0
    most_at_once: int = 0
    closed: list[str] = field(default_factory=list)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def post(self, connection_id: str, frame: bytes) -> None:
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

    async def add(self, connection: Connection, *, expires_at: int) -> None:
        self.known[connection.connection_id] = connection

    async def follow(self, user_id: str, connection_id: str, order_id: str | None) -> None:
        found = self.known.get(connection_id)
        if found is None:
            raise ConnectionGone(connection_id)
        self.known[connection_id] = (
            replace(found, follows_all=True)
            if order_id is None
            else replace(found, order_ids=found.order_ids | {order_id})
        )

    async def answered(self, user_id: str, connection_id: str) -> None:
        """The snapshot has been sent."""

    async def remove(self, user_id: str, connection_id: str) -> None:
        self.known.pop(connection_id, None)

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        return list(self.known.values())

    def frames(self, connection_id: str) -> list[dict[str, Any]]:
        return [frame for name, frame in self.got if name == connection_id]


class NoStatistics:
    async def count(self, user_id: str, tallies: object) -> None: ...


@dataclass
class Stored:
    orders: dict[str, Order]

    async def get(self, ref: OrderRef) -> Order | None:
        return self.orders.get(ref.order_id)


@pytest.fixture
def sockets() -> Sockets:
    return Sockets({name: Connection(USER, name, follows_all=True) for name in ("a", "b", "c")})


def push_events(sockets: Sockets) -> PushEvents:
    return PushEvents(sockets, sockets, cast(StatisticsStore, NoStatistics()), event_frame, Silent())


def changes_of(order: Order) -> list[Change]:
    return [Change(str(e.seq), replace(order, events=order.events[: e.seq]), e.seq - 1) for e in order.events]


@pytest.mark.parametrize("trouble", ["stuck", "broken"])
async def test_a_socket_that_takes_no_frame_is_closed_and_delays_nobody(
    sockets: Sockets, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_POST_MS", 50)
    getattr(sockets, trouble).add("b")
    orders = [lifecycle.claim(new_order(f"order-{n}"), Lease("worker", 99), 2) for n in range(5)]

    failed = await asyncio.wait_for(push_events(sockets)([c for order in orders for c in changes_of(order)]), 1)

    assert failed == []
    assert set(sockets.closed) == {"b"}
    assert set(sockets.known) == {"a", "c"}
    for name in ("a", "c"):
        for order in orders:
            got = [frame["seq"] for frame in sockets.frames(name) if frame["orderId"] == order.ref.order_id]
            assert got == [1, 2]


async def test_waiting_for_ones_turn_is_not_taken_for_slowness(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_POST_MS", 100)
    monkeypatch.setattr(push, "_POSTS_AT_ONCE", 4)
    sockets.known = {str(n): Connection(USER, str(n), follows_all=True) for n in range(60)}
    sockets.takes_s = 0.02

    await push_events(sockets)(changes_of(new_order("order")))

    assert sockets.closed == []
    assert len(sockets.got) == 60
    assert sockets.most_at_once == 4


async def test_a_socket_that_is_gone_is_forgotten(sockets: Sockets) -> None:
    sockets.gone.add("b")

    assert await push_events(sockets)(changes_of(new_order("order"))) == []

    assert set(sockets.known) == {"a", "c"}
    assert sockets.closed == []


async def test_a_single_order_socket_is_closed_after_the_last_event_and_not_before(sockets: Sockets) -> None:
    sockets.known = {"one": Connection(USER, "one", frozenset({"order"}), single=True)}
    order = new_order("order")
    await push_events(sockets)(changes_of(order))
    assert sockets.closed == []

    ended = lifecycle.cancel(order, 3)
    await push_events(sockets)([Change("2", ended, 1)])

    assert [frame["status"] for frame in sockets.frames("one")] == ["pending", "cancelled"]
    assert sockets.closed == ["one"]


def message(connection_id: str, route: str, body: object = None, order_id: str = "") -> socket.SocketEvent:
    return {
        "requestContext": {
            "routeKey": route,
            "connectionId": connection_id,
            "authorizer": {"userId": USER, "orderId": order_id},
        },
        "body": None if body is None else json.dumps(body),
    }


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    sockets = Sockets()
    subscribe = Subscribe(cast(OrderStore, Stored({"order": new_order("order")})), sockets, sockets, snapshot_frames)
    monkeypatch.setattr(bootstrap, "connections", lambda: sockets)
    monkeypatch.setattr(bootstrap, "push", lambda: sockets)
    monkeypatch.setattr(bootstrap, "subscribe", lambda: subscribe)
    return sockets


async def serve(event: socket.SocketEvent) -> None:
    assert await socket.handle(event, cast(Any, None)) == {"statusCode": 200}


async def test_nothing_is_pushed_to_a_socket_before_its_handshake_is_over(wired: Sockets) -> None:
    await serve(message("s", "$connect", order_id="order"))
    wired.gone.add("s")  # what API Gateway says of a socket during its own $connect

    await push_events(wired)(changes_of(new_order("order")))

    assert set(wired.known) == {"s"}
    wired.gone.clear()
    await serve(message("s", "$default", {"action": "subscribe", "orderId": "order"}, order_id="order"))
    await push_events(wired)([Change("2", lifecycle.cancel(new_order("order"), 2), 1)])
    assert [(frame["type"], frame["seq"]) for frame in wired.frames("s")] == [("snapshot", 1), ("event", 2)]


async def test_a_socket_that_was_forgotten_is_closed_when_it_subscribes(wired: Sockets) -> None:
    await serve(message("s", "$default", {"action": "subscribe", "orderId": "order"}))

    assert wired.closed == ["s"]
    assert wired.got == []


async def test_a_ticket_for_one_order_opens_no_other(wired: Sockets) -> None:
    await serve(message("s", "$connect", order_id="order"))
    for body in ({"action": "subscribe"}, {"action": "subscribe", "orderId": "another"}):
        await serve(message("s", "$default", body, order_id="order"))

    assert [frame["code"] for frame in wired.frames("s")] == ["forbidden", "forbidden"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "subscribe",
        {"action": 7},
        {"action": "subscribe", "orderId": 7},
        {"action": "subscribe", "orderId": ""},
        {"action": "subscribe", "orderId": "order", "after": -1},
        {"action": "subscribe", "orderId": "order", "after": True},
        {"action": "subscribe", "orderId": "order", "after": 1.5},
        {"action": "subscribe", "orderId": "nobody's"},
    ],
)
async def test_a_message_that_cannot_be_served_is_refused_with_a_reason(wired: Sockets, body: object) -> None:
    await serve(message("s", "$connect"))
    await serve(message("s", "$default", body))

    (frame,) = wired.frames("s")
    assert frame["type"] == "error"
    assert frame["code"] in {"invalid_message", "unknown_action", "order_not_found"}
    assert frame["message"]


def test_a_long_history_goes_in_several_frames_that_fit_and_miss_nothing() -> None:
    failure = Failure("venue_error", "x" * 5000)
    events = tuple(Event(n, Status.PENDING, n, n, Retry(failure, n)) for n in range(1, 101))
    order = replace(new_order("order"), events=events)

    frames = snapshot_frames(order, 7)

    assert len(frames) > 1
    assert all(len(frame) < 128 * 1024 for frame in frames)
    read = [json.loads(frame) for frame in frames]
    assert [event["seq"] for frame in read for event in frame["events"]] == list(range(8, 101))
    assert {(frame["type"], frame["seq"], frame["status"]) for frame in read} == {("snapshot", 100, "pending")}


def test_a_snapshot_with_nothing_new_is_still_sent() -> None:
    (frame,) = snapshot_frames(new_order("order"), 1)
    assert json.loads(frame)["events"] == []
    assert json.loads(frame)["seq"] == 1
