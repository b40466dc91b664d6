"""What one socket's trouble may do to others, and what a socket's own messages bring about."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Event, Failure, Lease, Order, OrderRef, Retry, Status
from order_engine.engine import push
from order_engine.engine.ports import Connection, OrderStore
from order_engine.engine.push import Change, Sent
from order_engine.settings import LimitSettings, Settings
from order_engine.wire.views import snapshot_frames
from tests.fakes.engine import engine_with
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import StandingClock
from tests.support.sockets import REQUEST, USER, Sockets, Stored, changes_of, message, new_order, push_events, serve


@pytest.fixture
def sockets() -> Sockets:
    made = Sockets()
    made.know(*(Connection(USER, name, follows_all=True) for name in ("a", "b", "c")))
    return made


@pytest.mark.parametrize("trouble", ["stuck", "broken"])
def test_a_socket_that_takes_no_frame_is_closed_and_delays_nobody(
    sockets: Sockets, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_POST_MS", 50)
    getattr(sockets, trouble).add("b")
    orders = [lifecycle.claim(new_order(f"order-{n}"), Lease("worker", 99), 2) for n in range(5)]

    pushed = push_events(sockets)([c for order in orders for c in changes_of(order)])
    failed = run(VirtualLoop(), asyncio.wait_for(pushed, 1))

    assert failed == []
    assert set(sockets.closed) == {"b"}
    assert sockets.known == {"a", "c"}
    for name in ("a", "c"):
        for order in orders:
            got = [frame["seq"] for frame in sockets.frames(name) if frame["orderId"] == order.ref.order_id]
            assert got == [1, 2]


def test_waiting_for_ones_turn_is_not_taken_for_slowness(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "_POST_MS", 100)
    monkeypatch.setattr(push, "_POSTS_AT_ONCE", 4)
    sockets.store.stored.clear()
    sockets.know(*(Connection(USER, str(n), follows_all=True) for n in range(60)))
    sockets.takes_s = 0.02

    run(VirtualLoop(), push_events(sockets)(changes_of(new_order("order"))))

    assert sockets.closed == []
    assert len(sockets.got) == 60
    assert sockets.most_at_once == 4


async def test_a_socket_that_is_gone_is_forgotten(sockets: Sockets) -> None:
    sockets.gone.add("b")

    assert await push_events(sockets)(changes_of(new_order("order"))) == []

    assert sockets.known == {"a", "c"}
    assert sockets.closed == []


async def test_a_single_order_socket_is_closed_after_the_last_event_and_not_before(sockets: Sockets) -> None:
    sockets.store.stored.clear()
    sockets.know(Connection(USER, "one", {"order": 0}, only="order"))
    order, pushing = new_order("order"), push_events(sockets)
    await pushing(changes_of(order))
    assert sockets.closed == []

    ended = lifecycle.cancel(order, 3)
    await pushing([Change("2", ended, 1)])

    assert [frame["status"] for frame in sockets.frames("one")] == ["pending", "cancelled"]
    assert sockets.closed == ["one"]


@pytest.fixture
def wired(clock: StandingClock) -> Sockets:
    sockets = Sockets()
    orders = cast(OrderStore, Stored({"order": new_order("order")}))
    settings = Settings(limits=LimitSettings(orders_per_socket=3))
    sockets.engine = engine_with(clock=clock, settings=settings, orders=orders, connections=sockets.store, push=sockets)
    return sockets


async def test_nothing_is_pushed_to_a_socket_before_its_handshake_is_over(wired: Sockets) -> None:
    await serve(wired, message("s", "$connect", order_id="order"))
    wired.gone.add("s")  # what API Gateway says of a socket during its own $connect

    await push_events(wired)(changes_of(new_order("order")))

    assert wired.known == {"s"}
    wired.gone.clear()
    await serve(wired, message("s", "$default", {"action": "subscribe", "orderId": "order"}, order_id="order"))
    await push_events(wired)([Change("2", lifecycle.cancel(new_order("order"), 2), 1)])
    assert [(frame["type"], frame["seq"]) for frame in wired.frames("s")] == [("snapshot", 1), ("snapshot", 2)]


async def test_a_socket_that_was_forgotten_is_closed_when_it_subscribes(wired: Sockets) -> None:
    await serve(wired, message("s", "$default", {"action": "subscribe", "orderId": "order"}))

    assert wired.closed == ["s"]
    assert wired.got == []


async def test_a_ticket_for_one_order_opens_no_other(wired: Sockets) -> None:
    await serve(wired, message("s", "$connect", order_id="order"))
    for body in ({"action": "subscribe"}, {"action": "subscribe", "orderId": "another"}):
        await serve(wired, message("s", "$default", body, order_id="order"))

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
    await serve(wired, message("s", "$connect"))
    await serve(wired, message("s", "$default", body))

    (frame,) = wired.frames("s")
    assert frame["type"] == "error"
    assert frame["code"] in {"invalid_message", "unknown_action", "order_not_found"}
    assert frame["message"]


def seqs(frame: dict[str, Any]) -> list[int]:
    return [event["seq"] for event in frame["events"]] if frame["type"] == "snapshot" else [frame["seq"]]


def history(name: str, length: int) -> Order:
    events = tuple(Event(n, Status.PENDING, n, n, None) for n in range(1, length + 1))
    return replace(new_order(name), events=events)


async def test_what_was_not_sent_before_comes_with_the_first_event(sockets: Sockets) -> None:
    """Events of the time before the socket followed the order: the pusher cannot know what the client has."""
    sockets.store.stored.clear()
    sockets.know(Connection(USER, "late", {"order": 0}), Connection(USER, "resumed", {"order": 3}))
    pushing, changes = push_events(sockets), changes_of(history("order", 7))

    for change in changes[4:]:
        await pushing([change])

    assert [seqs(frame) for frame in sockets.frames("late")] == [[1, 2, 3, 4, 5], [6], [7]]
    assert [seqs(frame) for frame in sockets.frames("resumed")] == [[4, 5], [6], [7]]


async def test_what_a_client_has_said_it_has_is_not_repeated(sockets: Sockets) -> None:
    sockets.store.stored.clear()
    sockets.know(Connection(USER, "s", {"order": 3}))
    pushing, changes = push_events(sockets), changes_of(history("order", 5))

    await pushing(changes[:4])
    await pushing(changes[2:])

    assert [seqs(frame) for frame in sockets.frames("s")] == [[4], [5]]


async def test_another_process_knows_nothing_of_what_was_sent_and_leaves_no_gap(sockets: Sockets) -> None:
    sockets.store.stored.clear()
    sockets.know(Connection(USER, "s", {"order": 1}))
    first, second, changes = push_events(sockets), push_events(sockets), changes_of(history("order", 6))

    for process, change in zip((first, first, second, second, first), changes[1:], strict=True):
        await process([change])

    assert [seqs(frame) for frame in sockets.frames("s")] == [[2], [3], [2, 3, 4], [5], [4, 5, 6]]


async def test_what_is_remembered_of_sockets_is_bounded() -> None:
    sent = Sent(most=3)
    for n in range(10):
        sent.note("s", str(n), n)
    assert [sent.upto("s", str(n)) for n in range(10)] == [0] * 7 + [7, 8, 9]


async def test_a_crowd_is_told_how_orders_ended_and_nothing_is_missing_at_the_end(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_CROWD", 50)
    orders = [new_order(f"order-{n}") for n in range(10)]
    claimed = [lifecycle.claim(order, Lease("worker", 99), 2) for order in orders]
    pushing = push_events(sockets)

    await pushing([change for order in claimed for change in changes_of(order)])
    assert sockets.got == []
    ended = [lifecycle.retry(order, Failure("x", "y"), 9, 3) for order in claimed]
    ended = [lifecycle.cancel(order, 4) for order in ended]
    await pushing([Change("9", order, 3) for order in ended])

    assert len(sockets.got) == 30
    for name in ("a", "b", "c"):
        assert [seqs(frame) for frame in sockets.frames(name)] == [[1, 2, 3, 4]] * 10


async def test_a_stuck_socket_costs_a_batch_its_time_once(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "_POST_MS", 100)
    monkeypatch.setattr(push, "_POSTS_AT_ONCE", 4)
    sockets.stuck.add("b")
    began = asyncio.get_running_loop().time()

    await push_events(sockets)([change for n in range(60) for change in changes_of(new_order(f"order-{n}"))])

    assert asyncio.get_running_loop().time() - began < 0.5
    assert len(sockets.frames("a")) == len(sockets.frames("c")) == 60
    assert sockets.tried <= 120 + 4


async def test_one_users_crowd_waits_while_anothers_only_frame_goes(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_POSTS_AT_ONCE", 4)
    sockets.takes_s = 0.01
    sockets.know(*(Connection(USER, f"crowd-{n}", follows_all=True) for n in range(150)))
    sockets.know(Connection("bob", "neighbour", follows_all=True))
    mine = lifecycle.place(OrderRef("bob", "mine"), REQUEST, "", 1)

    await push_events(sockets)([*changes_of(new_order("order")), *changes_of(mine)])

    assert len(sockets.got) == 154
    assert [name for name, _ in sockets.got].index("neighbour") < 8


async def test_orders_that_have_ended_make_room_for_others(sockets: Sockets) -> None:
    sockets.store.stored.clear()
    sockets.know(Connection(USER, "s", {"one": 0, "two": 0}))
    order = new_order("one")

    await push_events(sockets)([*changes_of(order), Change("2", lifecycle.cancel(order, 2), 1)])

    (known,) = await sockets.store.of_user(USER)
    assert dict(known.orders) == {"two": 0}
    assert sockets.closed == []


async def test_nothing_is_sent_to_a_socket_whose_key_has_ended(sockets: Sockets) -> None:
    clock = StandingClock()
    sockets.know(Connection(USER, "b", follows_all=True, key_id="k", ends_at=clock.now))
    await sockets.store.add(Connection(USER, "d", follows_all=True, key_id="bad"), expires_at=clock.now)
    await sockets.store.revoke(USER, "bad", clock.now - 1, expires_at=clock.now + 1)

    await push_events(sockets, clock)(changes_of(new_order("order")))

    assert {name for name, _ in sockets.got} == {"a", "c"}


def test_a_long_history_goes_in_several_frames_that_fit_and_miss_nothing() -> None:
    failure = Failure("venue_error", "x" * 5000)
    events = tuple(Event(n, Status.PENDING, n, n, Retry(failure, n)) for n in range(1, 101))
    order = replace(new_order("order"), events=events)

    frames = snapshot_frames(order, 7)

    assert len(frames) > 1
    # A WebSocket frame of API Gateway; what is posted to a connection counts as well, and a longer one ends the socket.
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
    assert all(len(frame) <= 32 * 1024 for frame in frames)
    read = [json.loads(frame) for frame in frames]
    assert [event["seq"] for frame in read for event in frame["events"]] == list(range(8, 101))
    assert {(frame["type"], frame["seq"], frame["status"]) for frame in read} == {("snapshot", 100, "pending")}


def test_a_snapshot_with_nothing_new_is_still_sent() -> None:
    (frame,) = snapshot_frames(new_order("order"), 1)
    assert json.loads(frame)["events"] == []
    assert json.loads(frame)["seq"] == 1
