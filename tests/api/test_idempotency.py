"""The Idempotency-Key: one key is one order, however often and however closely together it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from local.cloud.services import Answer
from order_engine.engine.place import order_id_for
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import services, stored
from tests.support.http import Reply, request

ORDER: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
LIMIT: dict[str, Any] = {**ORDER, "type": "limit", "limitPrice": "9999"}


def place(key: str, body: Any = ORDER, **more: Any) -> Reply:
    return request(
        "POST",
        "/api/orders/execute",
        body=body,
        headers={"content-type": "application/json", "idempotency-key": key},
        **more,
    )


@pytest.mark.parametrize("posts", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_posts_with_one_key_are_one_order_with_one_answer(deploy: Deploy, clock: StandingClock, posts: int) -> None:
    # A replay is a read, and read limits are not what this is about.
    deploy(ORDERS_BURST="1000", ORDERS_PER_MINUTE="60", READS_BURST="100000", READS_PER_MINUTE="100000")
    place("warm", user="another")

    with ThreadPoolExecutor(32) as threads:
        replies = list(threads.map(lambda _: place("one"), range(posts)))

    assert {reply.status for reply in replies} == {202}
    assert len({reply.text for reply in replies}) == 1
    # The clock stands: all of them come within one millisecond, and one of them only was the first.
    assert [reply.headers.get("idempotent-replayed") for reply in replies].count(None) == 1
    assert [item["order_id"]["S"] for item in stored() if item["user_id"]["S"] == "alice"] == [
        replies[0].json["orderId"]
    ]


def test_of_two_bodies_at_the_same_moment_one_wins_and_the_other_is_told(deploy: Deploy, clock: StandingClock) -> None:
    deploy()

    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda n: place("one", {**ORDER, "amountIn": str(1 + n % 2)}), range(64)))

    accepted = {reply.json["orderId"] for reply in replies if reply.status == 202}
    refused = {reply.json["code"] for reply in replies if reply.status == 422}
    assert len(accepted) == 1
    assert refused == {"idempotency_conflict"}
    assert sum(reply.status == 202 for reply in replies) == 32


def test_an_order_whose_acceptance_was_not_answered_is_no_replay_to_the_call_that_made_it(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy()
    lost: list[str] = []

    def losing(target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        answer = services().answer(target, headers, body)
        if target.endswith(".PutItem") and not lost:
            lost.append(target)
            raise ReadTimeoutError(endpoint_url="https://dynamodb")
        return answer

    services().attach(losing)
    first = place("k")

    assert (first.status, lost) == (202, ["DynamoDB_20120810.PutItem"])
    assert "idempotent-replayed" not in first.headers
    assert place("k").headers["idempotent-replayed"] == "true"
    assert len(stored()) == 1


def test_a_replay_answers_the_status_at_acceptance(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    first = place("k", LIMIT)
    clock.now += 5
    request("DELETE", f"/api/orders/{first.json['orderId']}")

    again = place("k", LIMIT)

    assert first.json["status"] == "open"
    assert again.text == first.text
    assert (again.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)


def test_a_replay_after_the_order_has_expired_is_still_a_replay(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    body = {**LIMIT, "expiresAt": "2027-01-15T08:00:01Z"}
    first = place("k", body)
    clock.now += 2_000

    assert first.status == 202
    assert place("k", body).json["orderId"] == first.json["orderId"]
    late = place("another", body)
    assert (late.status, late.json["field"]) == (422, "expiresAt")


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "tab\t", "ümlaut"])
def test_a_key_that_is_none_is_refused(deploy: Deploy, key: str) -> None:
    deploy()

    reply = place(key)

    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")
    assert stored() == []


def test_a_key_of_255_characters_is_taken(deploy: Deploy) -> None:
    deploy()

    assert place("k" * 255).status == 202


def test_users_do_not_share_keys(deploy: Deploy) -> None:
    deploy()

    assert place("k", user="alice").json["orderId"] != place("k", user="bob").json["orderId"]
    assert len(stored()) == 2
    assert json.dumps(stored()).count('"k"') == 0


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_pairs_of_user_and_key_name_one_order(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (order_id_for(*one) == order_id_for(*other)) == (one == other)
