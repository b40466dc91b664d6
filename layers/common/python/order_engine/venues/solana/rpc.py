"""A thin JSON-RPC client for Solana's nodes: bounded in time, over several addresses, silent about them.

An address of a node often carries a key, so it is never part of an error or a log line: nodes are named by their
number. What a node answers is told apart from what it does not answer, since silence means "unknown" and a refusal is
an answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import urllib3

from order_engine.settings import SettingsError

# Codes of JSON-RPC and of Solana's nodes that say "not this node, not now" rather than "no".
_NODE_IS_BEHIND = -32005
_LONG_TERM_STORAGE_BUSY = -32019
_MIN_CONTEXT_SLOT = -32016
_INTERNAL = -32603
_ELSEWHERE = frozenset({_NODE_IS_BEHIND, _LONG_TERM_STORAGE_BUSY, _MIN_CONTEXT_SLOT, _INTERNAL, 429, -32429})
_TOO_MANY = 429
_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUTS = (TimeoutError, urllib3.exceptions.ReadTimeoutError)
# A node that did not answer is asked last for so long.
_REST_S = 5.0


class NodeUnavailable(Exception):
    """No node gave an answer: whether it did what was asked is unknown."""


class NodeRefused(Exception):
    """A node answered that it will not.

    Attributes:
        code: of the JSON-RPC error; -32002 means that the transaction's simulation failed.
        data: what the node says beside it.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"The node refused: {message} ({code}).")
        self.code = code
        self.data = data


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back over HTTP."""

    status: int
    body: bytes


class Transport(Protocol):
    """Posts a body to an address. Raises anything if there is no answer in time."""

    def post(self, url: str, body: bytes, timeout_s: float) -> HttpAnswer: ...


class HttpTransport:
    """Connections that are kept open, for several threads."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=32, retries=False)

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
            for chunk in answer.stream(1 << 16, decode_content=True):
                size += len(chunk)
                if size > _MOST_BYTES or time.monotonic() > until:
                    raise TimeoutError("The answer does not come to an end.")
                chunks.append(chunk)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return HttpAnswer(answer.status, b"".join(chunks))


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

    Args:
        urls: at least one.
        timeout_ms: for one answer of one node.
    """

    def __init__(self, urls: Sequence[str], *, timeout_ms: int = 2000, transport: Transport | None = None) -> None:
        self._urls = tuple(urls)
        self._timeout_ms = timeout_ms
        self._transport = transport or HttpTransport()
        self._resting = [0.0] * len(self._urls)
        self._ids = itertools.count(1)

    async def call(self, method: str, *params: Any) -> Any:
        """The ``result`` of a method.

        Raises:
            NodeRefused: a node answered with an error.
            NodeUnavailable: none answered.
        """
        number = next(self._ids)
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        troubles: list[str] = []
        for node in self._order():
            try:
                result = await self._ask(node, body, number)
            except NodeRefused as refused:
                if refused.code not in _ELSEWHERE:
                    raise
                troubles.append(f"node {node + 1}: {refused}")
            except NodeUnavailable as unavailable:
                troubles.append(f"node {node + 1}: {unavailable}")
            else:
                self._resting[node] = 0.0
                return result
            self._resting[node] = time.monotonic() + _REST_S
        raise NodeUnavailable(f"No node answered {method}. " + " ".join(troubles))

    def _order(self) -> list[int]:
        """Which node to ask first: those that rest come last, the longest rested first among them."""
        now = time.monotonic()
        return sorted(range(len(self._urls)), key=lambda node: self._resting[node] if self._resting[node] > now else 0)

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
        return _result(answer, number)


def _result(answer: HttpAnswer, number: int) -> Any:
    """What an answer says.

    Raises:
        NodeRefused: an error of JSON-RPC.
        NodeUnavailable: too many requests, or no JSON-RPC at all.
    """
    if answer.status == _TOO_MANY:
        raise NodeUnavailable("too many requests (429).")
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not ("result" in said or isinstance(said.get("error"), dict)):
        raise NodeUnavailable(f"the answer is not JSON-RPC (HTTP {answer.status}). Is this the address of a node?")
    error = said.get("error")
    if error is not None:
        code = error.get("code")
        message = " ".join(str(error.get("message", "")).split())[:200]
        raise NodeRefused(code if isinstance(code, int) else 0, message, error.get("data"))
    if said.get("id") != number:
        raise NodeUnavailable("the answer belongs to another request.")
    return said["result"]
