"""Around the whole application: what every answer carries, and HEAD."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Defaults: an answer that says otherwise, such as a file of the page, is left as it is.
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    # Two years. Browsers heed it over HTTPS only, so that a stack on this machine stays reachable over HTTP.
    (b"strict-transport-security", b"max-age=63072000"),
    (b"x-content-type-options", b"nosniff"),
    # Orders, quotes and tickets are one caller's, at one moment.
    (b"cache-control", b"no-store"),
)


class Careful:
    """An ASGI application that adds headers to all answers of another, also to those of its crashes.

    HEAD is answered as GET is, without the body (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["type"] == "http" and scope["method"] == "HEAD"

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in _HEADERS if name not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            elif message["type"] == "http.response.body" and head:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if head else scope, receive, careful)
