"""The stream against the real local stack: real sockets, cut at every moment."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from cli import stream
from cli.client import Client, OrderEvent
from cli.live import event_json
from local import Running, running
from tests.e2e.clients import HEADERS, KEY, ORDER, place_and_follow, read
from tests.unit.asyncapi import check

AT_ONCE = 12


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    environment = {
        "FAILURE_RATE": "0.25",
        "QUOTE_DELAY_MS": "20",
        "LANDING_MIN_MS": "50",
        "LANDING_MAX_MS": "300",
        "RETRY_BASE_MS": "100",
        "ORDERS_PER_MINUTE": "100000",
        "ORDERS_BURST": "100000",
        # A client that is cut off in its handshake leaves a socket that is found gone some seconds later.
        "SOCKETS_PER_USER": "1000",
    }
    with running(environment=environment) as started:
        yield started


class Cutter:
    """A proxy in front of the sockets that cuts connections after a random while, in either direction's midst."""

    def __init__(self, target: str, random: Random) -> None:
        self._host, self._port = urlsplit(target).hostname, urlsplit(target).port
        self._random = random
        self.calm = False
        self.cuts = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
        # From the middle of the handshake to long after the last event.
        lives_s = None if self.calm or self._random.random() < 0.3 else self._random.expovariate(1 / 0.5)
        done, _ = await asyncio.wait(pumps, timeout=lives_s, return_when=asyncio.FIRST_COMPLETED)
        self.cuts += not done
        for pump in pumps:
            pump.cancel()
        for end in (writer, back):
            end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            # Half of a frame is a possible end too.
            if not self.calm and self._random.random() < 0.03:
                self.cuts += 1
                target.write(data[: len(data) // 2])
                return
            target.write(data)


class CutClient(Client):
    """A client whose sockets go through the cutter."""

    def __init__(self, stack: Running, cutter: Cutter) -> None:
        super().__init__(stack.http_url, KEY, timeout_s=30)
        self._cutter = cutter

    async def stream_address(self) -> tuple[str, Mapping[str, str]]:
        address, headers = await super().stream_address()
        return self.through(address), headers

    def through(self, address: str) -> str:
        return urlunsplit(urlsplit(address)._replace(netloc=f"127.0.0.1:{self._cutter.port}"))


def views(events: list[OrderEvent]) -> list[dict[str, Any]]:
    """Events as an order's document has them."""
    found = [json.loads(event_json(event)) for event in events]
    return [{name: value for name, value in view.items() if name not in ("orderId", "schema")} for view in found]


@pytest.mark.parametrize("patterns", [40, pytest.param(200, marks=pytest.mark.long)])
async def test_whatever_is_cut_a_client_sees_the_stored_order_and_nothing_twice(
    stack: Running, monkeypatch: pytest.MonkeyPatch, patterns: int
) -> None:
    monkeypatch.setattr(stream, "_FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(stream, "_LONGEST_WAIT_S", 0.2)
    random = Random(6)
    cutter = Cutter(stack.ws_url, random)
    everything: dict[str, list[OrderEvent]] = {}
    placed: set[str] = set()
    slots = asyncio.Semaphore(AT_ONCE)

    async def follow_everything(client: Client) -> None:
        async with aclosing(client.follow_all()) as events:
            async for event in events:
                everything.setdefault(event.order_id, []).append(event)

    async def one(client: CutClient, seed: int) -> tuple[str, list[OrderEvent]]:
        async with slots:
            own = Random(seed)
            accepted = await client.place("SOL", "USDC", "0.5")
            placed.add(accepted.order_id)
            # At once, in its midst, or after its end; with the ticket of the answer, or with one of its own.
            await asyncio.sleep(own.choice([0, own.uniform(0, 1), own.uniform(0, 3)]))
            ws_url = client.through(accepted.ws_url) if own.random() < 0.5 else None
            async with aclosing(client.follow(accepted.order_id, ws_url=ws_url)) as events:
                return accepted.order_id, [event async for event in events]

    async with cutter.running(), CutClient(stack, cutter) as client, asyncio.timeout(240):
        following = asyncio.create_task(follow_everything(client))
        results = await asyncio.gather(*(one(client, seed) for seed in range(patterns)))
        cutter.calm = True
        while not all(everything.get(name) and everything[name][-1].terminal for name in placed):
            await asyncio.sleep(0.1)
            # One that has stopped says why.
            assert not following.done() or following.result()
        following.cancel()
        stored = {name: (await client.get(name))["events"] for name in placed}

    missed = repeated = 0
    for name, found in [*results, *((name, everything[name]) for name in placed)]:
        seqs = [event.seq for event in found]
        repeated += len(seqs) - len(set(seqs))
        missed += len(set(range(1, len(stored[name]) + 1)) - set(seqs))
        assert views(found) == stored[name]
    assert (missed, repeated) == (0, 0)
    # It was no fair weather.
    assert cutter.cuts > patterns
    assert any(len(events) > 5 for events in stored.values())


async def test_a_client_that_leaves_silences_no_other(stack: Running) -> None:
    async with Client(stack.http_url, KEY) as client, asyncio.timeout(30):
        orders = [await client.place("SOL", "USDC", "0.5") for _ in range(5)]

        async def stay(order_id: str) -> list[OrderEvent]:
            return [event async for event in client.follow(order_id)]

        staying = [asyncio.create_task(stay(order.order_id)) for order in orders]
        for order in orders:
            async with connect(order.ws_url) as leaving:
                await leaving.send(json.dumps({"action": "subscribe", "orderId": order.order_id}))
                await leaving.recv()
        for order, seen in zip(orders, staying, strict=True):
            assert views(await seen) == (await client.get(order.order_id))["events"]


async def test_every_socket_is_forgotten_when_it_is_closed(stack: Running) -> None:
    dynamodb = stack.client("dynamodb")
    (table,) = (name for name in dynamodb.list_tables()["TableNames"] if "connections" in name.lower())

    def remembered() -> dict[str, float]:
        items = dynamodb.scan(TableName=table)["Items"]
        return {item["connection_id"]["S"]: float(item["expires_at"]["N"]) - time.time() for item in items}

    # A client that vanished in the middle of its handshake leaves an item that follows nothing, until it expires.
    before = remembered()
    async with httpx.AsyncClient(timeout=20) as http:
        accepted = (await http.post(f"{stack.http_url}/api/orders/execute", json=ORDER, headers=HEADERS)).json()
    polite, rude = await connect(accepted["wsUrl"]), await connect(accepted["wsUrl"])
    own = {name: left_s for name, left_s in remembered().items() if name not in before}
    assert len(own) == 2
    assert all(7200 < left_s < 8400 for left_s in own.values())
    await polite.close()
    rude.transport.abort()
    for _ in range(100):
        if not set(own) & set(remembered()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a closed socket is still remembered")


async def test_a_single_order_socket_is_closed_after_the_last_event_and_answers_a_latecomer(stack: Running) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        order = await place_and_follow(http, stack.http_url)
        reply = await http.post(
            f"{stack.http_url}/api/orders/execute", json=ORDER, headers=HEADERS | {"Idempotency-Key": "late"}
        )
        accepted = reply.json()
        async with asyncio.timeout(20):
            status = accepted["status"]
            while status not in ("confirmed", "failed"):
                await asyncio.sleep(0.1)
                status = (await read(stack, accepted["orderId"]))["status"]
            async with connect(accepted["wsUrl"]) as socket:
                await socket.send(json.dumps({"action": "subscribe", "orderId": accepted["orderId"], "after": 2}))
                frames = [json.loads(message) async for message in socket]
    for frame in frames:
        check(frame)
    assert order.statuses[-1] in ("confirmed", "failed")
    assert [frame["type"] for frame in frames] == ["snapshot"]
    assert [event["seq"] for event in frames[0]["events"]] == list(range(3, frames[0]["seq"] + 1))


async def answer(socket: ClientConnection) -> dict[str, Any]:
    """The next frame; it is as docs/asyncapi.yaml says."""
    frame: dict[str, Any] = json.loads(await socket.recv())
    check(frame)
    return frame


async def test_every_frame_is_as_the_document_says(stack: Running) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        ticket = (await http.post(f"{stack.http_url}/api/stream-tickets", json={}, headers=HEADERS)).json()
        async with connect(ticket["wsUrl"]) as socket, asyncio.timeout(30):
            await socket.send(json.dumps({"action": "subscribe"}))
            while (await answer(socket))["type"] != "subscribed":
                pass
            for _ in range(5):
                await http.post(f"{stack.http_url}/api/orders/execute", json=ORDER, headers=HEADERS)
            kinds: set[str] = set()
            ended = 0
            while ended < 5:
                frame = await answer(socket)
                kinds.add(frame["type"])
                ended += frame["status"] in ("confirmed", "failed")
    # An event that could have come before another comes in a snapshot.
    assert "event" in kinds <= {"event", "snapshot"}


async def test_a_ticket_opens_what_it_is_for_and_nothing_else(stack: Running) -> None:
    async with httpx.AsyncClient(timeout=20) as http:
        first, second = [
            (await http.post(f"{stack.http_url}/api/orders/execute", json=ORDER, headers=HEADERS)).json()
            for _ in range(2)
        ]
    async with connect(first["wsUrl"]) as socket:
        for message in ({"action": "subscribe", "orderId": second["orderId"]}, {"action": "subscribe"}):
            await socket.send(json.dumps(message))
            assert (await answer(socket))["code"] == "forbidden"
        await socket.send(json.dumps({"action": "ping"}))
        assert (await answer(socket))["type"] == "pong"
        await socket.send("not JSON")
        assert (await answer(socket))["code"] == "invalid_message"
    forged = first["wsUrl"][:-4] + "AAAA"
    for address in (forged, stack.ws_url):
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(address)
        assert caught.value.response.status_code in (401, 403)
