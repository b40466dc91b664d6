"""What a stranger's bytes may do to the local stack: nothing that is not answered, kept without end, or logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import create_server
from typing import cast
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web
from websockets.asyncio.client import ClientConnection, connect

from local.functions import Functions
from local.gateway import Api, Gatekeeper, Route
from local.stack import Stack
from local.websocket_api import MAX_BACKLOG, MAX_UNDER_WAY, WebSocketApi
from tests.integration.sample import template as sample
from tests.integration.sample.sockets import ask, socket

KEY = "oek_nobody-may-read-this-in-a-log"

MALFORMED = [
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\x01\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {KEY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\n Authorization: Bearer {KEY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: x\r\n\r\n",
    f"GET / HTTP/9.9\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n",
    f"GET /?key={KEY} HTTP\r\nHost: x\r\n\r\n",
    f"{KEY} / HTTP/1.1\x00\r\nHost: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}{'x' * 20_000}\r\n\r\n",
    f"Authorization: Bearer {KEY}\r\n\r\n",
]


async def answer(url: str, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request.encode("latin-1"))
    try:
        async with asyncio.timeout(30):
            return await reader.read(4096)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("port", ["http_url", "ws_url", "aws_url"])
async def test_a_malformed_request_is_refused_and_leaves_no_key_in_the_log(
    port: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.INFO)
    async with Stack(sample.template(sample.http() | sample.websocket())) as stack:
        for request in MALFORMED:
            assert (await answer(getattr(stack, port), request)).startswith(b"HTTP/1.")
        # It goes on.
        assert (await answer(getattr(stack, port), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 ")
    formatter = logging.Formatter()
    assert [line for record in caplog.records if KEY in (line := formatter.format(record))] == []


async def test_however_deep_a_message_is_it_gets_an_answer() -> None:
    async with Stack(sample.template(sample.websocket())) as stack, socket(stack) as client:
        for deep in ("[" * 100_000, '{"action":' * 10_000, "[" * 50_000 + "]" * 50_000):
            assert (await ask(client, deep))["requestContext"]["routeKey"] == "$default"


class Busy:
    """Functions that never come to an end; counts what was begun."""

    def __init__(self) -> None:
        self.begun = 0

    async def invoke(self, name: str, event: object, *, wait: bool = True) -> object:
        self.begun += 1
        await asyncio.sleep(3600)
        return {}


@asynccontextmanager
async def served(functions: Busy) -> AsyncIterator[tuple[WebSocketApi, int]]:
    """A WebSocket API of one route, and its port."""
    route = Route("$default", "function", None, responds=False)
    api = WebSocketApi(Api("api", "live", (route,)), cast(Functions, functions), cast(Gatekeeper, None))
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listening = create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    try:
        yield api, listening.getsockname()[1]
    finally:
        await api.stop()
        await runner.cleanup()


async def test_a_socket_that_does_not_read_is_closed_before_it_fills_the_memory() -> None:
    frame = b"x" * 100_000
    async with (
        served(Busy()) as (api, port),
        connect(f"ws://127.0.0.1:{port}/live", proxy=None, compression=None, max_queue=1) as client,
        connect(f"ws://127.0.0.1:{port}/live", proxy=None) as other,
        ClientSession(f"http://127.0.0.1:{port}") as http,
        asyncio.timeout(20),
    ):
        client.transport.pause_reading()
        lazy, busy = api.connections()

        async def post(connection_id: str) -> int:
            async with http.post(f"/live/@connections/{quote(connection_id, safe='')}", data=frame) as answer:
                return answer.status

        # Nobody waits for one before the next: all that comes must not be kept.
        statuses = await asyncio.gather(*(post(lazy) for _ in range(300)))

        assert statuses.count(410) > 100
        # What the kernel holds on both sides, and what may wait here.
        assert statuses.count(200) * len(frame) < MAX_BACKLOG + 12 * 1024 * 1024
        assert api.connections() == [busy]
        assert await post(busy) == 200
        assert await other.recv() == frame.decode()


async def test_a_socket_that_sends_without_end_is_read_no_faster_than_it_is_served() -> None:
    """Each message that waits takes memory, and a turn of the function from somebody else."""
    busy = Busy()
    async with served(busy) as (_, port):
        address = f"ws://127.0.0.1:{port}/live"
        async with connect(address, proxy=None, compression=None) as client, connect(address, proxy=None) as other:
            sending = asyncio.create_task(_flood(client))
            await asyncio.sleep(0.5)
            assert 0 < busy.begun <= MAX_UNDER_WAY
            # Nobody else waits for that.
            await other.send("{}")
            await asyncio.sleep(0.2)
            assert busy.begun <= MAX_UNDER_WAY + 1
            sending.cancel()


async def _flood(client: ClientConnection) -> None:
    for n in range(2000):
        await client.send(json.dumps({"n": n}))
