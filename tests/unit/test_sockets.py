"""Who may open a socket and what a socket may follow; and that it ends with the key that opened it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from notify import socket
from order_engine.compose import Engine
from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef
from order_engine.engine.execute import Silent
from order_engine.engine.ports import Connection
from order_engine.engine.sockets import KEPT_MS, CloseEnded
from order_engine.settings import Settings
from tests.api.clock import StandingClock
from tests.fakes.engine import engine_with
from tests.unit.test_stream_sockets import USER, Sockets, clock, message, new_order, serve

__all__ = ["clock"]


class Orders:
    """Orders by id, and how often they were read."""

    def __init__(self, *orders: Order) -> None:
        self.stored = {order.ref.order_id: order for order in orders}
        self.reads = 0

    async def get(self, ref: OrderRef) -> Order | None:
        self.reads += 1
        return self.stored.get(ref.order_id)


@pytest.fixture
def orders() -> Orders:
    return Orders(*(new_order(f"order-{n}") for n in range(10)))


@pytest.fixture
def sockets(clock: StandingClock, orders: Orders) -> Sockets:
    made = Sockets()
    settings = Settings(sockets_per_user=3, orders_per_socket=3)
    made.engine = engine_with(clock=clock, settings=settings, orders=orders, connections=made.store, push=made)
    return made


async def connect(sockets: Sockets, name: str, **identity: str) -> int:
    engine = cast(Engine, sockets.engine)
    event = message(name, "$connect", order_id=identity.pop("order_id", ""), **identity)
    event["requestContext"]["connectedAt"] = engine.clock.now_ms()
    return (await socket.handle(engine, event, cast(Any, None)))["statusCode"]


async def subscribe(sockets: Sockets, name: str, order_id: object, **identity: str) -> None:
    await serve(sockets, message(name, "$default", {"action": "subscribe", "orderId": order_id}, **identity))


# --- how many -------------------------------------------------------------------------------------------------------


async def test_a_user_may_have_so_many_sockets_and_no_more(sockets: Sockets) -> None:
    assert [await connect(sockets, str(n)) for n in range(5)] == [200, 200, 200, 429, 429]
    assert sockets.known == {"0", "1", "2"}
    await serve(sockets, message("1", "$disconnect"))
    assert await connect(sockets, "5") == 200
    assert await connect(sockets, "another's", userId="bob") == 200


async def test_a_key_may_have_a_limit_of_its_own(sockets: Sockets) -> None:
    assert [await connect(sockets, str(n), maxSockets="5") for n in range(6)] == [200] * 5 + [429]
    assert await connect(sockets, "6", maxSockets="1", userId="bob") == 200
    assert await connect(sockets, "7", maxSockets="1", userId="bob") == 429


async def test_sockets_that_come_together_are_never_too_many(sockets: Sockets) -> None:
    answers = await asyncio.gather(*(connect(sockets, str(n)) for n in range(20)))
    assert set(answers) <= {200, 429}
    assert len(sockets.known) == answers.count(200) <= 3


async def test_sockets_that_went_without_a_word_lock_nobody_out(sockets: Sockets, clock: StandingClock) -> None:
    """A lost $disconnect leaves an item for two hours."""
    for name in ("a", "b", "c"):
        assert await connect(sockets, name) == 200
    clock.now += 60_000
    sockets.gone |= {"a", "b"}

    assert await connect(sockets, "d") == 200
    assert sockets.known == {"c", "d"}


async def test_whoever_knocks_at_the_limit_again_and_again_makes_us_look_no_more_often(
    sockets: Sockets,
    clock: StandingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def alive(name: str) -> bool:
        asked.append(name)
        return True

    monkeypatch.setattr(sockets, "alive", alive)
    for name in ("a", "b", "c"):
        await connect(sockets, name)
    # What was opened just now may be in its handshake, when it looks gone.
    assert await connect(sockets, "young") == 429
    assert asked == []
    clock.now += 60_000
    assert [await connect(sockets, f"n{n}") for n in range(50)] == [429] * 50
    assert len(asked) == 3
    clock.now += 10_000
    await connect(sockets, "later")
    assert len(asked) == 6


async def test_ids_that_are_none_of_ours_are_never_stored(sockets: Sockets, orders: Orders) -> None:
    await connect(sockets, "s")
    junk: list[object] = [f"order-{n}" for n in range(100, 1800)]
    junk += ["", " ", "order-1 ", "a#b", "ö" * 3, "x" * 65, "x" * 100_000, 7, True, [], {}, "../order-1", "\x00"]
    for order_id in junk:
        await subscribe(sockets, "s", order_id)

    (known,) = await sockets.store.of_user(USER)
    assert dict(known.orders) == {}
    codes = [frame["code"] for frame in sockets.frames("s")]
    assert codes == ["order_not_found"] * 1700 + ["invalid_message"] * (len(junk) - 1700)
    # What cannot be an id is not looked up either.
    assert orders.reads == 1700


async def test_a_socket_follows_so_many_orders_and_says_so(sockets: Sockets, orders: Orders) -> None:
    await connect(sockets, "s")
    for n in range(4):
        await subscribe(sockets, "s", f"order-{n}")
    await subscribe(sockets, "s", "order-1")

    assert [frame.get("code", frame["type"]) for frame in sockets.frames("s")] == [
        *["snapshot"] * 3,
        "too_many_orders",
        "snapshot",
    ]
    (known,) = await sockets.store.of_user(USER)
    assert set(known.orders) == {"order-0", "order-1", "order-2"}
    # An order that has ended is shown all the same, and takes no place.
    orders.stored["order-5"] = lifecycle.cancel(orders.stored["order-5"], 3)
    await subscribe(sockets, "s", "order-5")
    assert sockets.frames("s")[-1]["status"] == "cancelled"


async def test_an_order_that_ends_while_it_is_asked_for_takes_no_place(sockets: Sockets, orders: Orders) -> None:
    await connect(sockets, "s")
    real, ended = orders.get, lifecycle.cancel(orders.stored["order-0"], 3)

    async def get(ref: OrderRef) -> Order | None:
        found = await real(ref)
        orders.stored["order-0"] = ended
        return found

    orders.get = get  # type: ignore[method-assign]
    await subscribe(sockets, "s", "order-0")

    assert sockets.frames("s")[0]["status"] == "cancelled"
    (known,) = await sockets.store.of_user(USER)
    assert dict(known.orders) == {}


async def test_the_socket_of_one_order_is_closed_when_it_asks_for_it_after_its_end(
    sockets: Sockets, orders: Orders
) -> None:
    await connect(sockets, "s", order_id="order-0")
    orders.stored["order-0"] = lifecycle.cancel(orders.stored["order-0"], 3)
    await serve(sockets, message("s", "$default", {"action": "subscribe", "orderId": "order-0"}, order_id="order-0"))
    assert [len(frame["events"]) for frame in sockets.frames("s")] == [2]
    assert sockets.closed == ["s"]


async def test_the_snapshot_is_read_after_the_subscription_is_stored(sockets: Sockets, orders: Orders) -> None:
    """An event between the look whether there is such an order and the subscription is in neither otherwise."""
    await connect(sockets, "s")
    real = sockets.store.follow

    async def follow(*arguments: Any, **named: Any) -> None:
        orders.stored["order-0"] = lifecycle.claim(orders.stored["order-0"], Lease("worker", 99), 2)
        await real(*arguments, **named)

    sockets.store.follow = follow  # type: ignore[method-assign]
    await subscribe(sockets, "s", "order-0")
    assert [event["seq"] for event in sockets.frames("s")[0]["events"]] == [1, 2]


# --- until when -----------------------------------------------------------------------------------------------------


async def test_an_expired_key_is_answered_nothing_more(sockets: Sockets, clock: StandingClock) -> None:
    ends = str(clock.now + 1000)
    assert await connect(sockets, "s", keyId="k", expiresAt=ends) == 200
    await subscribe(sockets, "s", "order-0", expiresAt=ends)
    clock.now += 1000
    await serve(sockets, message("s", "$default", {"action": "subscribe", "orderId": "order-1"}, expiresAt=ends))
    await serve(sockets, message("s", "$default", {"action": "ping"}, expiresAt=ends))

    assert [frame.get("code", frame["type"]) for frame in sockets.frames("s")] == ["snapshot", *["unauthorized"] * 2]
    assert sockets.closed == ["s", "s"]


async def test_a_revoked_key_opens_nothing_and_follows_nothing(sockets: Sockets, clock: StandingClock) -> None:
    assert await connect(sockets, "s", keyId="bad") == 200
    await sockets.store.revoke(USER, "bad", clock.now, expires_at=clock.now + KEPT_MS)

    assert await connect(sockets, "late", keyId="bad") == 403
    assert await connect(sockets, "good", keyId="good") == 200
    await subscribe(sockets, "s", "order-0", keyId="bad")

    assert sockets.frames("s") == []
    assert sockets.closed == ["s"]
    assert "late" not in sockets.known


async def test_a_socket_that_is_opened_while_its_key_is_revoked_is_refused_or_found(
    sockets: Sockets,
    clock: StandingClock,
) -> None:
    """Either sees the other, whichever comes first: here the revocation goes between storing and counting."""
    real = sockets.store.of_user

    async def of_user(user_id: str) -> Any:
        await sockets.store.revoke(user_id, "bad", clock.now, expires_at=clock.now + KEPT_MS)
        return await real(user_id)

    sockets.store.of_user = of_user  # type: ignore[method-assign]
    assert await connect(sockets, "s", keyId="bad") == 403


def close_ended(sockets: Sockets, clock: StandingClock) -> CloseEnded:
    return CloseEnded(sockets.store, sockets, clock, Silent())


async def test_what_has_ended_is_closed_and_forgotten(sockets: Sockets, clock: StandingClock) -> None:
    now = clock.now
    ends = {"past": now - 1, "now": now, "soon": now + 3_000, "later": now + 20_000, "never": None}
    for name, ends_at in ends.items():
        await sockets.store.add(Connection(USER, name, since=now, ends_at=ends_at), expires_at=now + KEPT_MS)

    assert await close_ended(sockets, clock)() == 3

    assert set(sockets.closed) == {"past", "now", "soon"}
    assert sockets.known == {"later", "never"}
    # One that ends in a moment keeps its time.
    assert clock.now == now + 3_000


async def test_a_crowd_that_ends_at_once_is_closed_in_one_run(sockets: Sockets, clock: StandingClock) -> None:
    for n in range(230):
        one = Connection(f"user-{n}", str(n), since=clock.now, ends_at=clock.now)
        await sockets.store.add(one, expires_at=clock.now + KEPT_MS)
    assert await close_ended(sockets, clock)() == 230
    assert sockets.known == set()


async def test_what_cannot_be_closed_now_is_found_again(
    sockets: Sockets,
    clock: StandingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n in range(60):
        one = Connection(USER, str(n), since=clock.now, ends_at=clock.now)
        await sockets.store.add(one, expires_at=clock.now + KEPT_MS)

    async def fail(name: str) -> None:
        raise OSError("throttled")

    with monkeypatch.context() as patch:
        patch.setattr(sockets, "close", fail)
        assert await close_ended(sockets, clock)() == 0
    assert await close_ended(sockets, clock)() == 60
