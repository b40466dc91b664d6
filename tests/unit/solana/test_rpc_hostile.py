"""Nodes that mean harm, or are broken so that it makes no difference: by bytes, over a socket."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from order_engine.venues.solana.rpc import JsonRpc, NodeRefused, NodeUnavailable
from order_engine.venues.solana.transport import HttpAnswer, HttpTransport
from tests.unit.solana.nodes import refusal, told_node

KEY = "very-secret-key"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def read_request(one: socket.socket) -> None:
    """Take in the whole request: closing over bytes that nobody read resets the connection, and the answer is lost.

    Raises:
        OSError: the other end has gone.
    """
    request = b""
    while not (whole := re.match(rb"(?is)(.*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n)", request)) or (
        len(request) < len(whole[1]) + int(whole[2])
    ):
        more = one.recv(65536)
        if not more:
            raise ConnectionError("The other end has gone.")
        request += more


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and then has the word. Gives its address, with a key in path and query."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        def answer(one: socket.socket) -> None:
            with one:
                try:
                    read_request(one)
                    speak(one)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v2/{KEY}?api-key={KEY}"
        server.shutdown(socket.SHUT_RDWR)


async def test_a_body_that_drips_is_given_up_in_time_and_leaves_no_thread_behind() -> None:
    def drip(one: socket.socket) -> None:
        one.sendall(HEAD + b"Content-Length: 60000\r\n\r\n")
        for _ in range(200):
            one.sendall(b"x")
            time.sleep(0.05)

    with speaking(drip) as address:
        before = threading.active_count()
        rpc = JsonRpc([address], timeout_ms=200)
        began = time.monotonic()
        asked = await asyncio.gather(*(rpc.call("getSlot") for _ in range(8)), return_exceptions=True)
        assert time.monotonic() - began < 5
        assert {type(each) for each in asked} == {NodeUnavailable}
        await asyncio.sleep(1)
        # Threads of the pool stay, but they are free: so many more calls have their turn at once.
        began = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(8)))
        assert time.monotonic() - began < 2
        assert threading.active_count() <= before + 32


@pytest.mark.parametrize(
    "part",
    [b"H", b"HTTP/1.1 200 OK\r\nContent-Type: appl", HEAD + b"Content-Length: 100\r\n\r\n{"],
    ids=["the first line", "a header", "the body"],
)
async def test_nothing_that_drips_holds_a_thread(part: bytes) -> None:
    held = threading.Semaphore(0)

    def drip(one: socket.socket) -> None:
        one.sendall(part)
        try:
            for _ in range(600):
                time.sleep(0.05)
                one.sendall(b" ")
        finally:
            # Its other end was closed.
            held.release()

    with speaking(drip) as address:
        with pytest.raises(NodeUnavailable, match="no answer within 300 ms"):
            await JsonRpc([address], timeout_ms=300).call("getSlot")
        assert await asyncio.to_thread(held.acquire, timeout=15)


async def test_nodes_that_hold_every_thread_of_theirs_hold_nobody_elses() -> None:
    let_go = threading.Event()

    class Stuck:
        def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer:
            let_go.wait(30)
            return HttpAnswer(200, b"")

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    rpc = JsonRpc(["http://node.example"], timeout_ms=50, transport=Stuck())
    try:
        asked = [asyncio.create_task(rpc.call("getSlot")) for _ in range(100)]
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(lambda: 7) == 7
        assert {type(each) for each in await asyncio.gather(*asked, return_exceptions=True)} == {NodeUnavailable}
    finally:
        let_go.set()


async def test_an_answer_without_end_is_not_held() -> None:
    sent = 0

    def flood(one: socket.socket) -> None:
        nonlocal sent
        one.sendall(HEAD + b"Content-Length: 40000000\r\n\r\n")
        for _ in range(200):
            one.sendall(b"{}" * 100_000)
            sent += 200_000

    with speaking(flood) as address, pytest.raises(NodeUnavailable):
        await JsonRpc([address], timeout_ms=5000).call("getSlot")
    # What was read, and what the two ends' buffers hold.
    assert 0 < sent < 20_000_000


@pytest.mark.parametrize("head", [b"no header at all\r\n", b"Content-Length: x\r\n", b" folded: y\r\n"])
async def test_headers_that_cannot_be_read_put_no_address_into_the_log(
    head: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": 7}).encode()

    def answer(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"Connection: close\r\n\r\n" + body)

    with caplog.at_level(logging.WARNING), speaking(answer) as address:
        found = await asyncio.gather(JsonRpc([address]).call("getSlot"), return_exceptions=True)
    assert KEY not in str(found) + caplog.text + capfd.readouterr().err


def test_many_calls_at_once_put_no_address_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    at_once = 120

    def answer(one: socket.socket) -> None:
        time.sleep(0.5)
        one.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with caplog.at_level(logging.WARNING), speaking(answer) as address, ThreadPoolExecutor(at_once) as pool:
        transport = HttpTransport()
        answers = list(pool.map(lambda _: transport.post(address, b'{"id": 1}', 30), range(at_once)))
    assert {answer.status for answer in answers} == {200}
    assert "127.0.0.1" not in caplog.text


@pytest.mark.parametrize("before", [0, 150, 180, 185, 190, 199])
@pytest.mark.parametrize("key", [KEY, "ab%2Bcd%2Fef"])
async def test_a_key_that_a_node_repeats_is_hidden_wherever_it_stands(before: int, key: str) -> None:
    answer = refusal(-32002, "x" * before + f" the key {key} is over its limit")
    with told_node(answer) as node, pytest.raises(NodeRefused) as refused:
        await JsonRpc([node.url.replace("very-secret", key)]).call("getSlot")
    assert key[:6] not in str(refused.value)
