"""Signed requests to one AWS endpoint, made by the event loop itself.

Frames to sockets are the one thing here that comes in crowds. botocore takes a thread and 1.2 ms of a processor for
each, and reads the file of trusted roots for each connection; this takes a third of that, no thread, and reads it once
(``bench.neighbours``). Everything else goes through botocore, which has more to offer: parsing, paging, waiting.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import h11
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from botocore.credentials import Credentials

# What is kept open beside what is in use; more than that at once is rare.
_KEPT = 32
_READ = 65_536
# Until a connection is open, its handshake included. A cold function opens many at once with a fraction of a core; what
# the socket behind it may take for a frame says nothing about that. The same as botocore's here (``clients``).
_OPEN_S = 2.0


class NoAnswer(OSError):
    """The endpoint did not answer. Whether it did what it was asked is not known."""


class Unreachable(NoAnswer):
    """No connection could be opened: it was asked nothing."""


class Endpoint:
    """One endpoint of one service.

    Args:
        url: of the endpoint, with the path that all requests have in common.
        service: as signatures name it.
        roots: a file of trusted certificates; for https only.
    """

    def __init__(
        self, url: str, service: str, region: str, credentials: Credentials | None, roots: str | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._place = urlsplit(self._url)
        self._service = service
        self._region = region
        self._credentials = credentials
        self._tls = ssl.create_default_context(cafile=roots) if self._place.scheme == "https" else None
        # A connection belongs to the loop that opened it.
        self._idle: WeakKeyDictionary[asyncio.AbstractEventLoop, list[_Connection]] = WeakKeyDictionary()

    async def request(self, method: str, path: str, body: bytes = b"", *, within_s: float | None = None) -> int:
        """The status of the answer to one request.

        Args:
            path: below the endpoint's, with a slash, encoded.
            within_s: how long the exchange may take on an open connection. Opening one has a limit of its own.

        Raises:
            NoAnswer: there was none, or it cannot be read.
            TimeoutError: there was none in time.
        """
        headers = self._headers(method, path, body)
        return await self.send(method, f"{self._place.path}{path}", headers, body, within_s=within_s)

    def _headers(self, method: str, path: str, body: bytes) -> list[tuple[str, str]]:
        if self._credentials is None:
            raise NoCredentialsError
        asked = AWSRequest(method, f"{self._url}{path}", data=body)
        SigV4Auth(self._credentials.get_frozen_credentials(), self._service, self._region).add_auth(asked)
        return [("Host", self._place.netloc), ("Content-Length", str(len(body))), *asked.headers.items()]

    async def send(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes, *, within_s: float | None = None
    ) -> int:
        """Send what has been signed."""
        asked = h11.Request(method=method, target=target, headers=headers)
        try:
            async with self._connection() as connection:
                used = connection.used
                try:
                    async with asyncio.timeout(within_s):
                        return await connection.exchange(asked, body)
                except _Stale:
                    if not used:
                        raise
            # The other side had closed it while nobody looked, as after a freeze. It has not seen the request, or in
            # the worst case gets it twice.
            async with self._connection(fresh=True) as connection, asyncio.timeout(within_s):
                return await connection.exchange(asked, body)
        except (TimeoutError, NoAnswer):
            raise
        except (OSError, h11.ProtocolError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    def rehearse(self) -> None:
        """Build and sign a request, and send it nowhere."""
        headers = self._headers("POST", "/@connections/rehearsal", b"{}")
        h11.Connection(h11.CLIENT).send(h11.Request(method="POST", target="/", headers=headers))

    def close(self) -> None:
        """Close what is kept open for this loop."""
        for connection in self._idle.pop(asyncio.get_running_loop(), []):
            connection.abort()

    @asynccontextmanager
    async def _connection(self, *, fresh: bool = False) -> AsyncIterator[_Connection]:
        """A connection for one exchange, kept afterwards if it can serve another."""
        idle = self._idle.setdefault(asyncio.get_running_loop(), [])
        connection = idle.pop() if idle and not fresh else await self._open()
        try:
            yield connection
        finally:
            # Whoever was interrupted leaves half an answer behind, which must not be taken for the next one's.
            if connection.next_cycle() and len(idle) < _KEPT:
                idle.append(connection)
            else:
                connection.abort()

    async def _open(self) -> _Connection:
        port = self._place.port or (443 if self._tls else 80)
        try:
            async with asyncio.timeout(_OPEN_S):
                reader, writer = await asyncio.open_connection(self._place.hostname, port, ssl=self._tls)
        except OSError as error:
            raise Unreachable(str(error) or type(error).__name__) from error
        return _Connection(reader, writer)


class _Stale(OSError):
    """The connection ended before the first byte of an answer."""


class _Connection:
    """One HTTP/1.1 connection, one exchange at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.CLIENT)
        self.used = False

    async def exchange(self, asked: h11.Request, body: bytes) -> int:
        """Send a request and read the answer to its end; its status."""
        for part in (asked, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._protocol.send(part) or b"")
        status, begun = 0, False
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                data = await self._read(begun=begun)
                begun = True
                self._protocol.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                return status
            elif isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("The answer has no end.")

    async def _read(self, *, begun: bool) -> bytes:
        try:
            data = await self._reader.read(_READ)
        except ConnectionError as error:
            if begun:
                raise
            raise _Stale(str(error)) from error
        if not data and not begun:
            raise _Stale("The connection was closed.")
        return data

    def next_cycle(self) -> bool:
        """Whether another exchange can follow."""
        states = {self._protocol.our_state, self._protocol.their_state}
        if states != {h11.DONE} or self._reader.at_eof() or self._writer.is_closing():
            return False
        self._protocol.start_next_cycle()
        self.used = True
        return True

    def abort(self) -> None:
        self._writer.transport.abort()
