"""Requests to an endpoint: kept connections, broken ones, and what is signed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.credentials import Credentials

from order_engine.aws.endpoint import Endpoint, NoAnswer
from tests.infra.authority import https_server, issue

type Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def endpoint(port: int, path: str = "/live") -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{port}{path}", "execute-api", "us-east-1", Credentials("id", "secret"))


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request to its end, as its length says."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return head + await reader.readexactly(length)


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[tuple[Endpoint, list[asyncio.StreamWriter]]]:
    """An endpoint that ``serve`` answers for, and the connections that were made to it."""
    made: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(writer)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    asked = endpoint(server.sockets[0].getsockname()[1])
    try:
        yield asked, made
    finally:
        asked.close()
        server.close()
        for writer in made:
            writer.transport.abort()


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)

    return serve


async def test_connections_are_kept_and_no_more_than_are_needed_are_made() -> None:
    async with served(answering(OK)) as (asked, made):
        for _ in range(5):
            assert await asked.request("POST", "/@connections/a", b"frame") == 200
        assert len(made) == 1
        for _ in range(3):
            assert await asyncio.gather(*(asked.request("POST", "/x", b"frame") for _ in range(8))) == [200] * 8
        assert len(made) <= 8


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 410 Gone\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nx-amzn-ErrorType: GoneException\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 410 Gone\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
)
async def test_every_form_of_an_answer_is_read_to_its_end(answer: bytes) -> None:
    async with served(answering(answer)) as (asked, _):
        assert [await asked.request("POST", "/a", b"frame") for _ in range(3)] == [410] * 3


async def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing() -> None:
    """As after a freeze, or when the other side tidies up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)

    async with served(serve) as (asked, made):
        for _ in range(4):
            assert await asked.request("POST", "/a", b"frame") == 200
        assert len(made) == 4

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        # Closed only when the next request has been sent.
        await reader.read(1)
        writer.transport.abort()

    async with served(later) as (asked, made):
        assert await asked.request("POST", "/a", b"frame") == 200
        assert await asked.request("POST", "/a", b"frame") == 200
        assert len(made) == 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"nonsense\r\n\r\n"])
async def test_an_answer_that_ends_too_early_or_is_none_is_no_answer(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with served(serve) as (asked, _):
        with pytest.raises(NoAnswer):
            await asked.request("POST", "/a", b"frame")


async def test_nobody_there_is_no_answer() -> None:
    async with served(answering(OK)) as (asked, _):
        pass
    with pytest.raises(NoAnswer):
        await asked.request("POST", "/a", b"frame")


async def test_what_was_given_up_is_not_taken_for_the_answer_to_the_next() -> None:
    late = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if b"slow" in request:
                await late.wait()
                writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
            else:
                writer.write(OK)

    async with served(serve) as (asked, made):
        assert await asked.request("POST", "/a", b"frame") == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asked.request("POST", "/slow", b"frame")
        late.set()
        assert [await asked.request("POST", "/a", b"frame") for _ in range(3)] == [200] * 3
        assert len(made) == 2


async def once(asked: Endpoint) -> int:
    status = await asked.request("POST", "/a")
    asked.close()
    return status


async def test_each_loop_has_connections_of_its_own() -> None:
    async with served(answering(OK)) as (asked, made):
        assert await asked.request("POST", "/a") == 200
        assert await asyncio.to_thread(asyncio.run, once(asked)) == 200
        assert await asked.request("POST", "/a") == 200
        assert len(made) == 2


async def test_it_signs_what_botocore_would_sign() -> None:
    """The same path and the same kind of signature, for an id with a character that has to be encoded."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(OK)

    async with served(serve) as (asked, _):
        await asked.request("POST", "/@connections/L0SM9cOFvHcCIhw%3D", b"frame")
    lines = heard[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)

    sent: list[AWSPreparedRequest] = []
    client = boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=f"http://{headers['Host']}/live",
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )

    def stop(request: AWSPreparedRequest, **_: object) -> None:
        sent.append(request)
        raise _Stopped

    client.meta.events.register("before-send", stop)
    with pytest.raises(_Stopped):
        client.post_to_connection(ConnectionId="L0SM9cOFvHcCIhw=", Data=b"frame")
    theirs = sent[0].headers["Authorization"]
    theirs = theirs.decode() if isinstance(theirs, bytes) else theirs

    assert lines[0] == f"POST {sent[0].url.removeprefix(f'http://{headers["Host"]}')} HTTP/1.1"
    scope = headers["X-Amz-Date"][:8]
    for authorization in (headers["Authorization"], theirs):
        assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential=id/{scope}/us-east-1/execute-api/aws4_request, ")
        assert {"host", "x-amz-date"} <= set(authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";"))


class _Stopped(Exception):
    """The request has been seen."""


async def test_only_a_server_that_a_trusted_root_vouches_for_is_spoken_to(tmp_path: Path) -> None:
    trusted, other = issue("root"), issue("other")
    roots = tmp_path / "roots.pem"
    roots.write_text(trusted.pem)
    credentials = Credentials("id", "secret")
    with https_server(trusted, tmp_path) as url:
        asked = Endpoint(f"{url}/live", "execute-api", "us-east-1", credentials, str(roots))
        assert [await asked.request("POST", "/a", b"frame") for _ in range(2)] == [200, 200]
        asked.close()
        by_number = url.replace("localhost", "127.0.0.1")
        with pytest.raises(NoAnswer, match="certificate"):
            await Endpoint(by_number, "execute-api", "us-east-1", credentials, str(roots)).request("POST", "/a")
    with https_server(other, tmp_path) as url, pytest.raises(NoAnswer, match="certificate"):
        await Endpoint(url, "execute-api", "us-east-1", credentials, str(roots)).request("POST", "/a")
    assert ssl.create_default_context(cafile=str(roots)).verify_mode is ssl.CERT_REQUIRED
