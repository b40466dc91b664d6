"""The rate limit: the generic cell rate algorithm in the accounts table, and what the API says about it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from order_engine.aws.rates import DynamoRateLimiter
from order_engine.engine.rates import Allowance, Rate, RateLimited
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import counted, deployed, engine, resources, stored
from tests.support.http import Reply, request

ORDER: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}


def place(body: Any = ORDER, **more: Any) -> Reply:
    return request("POST", "/api/orders/execute", body=body, **more)


@pytest.mark.parametrize(("per_minute", "burst"), [(100, 100), (100, 7), (33, 1)])
def test_64_threads_at_one_moment_are_admitted_exactly_the_burst(deploy: Deploy, per_minute: int, burst: int) -> None:
    table = deploy().accounts_table
    shared = [DynamoRateLimiter(engine().stores.clients.dynamodb, table) for _ in range(4)]

    def one(number: int) -> bool:
        try:
            asyncio.run(shared[number % 4].admit("alice", Rate(per_minute, burst), 1_800_000_000_000))
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(64) as threads:
        admitted = sum(threads.map(one, range(320)))

    assert admitted == burst


class Model:
    """The algorithm as it is written in the book, in exact fractions of an interval."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.interval = 60_000_000 // rate.per_minute
        self.tat = 0

    def copy(self) -> Model:
        other = Model(self.rate)
        other.tat = self.tat
        return other

    def admit(self, now: int) -> bool:
        arrival = max(self.tat, now * 1000)
        if arrival - now * 1000 > self.interval * (self.rate.burst - 1):
            return False
        self.tat = arrival + self.interval
        return True


def admitted(accounts: DynamoRateLimiter, rate: Rate, now: int) -> Allowance | RateLimited:
    try:
        return event_loop().run_until_complete(accounts.admit("alice", rate, now))
    except RateLimited as error:
        return error


@with_settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 600),
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 50, 700, 5000]), st.booleans()), max_size=25),
)
def test_two_processes_together_admit_what_one_would(
    per_minute: int, burst: int, steps: list[tuple[int, bool]]
) -> None:
    rate, now = Rate(per_minute, burst), 1_800_000_000_000
    model = Model(rate)
    with deployed():
        processes = [DynamoRateLimiter(engine().stores.clients.dynamodb, resources().accounts_table) for _ in range(2)]
        for wait, second in steps:
            now += wait
            answer = admitted(processes[second], rate, now)
            assert model.admit(now) == isinstance(answer, Allowance)
            if isinstance(answer, Allowance):
                probe = model.copy()
                assert answer.remaining == sum(probe.admit(now) for _ in range(burst + 1))
            else:
                wait = answer.retry_after_ms
                assert model.copy().admit(now + wait)
                assert not model.copy().admit(now + wait - 1)


def test_who_sends_steadily_costs_one_write_an_order(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="5", ORDERS_PER_MINUTE="60")
    with counted() as calls:
        place()
        calls.count.clear()
        for wait in (100, 100, 900, 5000, 60_000, 1):
            clock.now += wait
            assert place().status == 202

    assert calls.count["UpdateItem accounts"] == 6


def test_the_answer_says_what_is_left_and_when_to_come_again(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="3", ORDERS_PER_MINUTE="60")

    answers = [place() for _ in range(4)]

    assert [answer.status for answer in answers] == [202, 202, 202, 429]
    assert [answer.headers["ratelimit"] for answer in answers[:3]] == [
        '"orders";r=2;t=1',
        '"orders";r=1;t=2',
        '"orders";r=0;t=3',
    ]
    refused = answers[3]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"orders";q=3;w=3'}
    # Everywhere the same: t is when the whole quota is there again, Retry-After when the next order is admitted.
    assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("1", '"orders";r=0;t=3')
    assert (refused.json["code"], refused.headers["content-type"]) == ("rate_limited", "application/problem+json")
    clock.now += 1000 * int(refused.headers["retry-after"])
    assert place().status == 202


def test_a_refused_or_invalid_order_costs_nothing(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="2", ORDERS_PER_MINUTE="60")

    for body in ({**ORDER, "amountIn": "0"}, {**ORDER, "tokenIn": "X"}, "{", {**ORDER, "expiresAt": "2020-01-01"}):
        assert place(body).status == 422
    limit = {**ORDER, "type": "limit", "limitPrice": "1", "expiresAt": "2020-01-01T00:00:00Z"}
    assert place(limit).status == 422
    assert [place().status for _ in range(4)] == [202, 202, 429, 429]
    clock.now += 1000
    assert [place().status for _ in range(2)] == [202, 429]


def test_a_replay_costs_nothing_and_is_answered_beyond_the_limit(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="3", ORDERS_PER_MINUTE="60")
    key = {"content-type": "application/json", "idempotency-key": "k"}
    first = place(headers=key)
    clock.now += 1

    replays = [place(headers=key) for _ in range(5)]
    conflict = place({**ORDER, "amountIn": "2"}, headers=key)
    others = [place().status for _ in range(3)]

    assert [reply.status for reply in replays] == [202] * 5
    assert {reply.text for reply in replays} == {first.text}
    assert (conflict.status, conflict.json["code"]) == (422, "idempotency_conflict")
    assert others == [202, 202, 429]
    assert place(headers=key).text == first.text
    assert place({**ORDER, "amountIn": "2"}, headers=key).status == 422


