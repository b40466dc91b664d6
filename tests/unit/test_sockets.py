"""Who may open a socket and what a socket may follow; and that it ends with the key that opened it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from notify import socket
from order_engine.compose import Engine
from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Connection, Page
from order_engine.engine.rates import Allowance, Rate
from order_engine.engine.sockets import KEPT_MS, CloseEnded
from order_engine.settings import LimitSettings, Settings
from order_engine.wire import exact_json
from tests.fakes.accounts import FakeRateLimiter
from tests.fakes.engine import engine_with
from tests.support.clock import StandingClock
from tests.support.sockets import USER, Sockets, message, new_order, serve


class Orders:
    """Orders by id, and how often they were read."""

    def __init__(self, *orders: Order) -> None:
        self.stored = {order.ref.order_id: order for order in orders}
        self.reads = 0

    async def get(self, ref: OrderRef) -> Order | None:
        self.reads += 1
        return self.stored.get(ref.order_id)

    async def page(self, user_id: str, **_: object) -> Page:
        return Page((), None)


@pytest.fixture
def orders() -> Orders:
    return Orders(*(new_order(f"order-{n}") for n in range(10)))


@pytest.fixture
def sockets(clock: StandingClock, orders: Orders) -> Sockets:
    made = Sockets()
    settings = Settings(limits=LimitSettings(sockets_per_user=3, orders_per_socket=3, reads_burst=10_000))
    made.engine = engine_with(
        clock=clock,
        settings=settings,
        orders=orders,
        connections=made.store,
        push=made,
        rate_limiter=FakeRateLimiter(),
    )
    return made


class Counting(FakeRateLimiter):
    """Counts how often it is asked to write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
        self.writes += 1
        return await super().admit(user_id, rate, now, units=units)


@pytest.fixture
def limiter() -> Counting:
    return Counting()


@pytest.fixture
def flooded(clock: StandingClock, limiter: Counting) -> Sockets:
    """A user may say 60 things for nothing, and then 3 times 3 and 6 more at once."""
    made = Sockets()
    settings = Settings(
        limits=LimitSettings(sockets_per_user=3, orders_per_socket=3, reads_burst=6, reads_per_minute=6)
    )
    orders = Orders(*(new_order(f"order-{n}") for n in range(10)))
    made.engine = engine_with(
        clock=clock, settings=settings, orders=orders, connections=made.store, push=made, rate_limiter=limiter
    )
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


# --- how much it may say ---------------------------------------------------------------------------------------------


def codes(sockets: Sockets, name: str) -> list[str]:
    return [frame.get("code", frame["type"]) for frame in sockets.frames(name)]


async def ping(sockets: Sockets, name: str, **identity: str) -> None:
    await serve(sockets, message(name, "$default", {"action": "ping"}, **identity))


async def test_a_flood_of_messages_ends_with_its_socket_and_is_not_counted_over_and_over(
    flooded: Sockets, limiter: Counting
) -> None:
    """60 for nothing, and 15 that are counted: three sockets of three orders, and the burst of 6."""
    await connect(flooded, "s")
    for _ in range(90):
        await ping(flooded, "s")
    assert codes(flooded, "s")[:76] == ["pong"] * 75 + ["rate_limited"]
    assert "s" in flooded.closed
    # In bulk while it is let through, and from memory once it is refused.
    assert limiter.writes < 12
    # Another socket of this user begins no better, and another user's is none the worse.
    await connect(flooded, "t")
    await ping(flooded, "t")
    assert codes(flooded, "t") == ["rate_limited"]
    await connect(flooded, "other", userId="bob")
    await ping(flooded, "other", userId="bob")
    assert codes(flooded, "other") == ["pong"]


@pytest.mark.parametrize(
    "body", ["x", "[" * 200, '{"action": "none"}', '{"action": "subscribe", "orderId": "no-such"}']
)
async def test_whatever_is_said_counts(flooded: Sockets, body: str) -> None:
    await connect(flooded, "s")
    for _ in range(76):
        event = message("s", "$default")
        event["body"] = body
        await serve(flooded, event)
    assert codes(flooded, "s")[-1] == "rate_limited"
    assert "rate_limited" not in codes(flooded, "s")[:75]


async def test_following_all_counts_as_the_frames_that_it_brings_about(flooded: Sockets) -> None:
    """60 for nothing are two times 21 and some; the 15 that are counted are one more."""
    await connect(flooded, "s")
    for _ in range(6):
        await serve(flooded, message("s", "$default", {"action": "subscribe"}))
    assert codes(flooded, "s").index("rate_limited") == 3


async def test_an_ordinary_client_is_never_counted(flooded: Sockets, limiter: Counting, clock: StandingClock) -> None:
    """A hundred orders a minute, each followed on a socket of its own, and a ping on each."""
    for n in range(300):
        await connect(flooded, f"s{n}", maxSockets="1000")
        await subscribe(flooded, f"s{n}", "order-1")
        await serve(flooded, message(f"s{n}", "$disconnect"))
        clock.now += 600
    assert limiter.writes == 0
    assert {codes(flooded, f"s{n}")[0] for n in range(300)} == {"snapshot"}


async def test_all_sockets_may_come_back_at_once_with_all_that_they_followed(clock: StandingClock) -> None:
    """After an update or an outage: otherwise they would be closed again and again."""
    settings = Settings()
    made = Sockets()
    every = Orders(*(new_order(f"order-{n}") for n in range(100)))
    made.engine = engine_with(
        clock=clock, settings=settings, orders=every, connections=made.store, push=made, rate_limiter=FakeRateLimiter()
    )
    for s in range(settings.limits.sockets_per_user):
        await connect(made, f"s{s}")
        for n in range(settings.limits.orders_per_socket):
            await subscribe(made, f"s{s}", f"order-{n}")
    assert made.closed == []
    assert len(made.got) == 2000


async def test_opening_and_closing_sockets_again_and_again_is_refused_without_a_write(
    flooded: Sockets, limiter: Counting, clock: StandingClock
) -> None:
    """60 for nothing, the 300 of a minute and the three that one may have."""

    async def open_and_close(name: str, user: str = USER) -> int:
        answer = await connect(flooded, name, userId=user)
        if answer == 200:
            await serve(flooded, message(name, "$disconnect", userId=user))
        return answer

    assert [await open_and_close(f"s{n}") for n in range(370)] == [200] * 363 + [429] * 7
    before = limiter.writes
    assert before < 50
    assert [await open_and_close(f"t{n}") for n in range(100)] == [429] * 100
    assert limiter.writes == before
    assert flooded.known == set()
    assert await open_and_close("other", "bob") == 200
    clock.now += 60_000
    assert await open_and_close("later") == 200


async def test_more_sockets_of_ones_own_may_say_more(flooded: Sockets) -> None:
    await connect(flooded, "s", maxSockets="30")
    for _ in range(150):
        await ping(flooded, "s", maxSockets="30")
    assert set(codes(flooded, "s")) == {"pong"}


async def test_a_message_that_is_longer_than_any_is_not_read(flooded: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = exact_json.read

    def noted(text: str) -> Any:
        read.append(len(text))
        return real(text)

    monkeypatch.setattr(exact_json, "read", noted)
    await connect(flooded, "s")
    for size in (100, 2048, 2049, 128 * 1024):
        event = message("s", "$default")
        event["body"] = '{"action": "ping"}'.ljust(size)
        await serve(flooded, event)
    assert codes(flooded, "s") == ["pong", "pong", "invalid_message", "invalid_message"]
    assert read == [100, 2048]
