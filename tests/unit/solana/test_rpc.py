"""Asking nodes: over real HTTP, with nodes that are slow, broken, behind or no nodes at all."""

from __future__ import annotations

import asyncio
import json
import time
import traceback

import pytest

from order_engine.settings import SettingsError
from order_engine.venues.solana.rpc import JsonRpc, NodeRefused, NodeUnavailable, check_urls
from tests.unit.solana.nodes import Answer, in_turn, late, raw, refusal, result, told_node

GOOD = result({"blockHeight": 7})


async def test_a_result_is_what_the_node_said() -> None:
    with told_node(GOOD) as node:
        rpc = JsonRpc([node.url])
        assert await rpc.call("getEpochInfo", {"commitment": "confirmed"}) == {"blockHeight": 7}
        assert await rpc.call("getEpochInfo") == {"blockHeight": 7}
    assert [(asked["method"], asked["params"]) for asked in node.asked] == [
        ("getEpochInfo", [{"commitment": "confirmed"}]),
        ("getEpochInfo", []),
    ]


def refused_by(code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()


BROKEN: dict[str, tuple[Answer, str]] = {
    "html": (raw(200, b"<html>Welcome</html>"), "not JSON-RPC"),
    "html of a proxy": (raw(502, b"<html>Bad Gateway</html>"), "HTTP 502"),
    "a redirect": (raw(302, b""), "not JSON-RPC"),
    "nothing": (raw(200, b""), "not JSON-RPC"),
    "JSON, but no answer": (raw(200, b"[]"), "not JSON-RPC"),
    "an error that is none": (raw(200, b'{"error": "no"}'), "not JSON-RPC"),
    "deep JSON": (raw(200, b"[" * 100_000), "not JSON-RPC"),
    "a number without end": (raw(200, b'{"id": 1, "result": ' + b"9" * 10_000 + b"}"), "not JSON-RPC"),
    "a provider out of order": (raw(502, refused_by(-32003, "backend unavailable")), "out of order .HTTP 502"),
    "a plan that is used up": (raw(402, refused_by(-32010, "no credits left")), "out of order .HTTP 402"),
    "another request's answer": (raw(200, b'{"id": 99, "result": 1}'), "another request"),
    "too many requests": (raw(429, b"slow down"), "429"),
    "too many requests, as JSON": (raw(429, b'{"error": {"code": 429, "message": "slow down"}}'), "429"),
    "a wrong key": (raw(401, b'{"error": "unauthorized"}'), "gives no access .HTTP 401"),
    "a node without history": (refusal(-32011, "Transaction history is not available from this node"), "history"),
    "a node that is behind": (refusal(-32005, "Node is behind by 42 slots"), "behind by 42 slots"),
    "a backend that is away": (refusal(-32003, "backend unavailable"), "backend unavailable"),
    "an error of another request": (
        raw(200, json.dumps({"id": 99, "error": {"code": -32002, "message": "Simulation failed"}}).encode()),
        "another request",
    ),
    "an error of no request": (raw(200, b'{"id": null, "error": {"code": -32600, "message": "?"}}'), "another request"),
    "too many requests, of nobody": (raw(200, b'{"id": null, "error": {"code": 429, "message": "slow down"}}'), "429"),
    "a node without this slot yet": (refusal(-32016, "Minimum context slot has not been reached"), "Minimum"),
}


@pytest.mark.parametrize(("answer", "why"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_node_without_an_answer_is_named_by_number_and_the_next_is_asked(answer: Answer, why: str) -> None:
    with told_node(answer) as broken:
        with pytest.raises(NodeUnavailable, match=why) as alone:
            await JsonRpc([broken.url]).call("getSlot")
        assert "node 1" in str(alone.value)
        with told_node(GOOD) as good:
            rpc = JsonRpc([broken.url, good.url])
            assert await rpc.call("getSlot") == {"blockHeight": 7}
            # It rests for a while: the next call goes to the good one at once.
            before = len(broken.asked)
            assert await rpc.call("getSlot") == {"blockHeight": 7}
            assert len(broken.asked) == before


@pytest.mark.parametrize("code", [-32600, -32602, -32002, -32013, -32015])
async def test_what_is_wrong_with_the_request_is_wrong_everywhere(code: int) -> None:
    with told_node(refusal(code, "No.")) as node, told_node(GOOD) as other:
        with pytest.raises(NodeRefused):
            await JsonRpc([node.url, other.url]).call("getSlot")
        assert other.asked == []


@pytest.mark.parametrize("code", [-32601, -32004, -32009])
async def test_what_a_node_does_not_have_the_next_may_have_and_it_still_answers_other_questions(code: int) -> None:
    with told_node(refusal(code, "Not here.")) as node, told_node(GOOD) as other:
        rpc = JsonRpc([node.url, other.url])
        assert await rpc.call("getBlock", 7) == {"blockHeight": 7}
        node.answer = result(1)
        assert await rpc.call("getSlot") == 1


def seen_at(slot: int) -> Answer:
    return result({"context": {"slot": slot}, "value": slot})


async def test_a_node_that_answers_from_far_behind_is_left_for_another() -> None:
    with told_node(seen_at(1_000)) as stale, told_node(seen_at(1_400)) as fresh:
        rpc = JsonRpc([stale.url, fresh.url])
        for one in await rpc.apart():
            await one.call("getBalance")
        for _ in range(3):
            assert (await rpc.call("getBalance"))["value"] == 1_400
        assert len(stale.asked) <= 2
        # A little behind is nothing.
        stale.answer, fresh.answer = seen_at(1_480), seen_at(1_500)
        both = JsonRpc([stale.url, fresh.url])
        for one in await both.apart():
            await one.call("getBalance")
        assert (await both.call("getBalance"))["value"] == 1_480
        # Where all are behind, the one that is furthest counts.
        stale.answer, fresh.answer = seen_at(1_300), seen_at(1_200)
        assert (await both.call("getBalance"))["value"] == 1_300


async def test_a_node_that_stands_still_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 0.0
    clock = time.monotonic
    monkeypatch.setattr("order_engine.venues.solana.rpc.time.monotonic", lambda: clock() + passed)
    with told_node(seen_at(1_000)) as still, told_node(seen_at(1_090)) as fresh:
        rpc = JsonRpc([still.url, fresh.url])
        assert (await rpc.call("getBalance"))["value"] == 1_000
        passed = 20.0
        assert (await rpc.call("getBalance"))["value"] == 1_090
        # The whole chain stands still: what it says is all that there is; and one that was too far is forgotten.
        passed = 100.0
        assert (await rpc.call("getBalance"))["value"] in (1_000, 1_090)


async def test_a_node_that_refuses_the_request_itself_is_believed() -> None:
    answer = refusal(-32002, "Simulation failed\n  at once", {"err": {"InstructionError": [2, 6005]}})
    with told_node(answer) as node, told_node(GOOD) as other:
        with pytest.raises(NodeRefused, match=r"Simulation failed at once \(-32002\)") as refused:
            await JsonRpc([node.url, other.url]).call("sendTransaction", "AA==")
        assert (refused.value.code, refused.value.data) == (-32002, {"err": {"InstructionError": [2, 6005]}})
        assert other.asked == []


async def test_a_slow_node_costs_its_timeout_once() -> None:
    with told_node(late(8, GOOD)) as slow, told_node(GOOD) as good:
        rpc = JsonRpc([slow.url, good.url], timeout_ms=200)
        began = time.monotonic()
        assert await rpc.call("getSlot") == {"blockHeight": 7}
        assert await rpc.call("getSlot") == {"blockHeight": 7}
        assert time.monotonic() - began < 5
        with pytest.raises(NodeUnavailable, match="no answer within 200 ms"):
            await JsonRpc([slow.url], timeout_ms=200).call("getSlot")


async def test_a_busy_node_is_waited_for_if_it_asks_for_little_time() -> None:
    with told_node(in_turn(raw(429, b"slow down", Retry_After="1"), GOOD)) as busy:
        began = time.monotonic()
        assert await JsonRpc([busy.url], timeout_ms=1500).call("getSlot") == {"blockHeight": 7}
        assert time.monotonic() - began > 0.9
        assert len(busy.asked) == 2


async def test_a_busy_node_that_asks_for_long_is_left_alone() -> None:
    with told_node(in_turn(raw(429, b"slow down", Retry_After="30"), GOOD)) as busy, told_node(GOOD) as other:
        rpc = JsonRpc([busy.url])
        for _ in range(3):
            with pytest.raises(NodeUnavailable, match="too many requests"):
                await rpc.call("getSlot")
        assert len(busy.asked) == 1
        both = JsonRpc([busy.url, other.url])
        busy.answer = raw(429, b"slow down", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
        for _ in range(3):
            assert await both.call("getSlot") == {"blockHeight": 7}
        assert len(busy.asked) == 2


async def test_whoever_gives_up_waiting_begins_with_another_node() -> None:
    with told_node(late(8, GOOD)) as slow, told_node(GOOD) as good:
        rpc = JsonRpc([slow.url, good.url], timeout_ms=600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await rpc.call("getSlot")
        began = time.monotonic()
        assert await rpc.call("getSlot") == {"blockHeight": 7}
        assert time.monotonic() - began < 5


async def test_nobody_there_is_said_without_the_address() -> None:
    with told_node(GOOD) as gone:
        url = gone.url
    with pytest.raises(NodeUnavailable, match="cannot be reached") as error:
        await JsonRpc([url]).call("getSlot")
    told = "".join(traceback.format_exception(error.value))
    assert "very-secret" not in told
    assert "127.0.0.1" not in told


async def test_a_node_that_repeats_the_key_is_not_quoted() -> None:
    said = refusal(-32600, "The key very-secret has no access to /?api-key=very-secret")
    with told_node(said) as node, pytest.raises(NodeRefused, match="has no access") as error:
        await JsonRpc([node.url]).call("getSlot")
    assert "very-secret" not in "".join(traceback.format_exception(error.value))


def test_addresses_are_read_from_a_setting() -> None:
    assert check_urls(" https://a.example/k , http://127.0.0.1:8899,", "RPC_URL") == (
        "https://a.example/k",
        "http://127.0.0.1:8899",
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", " , ", "a.example", "ftp://a.example", "https://", "https://a.example,secret-key"),
        *("https://user:secret@ho\u2100st/", "https://[secret]/x", "https://a.example/secret,https://a.example/secret"),
    ],
)
def test_an_address_that_is_none_is_named_by_its_place(text: str) -> None:
    with pytest.raises(SettingsError, match="RPC_URL") as error:
        check_urls(text, "RPC_URL")
    assert "secret" not in "".join(traceback.format_exception(error.value)).replace(repr(text), "")