def test_users_do_not_share_a_limit_and_a_key_may_have_its_own(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="2", ORDERS_PER_MINUTE="60")
    own = {"lambda": {"userId": "carol", "scopes": "trade", "keyId": "c", "ordersPerMinute": "120"}}

    assert [place(user="alice").status for _ in range(3)] == [202, 202, 429]
    assert [place(user="bob").status for _ in range(3)] == [202, 202, 429]
    carols = [place(authorizer=own) for _ in range(5)]
    assert [reply.status for reply in carols] == [202, 202, 202, 202, 429]
    assert carols[0].headers["ratelimit-policy"] == '"orders";q=4;w=2'


def caller(per_minute: int | None = None, scopes: str = "trade read") -> dict[str, Any]:
    own = "" if per_minute is None else str(per_minute)
    return {"lambda": {"userId": "alice", "scopes": scopes, "keyId": "k", "ordersPerMinute": own}}


def test_a_key_with_its_own_rate_does_not_drain_its_siblings_bucket(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="3", ORDERS_PER_MINUTE="60")

    fast = [place(authorizer=caller(600)).status for _ in range(31)]
    default = [place(authorizer=caller()).status for _ in range(4)]
    slow = [place(authorizer=caller(20)).status for _ in range(2)]

    assert fast == [202] * 30 + [429]
    assert default == [202] * 3 + [429]
    assert slow == [202, 429]
    # Keys of one rate share it, and the default rate is one.
    assert place(authorizer=caller(600, "trade")).status == 429
    assert place(user="alice").status == 429


QUOTE = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}


def until_refused(method: str, path: str, **more: Any) -> tuple[int, Reply]:
    for number in range(200):
        reply = request(method, path, **more)
        if reply.status == 429:
            return number, reply
    raise AssertionError("never refused")


@pytest.mark.parametrize(
    ("method", "path", "query", "admitted"),
    [
        ("GET", "/api/quote", QUOTE, 6),
        ("GET", "/api/stats", {}, 6),
        ("GET", "/api/tokens", {}, 30),
        ("GET", "/api/orders", {"limit": "100"}, 2),
        ("GET", "/api/orders", {}, 10),
        ("GET", "/api/orders/0b5f", {}, 30),
        ("HEAD", "/api/orders/0b5f", {}, 30),
        ("POST", "/api/stream-tickets", {}, 30),
        ("DELETE", "/api/orders/0b5f", {}, 30),
    ],
)
def test_everything_that_is_asked_is_metered_by_what_it_costs(
    deploy: Deploy, clock: StandingClock, method: str, path: str, query: dict[str, str], admitted: int
) -> None:
    deploy(READS_PER_MINUTE="60", READS_BURST="30")

    number, refused = until_refused(method, path, query=query)

    assert number == admitted
    name = "cancellations" if method == "DELETE" else "reads"
    assert refused.headers["ratelimit-policy"] == f'"{name}";q=30;w=30'
    # Eight units are left of a list that costs eleven.
    left = 8 if query == {"limit": "100"} else 0
    assert refused.headers["ratelimit"] == f'"{name}";r={left};t={30 - left}'
    if method != "HEAD":
        assert refused.json["code"] == "rate_limited"
    clock.now += 1000 * int(refused.headers["retry-after"])
    assert request(method, path, query=query).status != 429
    assert request(method, path, query=query, user="bob").status != 429


def test_who_has_read_too_much_can_still_place_and_cancel(deploy: Deploy, clock: StandingClock) -> None:
    deploy(READS_PER_MINUTE="60", READS_BURST="10")
    order_id = place().json["orderId"]
    until_refused("GET", "/api/stats")

    assert request("DELETE", f"/api/orders/{order_id}").status == 200
    assert place().status == 202


def test_a_key_that_places_more_may_read_more_and_one_that_places_less_no_less(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy(ORDERS_PER_MINUTE="60", ORDERS_BURST="60", READS_PER_MINUTE="60", READS_BURST="10")

    path = "/api/orders/0b5f"
    assert until_refused("GET", path, authorizer=caller(600))[0] == 100
    assert until_refused("GET", path, authorizer=caller(1))[0] == 10
    assert request("GET", path, authorizer=caller()).status == 429


def test_replays_are_reads(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_BURST="1", ORDERS_PER_MINUTE="1", READS_PER_MINUTE="60", READS_BURST="10")
    key = {"content-type": "application/json", "idempotency-key": "k"}
    place(headers=key)

    replays = [place(headers=key) for _ in range(12)]

    assert [reply.status for reply in replays] == [202] * 10 + [429] * 2
    assert replays[-1].headers["ratelimit-policy"].startswith('"reads"')


def test_reading_costs_fewer_writes_than_reads(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    order_id = place().json["orderId"]
    with counted() as calls:
        for _ in range(200):
            assert request("GET", f"/api/orders/{order_id}").status == 200

    assert calls.count["GetItem orders"] == 200
    assert calls.count["UpdateItem accounts"] <= 20


def test_an_order_costs_one_rate_write_one_put_and_one_send(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    place()
    with counted() as calls:
        calls.count.clear()
        key = {"content-type": "application/json", "idempotency-key": "k"}
        assert place(headers=key).status == 202

    assert calls.count == {"UpdateItem accounts": 1, "PutItem orders": 1, "SendMessage": 1}
    # One write unit each, up to 1 KB; the order's entries in its two indexes cost one more each.
    for table in ("accounts", "orders"):
        for item in stored(table):
            assert sum(len(name) + len(str(value)) for name, value in item.items()) <= 1024
