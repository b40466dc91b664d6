"""A thin JSON-RPC client for Solana's nodes: bounded in time, over several addresses, silent about them.

An address of a node often carries a key, so it is never part of an error or a log line: nodes are named by their
number. What a node answers is told apart from what it does not answer, since silence means "unknown" and a refusal is
an answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import urllib3

from order_engine.settings import SettingsError

# Codes of JSON-RPC and of Solana's nodes that say "not this node, not now" rather than "no".
_NODE_IS_BEHIND = -32005
_LONG_TERM_STORAGE_BUSY = -32019
_MIN_CONTEXT_SLOT = -32016
_NO_HISTORY = -32011
_INTERNAL = -32603
_RATE_LIMITS = frozenset({429, -32429})
_ELSEWHERE = _RATE_LIMITS | {_NODE_IS_BEHIND, _LONG_TERM_STORAGE_BUSY, _MIN_CONTEXT_SLOT, _NO_HISTORY, _INTERNAL}
_TOO_MANY, _NO_ACCESS, _UNPAID, _BROKEN = 429, (401, 403), 402, 500
# Thrice what a hundred of the largest accounts take; a worker has to bear it as objects.
_MOST_BYTES = 4 * 1024 * 1024
_MOST_SAID = 200
_TIMEOUTS = (TimeoutError, urllib3.exceptions.ReadTimeoutError)
# For how long a node that did not answer is asked last; and one is not asked that has too much to do, and at most.
_REST_S, _BUSY_S, _LONGEST_BUSY_S = 5.0, 1.0, 60.0


class NodeUnavailable(Exception):
    """No node gave an answer: whether it did what was asked is unknown."""


class _Busy(NodeUnavailable):
    """A node has had too many requests. ``seconds``: how long it wants to be left alone."""

    def __init__(self, said: str, seconds: float) -> None:
        super().__init__(said)
        self.seconds = seconds


class NodeRefused(Exception):
    """A node answered that it will not.

    Attributes:
        code: of the JSON-RPC error; -32002 means that the transaction's simulation failed.
        said: the node's own words.
        data: what the node says beside it.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"The node refused: {message} ({code}).")
        self.code = code
        self.said = message
        self.data = data


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back over HTTP. ``retry_after`` is the header of that name."""

    status: int
    body: bytes
    retry_after: str = ""


class Transport(Protocol):
    """Posts a body to an address. Raises anything if there is no answer in time."""

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer: ...


class HttpTransport:
    """Connections that are kept open, for several threads."""

    def __init__(self) -> None:
        # As many as there are threads.
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=64, retries=False)
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            # What they warn of names the address: of headers that cannot be read, of a certificate, of a full pool.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer:
        """Post JSON. The answer must be whole within the time, and of bearable size."""
        until = time.monotonic() + timeout_s
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
            # A timeout of urllib3 bounds each read, not all of them: a node that drips would hold us for ever.
            # Nor may a read wait until so many bytes have come.
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


def check_urls(text: str, setting: str) -> tuple[str, ...]:
    """The addresses of a setting, separated by commas.

    Raises:
        SettingsError: there is none, or one is not an HTTP address. The sentence does not repeat it.
    """
    urls = tuple(part.strip() for part in text.split(",") if part.strip())
    if not urls:
        raise SettingsError(f"{setting} names no node. Give one or more addresses, separated by commas.")
    for number, url in enumerate(urls, 1):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{setting}: address {number} is not an http:// or https:// address.")
    return urls


class JsonRpc:
    """Calls of a node's methods, over several addresses that mean the same chain.

    The addresses are tried in turn, beginning with the first that has answered lately. What one refuses for reasons
    of its own (it is behind, too many requests) the next is asked; what it refuses because of the request is raised.
    A node that asks to be left alone is left alone; where no other is left, its time is waited out if it is short.

    Args:
        urls: at least one.
        timeout_ms: for one answer of one node, and for waiting until a busy one may be asked again.
    """

    def __init__(self, urls: Sequence[str], *, timeout_ms: int = 2000, transport: Transport | None = None) -> None:
        self._urls = tuple(urls)
        self._timeout_ms = timeout_ms
        self._transport = transport or HttpTransport()
        # Until when a node is asked last, and until when it is not asked at all; seconds of the process's own clock.
        self._resting = [0.0] * len(self._urls)
        self._busy = [0.0] * len(self._urls)
        self._ids = itertools.count(1)
        self._secrets = [_secrets(url) for url in self._urls]

    async def call(self, method: str, *params: Any) -> Any:
        """The ``result`` of a method.

        Raises:
            NodeRefused: a node answered with an error.
            NodeUnavailable: none answered.
        """
        return await self.call_of(range(len(self._urls)), method, *params)

    async def call_of(self, nodes: Sequence[int], method: str, *params: Any) -> Any:
        """As ``call``, of some of the nodes only, by their places."""
        number = next(self._ids)
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        until = time.monotonic() + self._timeout_ms / 1000
        while True:
            troubles: list[str] = []
            for node in self._order(nodes):
                try:
                    return await self._try(node, body, number)
                except NodeUnavailable as unavailable:
                    troubles.append(f"node {node + 1}: {unavailable}")
            soonest = min(self._busy[node] for node in nodes)
            if not time.monotonic() < soonest <= until:
                raise NodeUnavailable(f"No node answered {method}. " + " ".join(troubles))
            await asyncio.sleep(soonest - time.monotonic())

    async def _try(self, node: int, body: bytes, number: int) -> Any:
        """One node's answer.

        Raises:
            NodeRefused: it will not, and no other would.
            NodeUnavailable: it gave none; it rests.
        """
        began = time.monotonic()
        left = self._busy[node] - began
        if left > 0:
            raise NodeUnavailable(f"too many requests; it wants to be left alone for {left:.1f} s more.")
        try:
            result = await self._ask(node, body, number)
        except NodeRefused as refused:
            if refused.code not in _ELSEWHERE:
                raise
            if refused.code in _RATE_LIMITS:
                self._busy[node] = time.monotonic() + _BUSY_S
            self._resting[node] = time.monotonic() + _REST_S
            raise NodeUnavailable(str(refused)) from None
        except NodeUnavailable as unavailable:
            if isinstance(unavailable, _Busy):
                self._busy[node] = time.monotonic() + unavailable.seconds
            self._resting[node] = time.monotonic() + _REST_S
            raise
        except asyncio.CancelledError:
            # Whoever asked has waited long enough: let the next call begin with another node.
            if time.monotonic() - began > self._timeout_ms / 2000:
                self._resting[node] = time.monotonic() + _REST_S
            raise
        self._resting[node] = 0.0
        return result

    async def apart(self) -> Sequence[JsonRpc | _One]:
        """Each node by itself: several that say the same are several witnesses."""
        return [self] if len(self._urls) == 1 else [_One(self, node) for node in range(len(self._urls))]

    def _order(self, nodes: Sequence[int]) -> list[int]:
        """Which node to ask first: those that rest come last, the longest rested first among them."""
        now = time.monotonic()
        return sorted(nodes, key=lambda node: self._resting[node] if self._resting[node] > now else 0)

    async def _ask(self, node: int, body: bytes, number: int) -> Any:
        seconds = self._timeout_ms / 1000
        try:
            # The thread ends by its own timeout; this one lets nobody wait for a thread that is late to begin.
            async with asyncio.timeout(seconds + 0.5):
                answer = await asyncio.to_thread(self._transport.post, self._urls[node], body, seconds)
        except Exception as error:  # noqa: BLE001 - whatever the network raises; its text would name the address
            if isinstance(error, _TIMEOUTS):
                raise NodeUnavailable(f"no answer within {self._timeout_ms} ms.") from None
            raise NodeUnavailable(f"cannot be reached ({type(error).__name__}).") from None
        try:
            return _result(answer, number)
        except NodeRefused as refused:
            # A node may say in words what it was asked with.
            said = _without(self._secrets[node], refused.said)[:_MOST_SAID]
            raise NodeRefused(refused.code, said, refused.data) from None


@dataclass(frozen=True, slots=True)
class _One:
    """One of several nodes, and no other in its place."""

    rpc: JsonRpc
    node: int

    async def call(self, method: str, *params: Any) -> Any:
        return await self.rpc.call_of((self.node,), method, *params)


def _result(answer: HttpAnswer, number: int) -> Any:
    """What an answer says.

    Raises:
        NodeRefused: an error of JSON-RPC.
        NodeUnavailable: too many requests, or no JSON-RPC at all.
    """
    if answer.status == _TOO_MANY:
        raise _Busy("too many requests (429).", _seconds(answer.retry_after))
    if answer.status in _NO_ACCESS:
        raise NodeUnavailable(f"it gives no access (HTTP {answer.status}). Is the key in its address right?")
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not ("result" in said or isinstance(said.get("error"), dict)):
        raise NodeUnavailable(f"the answer is not JSON-RPC (HTTP {answer.status}). Is this the address of a node?")
    if answer.status >= _BROKEN or answer.status == _UNPAID:
        # Whatever it says beside it.
        raise NodeUnavailable(f"it is out of order (HTTP {answer.status}).")
    error = said.get("error")
    if error is not None:
        code = error.get("code")
        message = " ".join(str(error.get("message", "")).split())
        raise NodeRefused(code if isinstance(code, int) else 0, message, error.get("data"))
    if said.get("id") != number:
        raise NodeUnavailable("the answer belongs to another request.")
    return said["result"]


def _seconds(retry_after: str) -> float:
    """How long a busy node is left alone. A date is taken for no answer: nobody's clock is the node's."""
    text = retry_after.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        return _BUSY_S
    return min(max(float(text), 0.1), _LONGEST_BUSY_S)


def _secrets(url: str) -> list[str]:
    """The parts of an address that may be a key: all but its scheme and port."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query)]
    # As it is written, too.
    values += [part.partition("=")[2] for part in parts.query.split("&")]
    found = [url, parts.netloc, parts.hostname or "", parts.username or "", parts.password or "", parts.query]
    return sorted((part for part in (*found, *values, *parts.path.split("/")) if len(part) > 3), key=len, reverse=True)


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "(hidden)")
    return text
