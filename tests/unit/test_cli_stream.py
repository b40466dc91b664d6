"""The stream's client: each event once and in order, whatever the connection does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from random import Random

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from cli import stream
from cli.client import ApiError, Client, OrderEvent, StreamState, Unreachable
from cli.events import Merge
from order_engine.domain.order import Status
from tests.unit.cli_engine import LIFE, START, Engine, Json, work


def event(seq: int, order_id: str = "order", last: int = 5) -> OrderEvent:
    return OrderEvent(order_id, seq, Status.CONFIRMED if seq == last else Status.ROUTING, START, 1, {})


@given(
    last=st.integers(1, 12),
    after=st.integers(0, 12),
    frames=st.lists(st.lists(st.integers(1, 12), max_size=5), max_size=20),
)
def test_events_come_out_once_in_order_and_without_a_gap(last: int, after: int, frames: list[list[int]]) -> None:
    after = min(after, last)
    merge = Merge(after)
    out = []
    came: set[int] = set()
    for frame in frames:
        seqs = [seq for seq in frame if seq <= last]
        out += [e.seq for e in merge.add(event(seq, last=last) for seq in seqs)]
        came |= {seq for seq in seqs if seq > after}
        # What can be shown is shown at once, and no more than that.
        whole = next((n for n in range(after, last + 1) if n + 1 not in came), last)
        assert out == list(range(after + 1, whole + 1))
        assert merge.gap == any(seq > whole for seq in came)
        assert merge.finished == (whole == last and whole > after)


@given(after=st.integers(0, 6))
def test_a_snapshot_closes_every_gap(after: int) -> None:
    merge = Merge(after)
    merge.add([event(5)])
    merge.snapshot(5, Status.CONFIRMED, [event(seq) for seq in range(after + 1, 6)])
    assert not merge.gap
    assert merge.finished
    assert merge.seq == max(5, after)


@pytest_asyncio.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(stream, "_FIRST_WAIT_S", 0.002)
    monkeypatch.setattr(stream, "_LONGEST_WAIT_S", 0.02)
    made = Engine()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    async with Client("http://engine", "oek_test", transport=engine.transport()) as made:
        yield made


async def collect(
    events: AsyncGenerator[OrderEvent], count: int | None = None, within_s: float = 10
) -> list[OrderEvent]:
    found: list[OrderEvent] = []
    async with asyncio.timeout(within_s), aclosing(events):
        async for item in events:
            found.append(item)
            if len(found) == count:
                break
    return found


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def views(events: list[OrderEvent], order_id: str) -> list[Json]:
    return [
        {"seq": e.seq, "status": e.status, "at": e.at.isoformat(), "attempt": e.attempt, **e.detail}
        for e in events
        if e.order_id == order_id
    ]


async def test_one_order_is_followed_from_its_first_event_to_its_last(engine: Engine, client: Client) -> None:
    engine.place("a")
    working = asyncio.create_task(work(engine, ["a"], 0.01))
    found = await collect(client.follow("a"))
    await working
    assert [e.status for e in found] == list(LIFE)
    assert views(found, "a") == engine.orders["a"]


async def test_a_finished_order_is_shown_and_the_stream_ends(engine: Engine, client: Client) -> None:
    engine.place("a")
    await work(engine, ["a"], 0)
    assert [e.seq for e in await collect(client.follow("a", after=3))] == [4, 5]
    assert await collect(client.follow("a", after=5)) == []


@pytest.mark.parametrize("seed", range(12))
async def test_cuts_doubles_and_overtaking_frames_are_never_seen(engine: Engine, client: Client, seed: int) -> None:
    engine.random = Random(seed)
    engine.cut, engine.twice, engine.early = 0.3, 0.3, 0.3
    names = [f"order-{n}" for n in range(8)]
    for name in names[:4]:
        engine.place(name)
    singles = [asyncio.create_task(collect(client.follow(name))) for name in names[:4]]
    everything = asyncio.create_task(collect(client.follow_all(), len(names) * len(LIFE)))
    await work(engine, names[:4], 0.004)
    for name in names[4:]:
        engine.place(name)
    await work(engine, names[4:], 0.004)

    for name, single in zip(names, singles, strict=False):
        assert views(await single, name) == engine.orders[name]
    seen = await everything
    assert len(seen) == len({(e.order_id, e.seq) for e in seen})
    for name in names:
        assert views(seen, name) == engine.orders[name]
    assert engine.opened > 5


async def test_orders_placed_during_a_long_absence_are_all_found(engine: Engine, client: Client) -> None:
    engine.place("before")
    async with asyncio.timeout(10), aclosing(client.follow_all()) as events:
        assert (await anext(events)).order_id == "before"
        for socket in list(engine.followers):
            socket.transport.abort()
        engine.followers.clear()
        # More than the newest orders that a subscription shows by itself.
        names = [f"order-{n}" for n in range(50)]
        for name in names:
            engine.place(name)
        await work(engine, ["before", *names], 0)
        seen = [await anext(events) for _ in range(51 * len(LIFE) - 1)]
    assert [e.seq for e in seen if e.order_id == "before"] == [2, 3, 4, 5]
    for name in names:
        assert views(seen, name) == engine.orders[name]


async def test_what_ended_before_the_given_time_is_left_out(engine: Engine, client: Client) -> None:
    engine.place("ended", START)
    await work(engine, ["ended"], 0)
    engine.place("moving", START)
    engine.place("new", START + timedelta(hours=2))
    since = START + timedelta(hours=1)
    following = asyncio.create_task(collect(client.follow_all(since=since), 2 * len(LIFE)))
    await work(engine, ["moving", "new"], 0.002)
    assert {e.order_id for e in await following} == {"moving", "new"}


async def test_a_lost_last_event_is_found_after_a_silence(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_QUIET_S", 0.05)
    engine.place("a")
    async with asyncio.timeout(30), aclosing(client.follow("a")) as events:
        assert (await anext(events)).seq == 1
        engine.followers.clear()  # from here on nothing is pushed
        await work(engine, ["a"], 0)
        assert [(await anext(events)).seq for _ in range(4)] == [2, 3, 4, 5]
    assert engine.opened == 1
    assert [message["after"] for message in engine.messages] == [0, 1]


async def test_a_quiet_stream_of_all_orders_is_kept_alive_by_pings(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_QUIET_S", 0.02)
    following = asyncio.create_task(collect(client.follow_all(), 1))
    await until(lambda: sum(message["action"] == "ping" for message in engine.messages) >= 3)
    engine.place("a")
    await engine.step("a")
    assert [e.seq for e in await following] == [1]
    assert engine.opened == 1


async def test_a_server_that_does_not_answer_is_left_for_a_new_connection(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_ANSWER_S", 0.05)
    engine.place("a")
    engine.silent = True
    following = asyncio.create_task(collect(client.follow("a"), 1))
    await until(lambda: engine.opened >= 3)
    engine.silent = False
    assert [e.seq for e in await following] == [1]


async def test_a_gap_that_is_never_closed_does_not_hide_behind_other_orders(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_ANSWER_S", 0.1)
    engine.place("a")
    engine.place("noisy")

    async def forget_a(socket: ServerConnection, message: Json) -> bool:
        return engine.opened == 1 and message.get("orderId") == "a"

    engine.on_message = forget_a
    async with asyncio.timeout(30), aclosing(client.follow_all()) as events:
        first = [await anext(events) for _ in range(2)]
        assert {e.order_id for e in first} == {"a", "noisy"}
        engine.orders["a"].append({"seq": 2, "status": "routing", "at": START.isoformat(), "attempt": 1})
        await engine.step("a")

        async def noise() -> None:
            while True:
                await asyncio.sleep(0.02)
                engine.orders["noisy"].append(engine.orders["noisy"][0] | {"seq": len(engine.orders["noisy"]) + 1})
                for socket in list(engine.followers):
                    await engine._push(socket, "noisy", engine.orders["noisy"][-1])

        noisy = asyncio.create_task(noise())
        seen: list[int] = []
        while len(seen) < 2:
            found = await anext(events)
            seen += [found.seq] if found.order_id == "a" else []
        noisy.cancel()
    assert seen == [2, 3]
    assert engine.opened == 2


async def test_an_unknown_order_is_an_error_and_not_a_wait(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        await collect(client.follow("nobody's"))
    assert caught.value.code == "order_not_found"


async def test_an_expired_ticket_is_replaced(engine: Engine, client: Client) -> None:
    engine.place("a")
    await work(engine, ["a"], 0)
    engine.refuse.add("old")
    found = await collect(client.follow("a", ws_url=f"{engine.ws_url}?ticket=old"))
    assert [e.seq for e in found] == [1, 2, 3, 4, 5]
    assert engine.tickets == 1


async def test_a_program_may_connect_with_its_key(engine: Engine) -> None:
    engine.place("a")
    await work(engine, ["a"], 0)
    async with Client("http://engine", "oek_test", ws_url=engine.ws_url, transport=engine.transport()) as client:
        assert len(await collect(client.follow("a"))) == len(LIFE)
    assert engine.tickets == 0
    async with Client("http://engine", "oek_other", ws_url=engine.ws_url, transport=engine.transport()) as client:
        with pytest.raises(ApiError) as caught:
            await collect(client.follow("a"))
    assert caught.value.code == "unauthorized"


async def test_a_refused_key_ends_the_stream_and_trouble_that_passes_does_not(engine: Engine, client: Client) -> None:
    engine.place("a")
    engine.answers = [httpx.Response(503), httpx.Response(503), httpx.Response(503), httpx.Response(429)]
    states: list[StreamState] = []
    assert len(await collect(client.follow("a", on_state=states.append), 1)) == 1
    assert [state.connected for state in states] == [False, False, True]
    engine.answers = [httpx.Response(401, json={"code": "unauthorized", "detail": "No."})]
    with pytest.raises(ApiError, match="No"):
        await collect(client.follow("a"))


async def test_a_stream_that_cannot_be_had_is_given_up(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_GIVE_UP_S", 0.1)
    engine.refuse |= {f"t{n}" for n in range(1000)}
    started = time.monotonic()
    with pytest.raises(Unreachable, match="403"):
        await collect(client.follow("a"))
    assert 0.1 < time.monotonic() - started < 5


async def test_waits_grow_with_each_failure_and_are_spread(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def most(most_s: float) -> float:
        asked.append(most_s)
        return 0.0

    monkeypatch.setattr(stream, "jitter", most)
    engine.refuse |= {f"t{n}" for n in range(1, 6)}
    engine.place("a")
    assert len(await collect(client.follow("a"), 1)) == 1
    assert asked == [0.002, 0.004, 0.008, 0.016, 0.02]
