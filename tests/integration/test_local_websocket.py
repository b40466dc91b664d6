"""The local stack's WebSocket API and its management address against real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from local.cloud.account import CREDENTIALS, REGION
from local.stack import Stack
from tests.integration.sample import template as sample
from tests.integration.sample.results import Results
from tests.integration.sample.sockets import ask, socket


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(sample.template(sample.websocket())) as started:
        yield started


def management(stack: Stack) -> Any:
    endpoint = stack.ws_url.replace("ws://", "http://") + "/live"
    return boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


async def test_a_message_reaches_its_route_with_the_authorizers_context(stack: Stack) -> None:
    async with socket(stack) as client:
        event = await ask(client, '{"action": "named", "x": 1}')
        context = event["requestContext"]
        assert (context["routeKey"], context["eventType"], context["stage"]) == ("named", "MESSAGE", "live")
        assert context["authorizer"] == {"userId": "ann", "principalId": "ann"}
        assert event["body"] == '{"action": "named", "x": 1}'
        assert event["isBase64Encoded"] is False
        for other in ('{"action": "unknown"}', '{"action": "$connect"}', '{"action": 7}', "[]", "no json"):
            assert (await ask(client, other))["requestContext"]["routeKey"] == "$default"


async def test_connecting_and_leaving_invoke_their_routes(stack: Stack) -> None:
    async with socket(stack, additional_headers={"X-Api-Key": "k"}) as client:
        connection = (await ask(client))["requestContext"]["connectionId"]
    [connected, left] = await Results(stack).of("route", 2)
    assert connected["route"] == "$connect"
    event = connected["event"]
    assert event["queryStringParameters"] == {"user": "ann"}
    assert event["multiValueQueryStringParameters"] == {"user": ["ann"]}
    assert {name.lower(): value for name, value in event["headers"].items()}["x-api-key"] == "k"
    assert event["requestContext"]["eventType"] == "CONNECT"
    assert event["requestContext"]["connectionId"] == connection
    assert left["route"] == "$disconnect"
    context = left["event"]["requestContext"]
    assert (context["eventType"], context["disconnectStatusCode"]) == ("DISCONNECT", 1000)
    assert context["authorizer"]["userId"] == "ann"
    assert context["connectionId"] == connection


async def test_nothing_can_be_posted_while_a_socket_connects(stack: Stack) -> None:
    async with socket(stack):
        [connected] = await Results(stack).of("route", 1)
    assert connected["early"] == "GoneException"


@pytest.mark.parametrize(
    ("query", "status"), [("", 401), ("?user=mallory", 403), ("?user=unlucky", 500), ("?user=", 401)]
)
async def test_a_refused_handshake_says_why(stack: Stack, query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{stack.ws_url}/live{query}", proxy=None):
            pass
    assert refused.value.response.status_code == status


async def test_a_plain_request_is_told_to_upgrade(stack: Stack) -> None:
    _, writer = streams = await asyncio.open_connection("127.0.0.1", int(stack.ws_url.rpartition(":")[2]))
    writer.write(b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await streams[0].readline()).startswith(b"HTTP/1.1 426")
    writer.close()


async def test_posting_to_a_socket_that_has_left_is_gone(stack: Stack) -> None:
    gateway = management(stack)
    async with socket(stack) as client:
        connection = (await ask(client))["requestContext"]["connectionId"]
        await asyncio.to_thread(gateway.post_to_connection, ConnectionId=connection, Data='{"n": "é"}')
        assert await client.recv() == '{"n": "é"}'
        described = await asyncio.to_thread(gateway.get_connection, ConnectionId=connection)
        assert described["Identity"]["SourceIp"] == "127.0.0.1"
        assert described["ConnectedAt"] <= described["LastActiveAt"]
    await Results(stack).of("route", 2)
    for call in ("get_connection", "delete_connection", "post_to_connection"):
        data = {"Data": b"x"} if call == "post_to_connection" else {}
        with pytest.raises(ClientError) as gone:
            await asyncio.to_thread(getattr(gateway, call), ConnectionId=connection, **data)
        assert gone.value.response["Error"]["Code"] == "GoneException"
        assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410


async def test_the_server_can_close_a_socket(stack: Stack) -> None:
    gateway = management(stack)
    async with socket(stack) as client:
        connection = (await ask(client))["requestContext"]["connectionId"]
        await asyncio.to_thread(gateway.delete_connection, ConnectionId=connection)
        with pytest.raises(ClientError):
            await asyncio.to_thread(gateway.post_to_connection, ConnectionId=connection, Data=b"x")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), 5)
    notes = await Results(stack).of("route", 2)
    assert notes[1]["route"] == "$disconnect"


async def test_messages_above_128_kilobytes_are_refused_both_ways(stack: Stack) -> None:
    gateway = management(stack)
    async with socket(stack) as client:
        connection = (await ask(client))["requestContext"]["connectionId"]
        with pytest.raises(ClientError) as refused:
            await asyncio.to_thread(gateway.post_to_connection, ConnectionId=connection, Data=b"x" * (128 * 1024 + 1))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
        await client.send("x" * (128 * 1024 + 1))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), 5)
        assert client.close_code == 1009


async def test_a_function_that_raises_leaves_the_socket_open(stack: Stack) -> None:
    async with socket(stack) as client:
        await client.send("crash")
        assert json.loads(await client.recv())["message"] == "Internal server error"
        assert (await ask(client))["body"] == "{}"


async def test_a_socket_hears_only_what_is_posted_to_it(stack: Stack) -> None:
    gateway = management(stack)
    async with socket(stack, "ann") as ann, socket(stack, "bob") as bob:
        first = (await ask(ann))["requestContext"]["connectionId"]
        second = (await ask(bob))["requestContext"]["connectionId"]
        assert first != second
        await asyncio.to_thread(gateway.post_to_connection, ConnectionId=second, Data=b"for bob")
        assert await bob.recv() == "for bob"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ann.recv(), 0.2)


async def test_an_idle_socket_is_closed() -> None:
    resources = sample.template(sample.websocket())
    async with Stack(resources, ws_idle_s=1.5) as stack, socket(stack) as client:
        for _ in range(3):
            await asyncio.sleep(0.6)
            await ask(client)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(client.recv(), 30)
        assert client.close_code == 1001


async def test_no_socket_lives_for_ever() -> None:
    resources = sample.template(sample.websocket())
    async with Stack(resources, ws_longest_s=0.6) as stack, socket(stack) as client:
        with pytest.raises(ConnectionClosed):
            await _talk(client, seconds=3)
        assert client.close_code == 1001


async def _talk(client: ClientConnection, seconds: float) -> None:
    for _ in range(int(seconds * 10)):
        await ask(client)
        await asyncio.sleep(0.1)


async def test_knocking_too_often_is_refused_and_leaves_open_sockets_alone() -> None:
    resources = sample.websocket()
    few, many = (
        {"ThrottlingRateLimit": 0.1, "ThrottlingBurstLimit": 2},
        {
            "ThrottlingRateLimit": 100,
            "ThrottlingBurstLimit": 100,
        },
    )
    resources["SocketsStage"]["Properties"] |= {"DefaultRouteSettings": many, "RouteSettings": {"$connect": few}}
    async with Stack(sample.template(resources)) as stack, socket(stack) as client, socket(stack):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(stack):
                pass
        assert refused.value.response.status_code == 429
        assert (await ask(client))["requestContext"]["routeKey"] == "$default"


async def test_a_socket_that_sends_too_often_is_told() -> None:
    resources = sample.websocket()
    few = {"ThrottlingRateLimit": 0.1, "ThrottlingBurstLimit": 2}
    resources["SocketsStage"]["Properties"] |= {"RouteSettings": {"$default": few}}
    async with Stack(sample.template(resources)) as stack, socket(stack) as client:
        answers = [await ask(client) for _ in range(3)]
        assert [answer.get("message") for answer in answers] == [None, None, "Too Many Requests"]
