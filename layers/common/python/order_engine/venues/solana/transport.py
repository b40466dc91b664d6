"""Posting JSON over HTTP: connections that are kept, and answers that are whole by a deadline or given up."""

from __future__ import annotations

import http.client
import io
import logging
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import urllib3

# So many calls at once have a thread and a connection each.
MOST_AT_ONCE = 64
# Thrice what a hundred of the largest accounts take; a worker has to bear it as objects.
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back over HTTP. ``retry_after`` is the header of that name."""

    status: int
    body: bytes
    retry_after: str = ""


class Transport(Protocol):
    """Posts a body to an address. Raises anything if there is no answer in time."""

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer: ...


# Until when the call of this thread must be over, by the process's own clock.
_deadline = threading.local()


class _InTime(io.RawIOBase):
    """What comes from a socket, until the deadline.

    A timeout of urllib3 bounds each read and not all of them: a node that drips would hold a thread for ever, and
    within its headers nobody else could look at the clock.
    """

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._raw = one.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int | None:
        left = _deadline.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("The answer does not come to an end.")
        self._socket.settimeout(left)
        return self._raw.readinto(into)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_InTime(sock))


class _Http(urllib3.connection.HTTPConnection):
    response_class = _Answer


class _Https(urllib3.connection.HTTPSConnection):
    response_class = _Answer


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


class HttpTransport:
    """Connections that are kept open, for several threads."""

    def __init__(self) -> None:
        # As many as there are threads.
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=MOST_AT_ONCE, retries=False)
        self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            # What they warn of names the address: of headers that cannot be read, of a certificate, of a full pool.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer:
        """Post JSON. The answer must be whole within the time, and of bearable size."""
        _deadline.at = until = time.monotonic() + timeout_s
        answer = self._pool.request(
            "POST",
            url,
            body=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout=urllib3.Timeout(total=timeout_s),
            redirect=False,
            preload_content=False,
        )
        try:
            chunks: list[bytes] = []
            size = 0
            # A read may not wait until so many bytes have come.
            while chunk := answer.read1(1 << 16, decode_content=True):
                size += len(chunk)
                if size > _MOST_BYTES or time.monotonic() > until:
                    raise TimeoutError("The answer does not come to an end.")
                chunks.append(chunk)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return HttpAnswer(answer.status, b"".join(chunks), answer.headers.get("Retry-After", ""))
