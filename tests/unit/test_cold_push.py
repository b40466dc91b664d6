"""The first frames of a cold process: the way to the gateway is slow, and no socket is to blame for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials

from order_engine.aws import clients
from order_engine.aws import endpoint as endpoints
from order_engine.aws.endpoint import Endpoint
from order_engine.aws.push import ApiGatewayPush
from order_engine.engine import push
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Connection, GatewayUnreachable
from order_engine.engine.push import PushEvents
from order_engine.engine.stats import StatisticsStore
from order_engine.wire.views import event_frame, snapshot_frames
from tests.infra.authority import https_server, issue
from tests.support.clock import StandingClock
from tests.support.sockets import USER, NoStatistics, Sockets, changes_of, new_order

# A frame's limit here, and what a handshake takes: several times that.
FRAME_MS, HANDSHAKE_S = 250, 0.6


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Way:
    """What lies between a client and a server: a handshake passes after a while, and so does each answer."""

    def __init__(self) -> None:
        self.opening_s = 0.0
        self.answer_s = 0.0
        self.opened = 0


@asynccontextmanager
async def between(server: str, way: Way) -> AsyncIterator[str]:
    """The address of a way to a TLS server."""
    port = urlsplit(server).port

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way.opened += 1
        hello = await reader.read(65_536)
        await asyncio.sleep(way.opening_s)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        back.write(hello)

        async def answers() -> None:
            while data := await there.read(65_536):
                await asyncio.sleep(way.answer_s)
                writer.write(data)

        await asyncio.gather(_copy(reader, back), answers(), return_exceptions=True)
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"https://localhost:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


@asynccontextmanager
async def gateway(directory: Path) -> AsyncIterator[tuple[Endpoint, Way]]:
    """A gateway that takes every frame, over a way that may be slow."""
    root = issue("root")
    roots, way = directory / "roots.pem", Way()
    roots.write_text(root.pem)
    with https_server(root, directory) as server:
        async with between(server, way) as url:
            asked = Endpoint(f"{url}/live", "execute-api", "us-east-1", Credentials("id", "secret"), str(roots))
            try:
                yield asked, way
            finally:
                asked.close()


def pushing(sockets: Sockets, asked: Endpoint) -> PushEvents:
    statistics = cast(StatisticsStore, NoStatistics())
    frames = (event_frame, snapshot_frames)
    return PushEvents(sockets.store, ApiGatewayPush(asked), statistics, *frames, StandingClock(), Silent())


async def test_a_slow_handshake_closes_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "_POST_MS", FRAME_MS)
    sockets = Sockets()
    sockets.know(*(Connection(USER, name, follows_all=True) for name in ("a", "b", "c")))
    async with gateway(tmp_path) as (asked, way):
        way.opening_s = HANDSHAKE_S
        assert await pushing(sockets, asked)(changes_of(new_order("order"))) == []
    assert way.opened == 3
    assert sockets.known == {"a", "b", "c"}


async def test_what_is_slow_on_an_open_connection_is_the_socket(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (asked, way):
        pushed = ApiGatewayPush(asked)
        way.opening_s = HANDSHAKE_S
        await pushed.post("socket", b"first", within_ms=FRAME_MS)
        await pushed.post("socket", b"next", within_ms=FRAME_MS)
        assert way.opened == 1
        way.answer_s = HANDSHAKE_S
        with pytest.raises(TimeoutError):
            await pushed.post("socket", b"slow", within_ms=FRAME_MS)


async def test_a_gateway_out_of_reach_costs_no_socket_and_its_records_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "_OPEN_S", 0.1)
    sockets = Sockets()
    sockets.know(*(Connection(USER, name, follows_all=True) for name in ("a", "b")))
    changes = changes_of(new_order("order"))
    async with gateway(tmp_path) as (asked, way):
        way.opening_s = HANDSHAKE_S
        with pytest.raises(GatewayUnreachable):
            await ApiGatewayPush(asked).alive("a")
        assert await pushing(sockets, asked)(changes) == [change.record for change in changes]
        assert sockets.known == {"a", "b"}

        monkeypatch.undo()
        way.opening_s = 0
        assert await pushing(sockets, asked)(changes) == []
        assert sockets.known == {"a", "b"}


def test_every_way_to_aws_has_the_same_limit() -> None:
    assert clients._CONFIG.connect_timeout == endpoints._OPEN_S  # type: ignore[attr-defined]
    assert endpoints._OPEN_S * 1000 > push._POST_MS
    assert endpoints._OPEN_S * 1000 < push._TIDY_MS
