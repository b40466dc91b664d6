"""Frames over the management API, against a server that answers as API Gateway does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast

import pytest
from botocore.credentials import Credentials

from order_engine.aws.endpoint import Endpoint
from order_engine.aws.push import ApiGatewayPush, Refused
from order_engine.engine.ports import ConnectionGone


class Management(HTTPServer):
    """Answers every request with ``answer``: a status, the error's type in its header, and a body."""

    answer: tuple[int, str | None, bytes] = (200, None, b"")
    got: list[tuple[str, str, bytes]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got = []


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        server = cast(Management, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.got.append((self.command, self.path, body))
        status, kind, text = server.answer
        self.send_response(status)
        if kind is not None:
            self.send_header("x-amzn-ErrorType", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_DELETE = do_GET = _serve  # noqa: N815 - the names that the base class calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing to standard error."""


@pytest.fixture
def management() -> Iterator[Management]:
    with Management() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def push(management: Management) -> ApiGatewayPush:
    url = f"http://127.0.0.1:{management.server_port}/live"
    return ApiGatewayPush(Endpoint(url, "execute-api", "us-east-1", Credentials("testing", "testing")))


# With the type in the header and without: gateways in between have been seen to drop it.
GONE = [(410, "GoneException", b'{"message":null}'), (410, None, b"")]


async def test_a_frame_is_posted_to_its_socket_as_it_is(management: Management, push: ApiGatewayPush) -> None:
    await push.post("L0SM9cOFvHcCIhw=", b'{"type":"pong"}')
    assert management.got == [("POST", "/live/@connections/L0SM9cOFvHcCIhw%3D", b'{"type":"pong"}')]


@pytest.mark.parametrize("answer", GONE, ids=["typed", "bare"])
async def test_a_socket_that_is_gone_is_said_to_be_gone(
    management: Management, push: ApiGatewayPush, answer: tuple[int, str | None, bytes]
) -> None:
    management.answer = answer
    with pytest.raises(ConnectionGone) as gone:
        await push.post("socket", b"{}")
    assert str(gone.value) == "socket"


@pytest.mark.parametrize("answer", [(204, None, b""), *GONE], ids=["open", "typed", "bare"])
async def test_closing_an_open_socket_and_a_closed_one_is_the_same(
    management: Management, push: ApiGatewayPush, answer: tuple[int, str | None, bytes]
) -> None:
    management.answer = answer
    await push.close("socket")
    assert management.got == [("DELETE", "/live/@connections/socket", b"")]


@pytest.mark.parametrize(
    "answer",
    [
        (403, "ForbiddenException", b'{"message":"Forbidden"}'),
        (413, "PayloadTooLargeException", b'{"message":null}'),
        (429, "LimitExceededException", b'{"message":null}'),
        (500, None, b""),
    ],
    ids=lambda answer: str(answer[0]),
)
async def test_any_other_error_says_nothing_about_the_socket(
    management: Management, push: ApiGatewayPush, answer: tuple[int, str | None, bytes]
) -> None:
    management.answer = answer
    with pytest.raises(Refused):
        await push.post("socket", b"{}")
    with pytest.raises(Refused):
        await push.close("socket")


@pytest.mark.parametrize("answer", [(200, None, b"{}"), *GONE], ids=["open", "typed", "bare"])
async def test_a_socket_is_there_or_not(
    management: Management, push: ApiGatewayPush, answer: tuple[int, str | None, bytes]
) -> None:
    management.answer = answer
    assert await push.alive("socket") == (answer[0] == 200)


async def test_trouble_that_passes_is_tried_once_more(management: Management, push: ApiGatewayPush) -> None:
    management.answer = (429, "LimitExceededException", b"{}")
    posting = asyncio.create_task(push.post("socket", b"frame"))
    while not management.got:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    management.answer = (200, None, b"")
    await posting
    assert len(management.got) == 2
