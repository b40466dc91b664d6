"""``ConnectionStore``, ``StatisticsStore``, ``OrderQueue``, ``KeyStore``, ``KeyUse`` and ``RateLimiter``."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_engine.aws.queue import NotSent
from order_engine.domain.errors import InvalidInput
from order_engine.domain.order import OrderRef, Status
from order_engine.engine.accounts import new_key
from order_engine.engine.ports import Connection, ConnectionGone, ConnectionStore, TooManyOrders
from order_engine.engine.rates import Rate, RateLimited
from order_engine.engine.stats import Tally, bucket
from order_engine.wire import messages
from tests.contract.conftest import Services
from tests.support.orders import T0

_USERS = itertools.count()

# --- connections ---------------------------------------------------------------------------------------------------


def _socket(user: str = "user", name: str = "socket", **more: Any) -> Connection:
    return Connection(user, name, **more)


async def _follow(store: ConnectionStore, order_id: str, *, known: int = 0, most: int = 100, now: int = T0) -> None:
    await store.follow("user", "socket", order_id, known=known, most=most, now=now)


async def test_a_socket_follows_what_it_subscribed_to(services: Services) -> None:
    store = services.connections
    opened = _socket(only="one", key_id="key", since=T0 - 5)
    await store.add(opened, expires_at=T0)
    assert list(await store.of_user("user")) == [opened]
    await _follow(store, "one", known=3)
    await _follow(store, "two")
    await _follow(store, "one", known=5)
    (socket,) = await store.of_user("user")
    assert socket == replace(opened, orders={"one": 5, "two": 0})
    assert not socket.follows("three")
    await store.follow_all("user", "socket", now=T0)
    (socket,) = await store.of_user("user")
    assert socket.follows("three")
    await store.unfollow("user", "socket", ["one", "never"])
    await store.unfollow("user", "socket", [])
    (socket,) = await store.of_user("user")
    assert dict(socket.orders) == {"two": 0}


async def test_a_socket_follows_no_more_orders_than_it_may(services: Services) -> None:
    store = services.connections
    await store.add(_socket(), expires_at=T0)
    for name in ("a", "b", "c"):
        await _follow(store, name, most=3)
    with pytest.raises(TooManyOrders):
        await _follow(store, "d", most=3)
    # One that it follows already is no more.
    await _follow(store, "b", known=7, most=3)
    (socket,) = await store.of_user("user")
    assert dict(socket.orders) == {"a": 0, "b": 7, "c": 0}
    await store.unfollow("user", "socket", ["a"])
    await _follow(store, "d", most=3)


async def test_sockets_are_those_of_the_user_and_gone_when_removed(services: Services) -> None:
    store = services.connections
    for user, socket in (("user", "a"), ("user", "b"), ("other", "c")):
        await store.add(_socket(user, socket), expires_at=T0)
    assert {socket.connection_id for socket in await store.of_user("user")} == {"a", "b"}
    await store.remove("user", "a")
    await store.remove("user", "a")
    assert [socket.connection_id for socket in await store.of_user("user")] == ["b"]
    assert list(await store.of_user("nobody")) == []


async def test_all_sockets_of_a_user_are_found_however_many_there_are(services: Services) -> None:
    expected = {f"socket{number}" for number in range(8)}
    for name in expected:
        await services.connections.add(Connection("user", name), expires_at=T0)
    found = [socket.connection_id for socket in await services.connections.of_user("user")]
    assert sorted(found) == sorted(expected)


async def test_a_removed_socket_cannot_subscribe_and_does_not_come_back(services: Services) -> None:
    store = services.connections
    await store.add(_socket(), expires_at=T0)
    await store.remove("user", "socket")
    with pytest.raises(ConnectionGone):
        await _follow(store, "order")
    with pytest.raises(ConnectionGone):
        await store.follow_all("user", "socket", now=T0)
    await store.unfollow("user", "socket", ["order"])
    assert list(await store.of_user("user")) == []


async def test_a_revoked_keys_sockets_are_nobodys_from_that_moment(services: Services) -> None:
    store = services.connections
    for user, name, key in (("user", "socket", "bad"), ("user", "b", "good"), ("other", "c", "bad"), ("user", "d", "")):
        await store.add(_socket(user, name, key_id=key), expires_at=T0 + 9)
    await _follow(store, "order")

    ended = await store.revoke("user", "bad", T0, expires_at=T0 + 9)

    assert [socket.connection_id for socket in ended] == ["socket"]
    assert {socket.connection_id for socket in await store.of_user("user")} == {"b", "d"}
    assert [socket.connection_id for socket in await store.of_user("other")] == ["c"]
    with pytest.raises(ConnectionGone):
        await _follow(store, "another", now=T0)
    # One that was on its way when the key was revoked.
    await store.add(_socket(name="late", key_id="bad"), expires_at=T0 + 9)
    assert {socket.connection_id for socket in await store.of_user("user")} == {"b", "d"}
    assert [(one.user_id, one.connection_id) for one in await store.ended(T0, limit=9)] == [("user", "socket")]
    await store.revoke("user", "bad", T0 + 1, expires_at=T0 + 9)
    found = await store.ended(T0 + 1, limit=9)
    assert {one.connection_id for one in found} == {"socket", "late"}


async def test_what_ends_with_its_key_is_found_then_and_not_before(services: Services) -> None:
    store = services.connections
    ends = {"a": T0 + 5, "socket": T0 + 10, "c": T0 + 1_000, "never": None, "after": T0 + 10_000}
    for name, ends_at in ends.items():
        await store.add(_socket(name=name, ends_at=ends_at), expires_at=T0 + 5_000)

    async def found(now: int, limit: int = 9) -> list[tuple[str, int | None]]:
        return [(one.connection_id, one.ends_at) for one in await store.ended(now, limit=limit)]

    assert await found(T0 + 4) == []
    assert await found(T0 + 10) == [("a", T0 + 5), ("socket", T0 + 10)]
    assert await found(T0 + 10, limit=1) == [("a", T0 + 5)]
    # Those that would be gone before anyway are not looked for.
    assert await found(T0 + 10**9) == [("a", T0 + 5), ("socket", T0 + 10), ("c", T0 + 1_000)]
    await _follow(store, "order", now=T0 + 9)
    with pytest.raises(ConnectionGone):
        await _follow(store, "order", now=T0 + 10)
    with pytest.raises(ConnectionGone):
        await store.follow_all("user", "socket", now=T0 + 10)
    await store.remove("user", "a")
    assert await found(T0 + 10) == [("socket", T0 + 10)]


# --- statistics ----------------------------------------------------------------------------------------------------


def _tally(
    number: int, status: Status = Status.CONFIRMED, venue: str | None = "raydium", *, at: int = T0, seq: int = 5
) -> Tally:
    return Tally(f"order{number}", seq, at, status, venue, 2_500)


async def test_finished_orders_are_counted_by_status_venue_and_latency(services: Services) -> None:
    await services.statistics.count("user", [_tally(1), _tally(2, Status.FAILED, None)])
    services.catch_up()
    totals = await services.statistics.of_user("user")
    assert totals.by_status == {"confirmed": 1, "failed": 1}
    assert totals.by_venue == {"raydium": 1}
    assert totals.latency_counts == {bucket(2_500): 2}
    assert (await services.statistics.of_user("nobody")).by_status == {}


async def test_a_batch_that_comes_again_is_counted_once_also_when_it_overlaps(services: Services) -> None:
    store = services.statistics
    await store.count("user", [_tally(1), _tally(2)])
    await store.count("user", [_tally(1), _tally(2)])
    await store.count("user", [_tally(2), _tally(3), _tally(4)])
    await store.count("user", [_tally(3)])
    services.catch_up()
    assert (await store.of_user("user")).by_status == {"confirmed": 4}


async def test_the_order_of_batches_does_not_matter(services: Services) -> None:
    """Two shards have their own pace: what ended first may be counted last."""
    store = services.statistics
    await store.count("user", [_tally(3, at=T0 + 2), _tally(4, at=T0 + 90_000)])
    await store.count("user", [_tally(1), _tally(2, at=T0 + 1)])
    await store.count("user", [_tally(4, at=T0 + 90_000)])
    services.catch_up()
    assert (await store.of_user("user")).by_status == {"confirmed": 4}


async def test_two_events_of_one_order_are_two(services: Services) -> None:
    store = services.statistics
    fired = Tally("order", 2, T0, Status.PENDING, None, 0, Status.OPEN)
    for number in range(3):
        await store.count("user", [Tally(f"order{number or ''}", 1, T0, Status.OPEN, None, 0)])
    await store.count("user", [fired])
    await store.count("user", [fired])
    services.catch_up()
    assert (await store.of_user("user")).by_stage == {"open": 2}
    services.catch_up()
    assert (await store.of_user("us")).by_stage == {}


async def test_a_large_batch_is_counted_whole_and_once(services: Services) -> None:
    tallies = [_tally(number, at=T0 + number * 20) for number in range(250)]
    for part in (tallies[:120], tallies, tallies[100:]):
        await services.statistics.count("user", part)
    services.catch_up()
    assert (await services.statistics.of_user("user")).by_status == {"confirmed": 250}


async def test_counts_of_days_add_up(services: Services) -> None:
    """Whatever is forgotten of single events, their numbers stay."""
    hours = [0, 1, 1, 5, 30, 200]
    for number, hour in enumerate(hours):
        for _ in range(2):
            await services.statistics.count("user", [_tally(number, at=T0 + hour * 3_600_000)])
    services.catch_up()
    assert (await services.statistics.of_user("user")).by_status == {"confirmed": len(hours)}
    services.catch_up()
    assert (await services.statistics.of_user("user")).by_venue == {"raydium": len(hours)}


@st.composite
def _deliveries(draw: st.DrawFn) -> list[list[int]]:
    """Batches in which the records of several shards arrive: in order per shard, some again, side by side."""
    shards = [
        [n for n in range(12) if n % count == shard] for count in [draw(st.integers(1, 3))] for shard in range(count)
    ]
    queues: list[list[list[int]]] = []
    for records in shards:
        batches, start = [], 0
        while start < len(records):
            end = draw(st.integers(start + 1, len(records)))
            batches += [records[start:end]] * draw(st.integers(1, 3))
            # What was counted may come again with what follows it.
            start = end if end == len(records) else draw(st.integers(start + 1, end))
        queues.append(batches)
    delivered = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        delivered.append(queue.pop(0))
    return delivered


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_deliveries(), st.lists(st.integers(0, 50_000), min_size=12, max_size=12))
async def test_each_order_is_counted_once_however_its_users_records_are_split(
    services: Services, delivered: list[list[int]], gaps: list[int]
) -> None:
    user = f"user{next(_USERS)}"
    tallies = [_tally(n, at=T0 + sum(gaps[: n + 1])) for n in range(12)]
    for batch in delivered:
        await services.statistics.count(user, [tallies[n] for n in batch])
    services.catch_up()
    assert (await services.statistics.of_user(user)).by_status == {"confirmed": 12}


async def test_two_shards_may_count_at_the_same_moment(services: Services) -> None:
    tallies = [_tally(number) for number in range(40)]
    batches = [tallies[start : start + 10] for start in range(0, 40, 5)]

    def count(batch: list[Tally]) -> None:
        asyncio.run(services.statistics.count("user", batch))

    threads = [threading.Thread(target=count, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.catch_up()
    assert (await services.statistics.of_user("user")).by_status == {"confirmed": 40}


# --- the order queue -----------------------------------------------------------------------------------------------


async def test_what_is_sent_is_received(services: Services) -> None:
    refs = [OrderRef("user", f"order{number}") for number in range(23)]
    await services.queue.send(refs[:1])
    await services.queue.send(refs[1:])
    received: set[OrderRef] = set()
    for _ in range(20):
        received |= {messages.decode(body) for body, _ in services.receive()}
    assert received == set(refs)


async def test_a_received_message_is_hidden_and_comes_again_when_it_is_told_to(services: Services) -> None:
    await services.queue.send([OrderRef("user", "order")])
    ((_, receipt),) = services.receive()
    assert services.receive() == []
    assert dict(await services.queue.depth()) == {"visible": 0, "in_flight": 1, "delayed": 0, "dead": 0}
    assert await services.queue.held() == (0, 1)
    # Less than a second is rounded down to none: the worker waits the rest out itself.
    await services.queue.hide(receipt, 999)
    assert len(services.receive()) == 1


async def test_a_message_is_hidden_for_as_long_as_a_queue_can_and_no_error_is_made_of_more(services: Services) -> None:
    """A year, for example: an order that may not be tried again before then. A queue hides for twelve hours at most."""
    await services.queue.send([OrderRef("user", "order")])
    ((_, receipt),) = services.receive()
    await services.queue.hide(receipt, 365 * 86_400_000)
    assert services.receive() == []


@pytest.mark.parametrize("number", [1, 2, 25])
async def test_whoever_sends_hears_that_not_all_was_taken(services: Services, number: int) -> None:
    refs = [OrderRef("user", f"order{n}") for n in range(number)]
    services.refused.add(refs[-1].order_id)
    with pytest.raises((NotSent, ClientError, ConnectionError)):
        await services.queue.send(refs)
    received: set[OrderRef] = set()
    for _ in range(10):
        received |= {messages.decode(body) for body, _ in services.receive()}
    assert received <= set(refs[:-1])


async def test_depths_are_counted(services: Services) -> None:
    await services.queue.send([OrderRef("user", "a"), OrderRef("user", "b")])
    assert dict(await services.queue.depth()) == {"visible": 2, "in_flight": 0, "delayed": 0, "dead": 0}
    assert await services.queue.held() == (2, 2)


async def test_what_cannot_be_read_is_kept_as_it_came(services: Services) -> None:
    await services.mailbox.keep('not json "at all"', "The message is not JSON.")
    assert services.kept() == ['not json "at all"']


# --- keys and the rate limit ---------------------------------------------------------------------------------------


async def test_a_key_is_found_by_its_hash_listed_and_revoked_once(services: Services) -> None:
    store = services.keys
    _, key = new_key("user", T0, name="bot", orders_per_minute=7, max_sockets=3, max_open_orders=5, by="the operator")
    _, other = new_key("other", T0)
    await store.add_key(key)
    await store.add_key(other)
    assert await store.find_key(key.key_hash) == key
    assert await store.find_key("0" * 64) is None
    assert list(await store.list_keys("user")) == [key]
    assert len(await store.list_keys(None)) == 2
    with pytest.raises(InvalidInput):
        await store.add_key(key)
    revoked = await store.revoke_key(key.key_id, T0 + 5, "the operator")
    again = await store.revoke_key(key.key_id, T0 + 9, "another")
    assert revoked == again == await store.find_key(key.key_hash)
    assert revoked is not None
    assert (revoked.revoked_at, revoked.revoked_by, revoked.created_by) == (T0 + 5, "the operator", "the operator")
    assert not revoked.valid(T0 + 5)
    assert await store.revoke_key("no such key", T0, "the operator") is None


async def test_a_use_is_known_to_the_hour_and_written_no_more_often(services: Services) -> None:
    use, hour = services.key_use, 3_600_000
    for now in (T0, T0 + 1, T0 + hour - 1):
        await use.note("one", now)
    services.catch_up()
    assert await use.last_used(["one", "two"]) == {"one": T0}
    await use.note("one", T0 + hour)
    await use.note("two", T0 + hour)
    services.catch_up()
    assert await use.last_used(["one", "two", "one"]) == {"one": T0 + hour, "two": T0 + hour}
    assert await use.last_used([]) == {}


async def test_a_burst_is_admitted_and_what_comes_after_it_waits_one_interval(services: Services) -> None:
    rate = Rate(per_minute=60, burst=5)
    for _ in range(5):
        await services.rates.admit("user", rate, T0)
    with pytest.raises(RateLimited) as refused:
        await services.rates.admit("user", rate, T0)
    assert refused.value.retry_after_ms == 1000
    await services.rates.admit("user", rate, T0 + 1000)
    with pytest.raises(RateLimited):
        await services.rates.admit("user", rate, T0 + 1000)
    await services.rates.admit("another", rate, T0)


async def test_units_are_admitted_together_or_not_at_all(services: Services) -> None:
    rate = Rate(per_minute=60, burst=5)
    left = await services.rates.admit("user", rate, T0, units=3)
    assert (left.remaining, left.full_after_ms) == (2, 3000)
    with pytest.raises(RateLimited) as refused:
        await services.rates.admit("user", rate, T0, units=4)
    assert (refused.value.retry_after_ms, refused.value.full_after_ms) == (2000, 3000)
    left = await services.rates.admit("user", rate, T0 + 2000, units=4)
    assert (left.remaining, left.full_after_ms) == (0, 5000)
    # Long behind the clock, the burst is whole again and no larger.
    left = await services.rates.admit("user", rate, T0 + 60_000, units=5)
    assert left.remaining == 0


async def test_buckets_of_one_user_are_counted_apart(services: Services) -> None:
    for rate in (Rate(60, 1), Rate(60, 1, own=True), Rate(120, 1, own=True), Rate(60, 1, "reads")):
        await services.rates.admit("user", rate, T0)
        with pytest.raises(RateLimited):
            await services.rates.admit("user", rate, T0)
        await services.rates.give_back("user", rate, T0)
        await services.rates.admit("user", rate, T0)


def test_twenty_threads_admit_exactly_the_burst(services: Services) -> None:
    rate = Rate(per_minute=60, burst=30)
    barrier = threading.Barrier(20)
    admitted: list[bool] = []

    def ask() -> None:
        barrier.wait()
        for _ in range(4):
            try:
                asyncio.run(_admit())
            except RateLimited:
                continue
            admitted.append(True)

    async def _admit() -> None:
        await services.rates.admit("user", rate, T0)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(admitted) == 30
