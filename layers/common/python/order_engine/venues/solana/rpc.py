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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import urllib3

from order_engine.settings import SettingsError
from order_engine.venues.solana.transport import MOST_AT_ONCE, HttpAnswer, HttpTransport, Transport

# Codes that are an answer to the request, which another node would give too: it is none, or the chain refuses it. Any
# other is of this node.
_BELIEVED = frozenset({-32600, -32602, -32002, -32013, -32015})
# Codes that are of one question: a block or a method that this node does not have. It may answer others.
_OF_THE_QUESTION = frozenset({-32601, -32001, -32004, -32007, -32009, -32014})
_RATE_LIMITS = frozenset({429, -32429})
_TOO_MANY, _NO_ACCESS, _UNPAID, _BROKEN = 429, (401, 403), 402, 500
_MOST_SAID = 200
_TIMEOUTS = (TimeoutError, urllib3.exceptions.ReadTimeoutError)
# For how long a node that did not answer is asked last; and one is not asked that has too much to do, and at most.
_REST_S, _BUSY_S, _LONGEST_BUSY_S = 5.0, 1.0, 60.0
# A node so many slots behind the newest one known is left for another. The chain makes more than so many in a second.
_BEHIND_SLOTS, _SLOTS_A_SECOND, _FORGOTTEN_S = 25, 1.5, 60.0


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


def check_urls(text: str, setting: str) -> tuple[str, ...]:
    """The addresses of a setting, separated by commas.

    Raises:
        SettingsError: there is none, or one is not an HTTP address. The sentence does not repeat it.
    """
    urls = tuple(part.strip() for part in text.split(",") if part.strip())
    if not urls:
        raise SettingsError(f"{setting} names no node. Give one or more addresses, separated by commas.")
    for number, url in enumerate(urls, 1):
        try:
            parts = urlsplit(url)
        except ValueError:
            # Its words would repeat the address.
            parts = SplitResult("", "", "", "", "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{setting}: address {number} is not an http:// or https:// address.")
    if len(set(urls)) < len(urls):
        # It would be believed twice.
        raise SettingsError(f"{setting} names the same address twice.")
    return urls


class JsonRpc:
    """Calls of a node's methods, over several addresses that mean the same chain.

    The addresses are tried in turn, beginning with the first that has answered lately. What one refuses for reasons
    of its own (it is behind, too many requests) the next is asked; what it refuses because of the request is raised.
    A node that asks to be left alone is left alone; where no other is left, its time is waited out if it is short. One
    that answers from behind what others have seen, or from behind what it must have come to since, is asked last too.

    Args:
        urls: at least one.
        timeout_ms: for one answer of one node, and for waiting until a busy one may be asked again.
    """

    def __init__(self, urls: Sequence[str], *, timeout_ms: int = 2000, transport: Transport | None = None) -> None:
        self._urls = tuple(urls)
        self._timeout_ms = timeout_ms
        self._transport = transport or HttpTransport()
        # Of its own, so that no node can keep others from theirs.
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "nodes")
        # Until when a node is asked last, and until when it is not asked at all; seconds of the process's own clock.
        self._resting = [0.0] * len(self._urls)
        self._busy = [0.0] * len(self._urls)
        self._newest = _Newest()
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
            late: list[tuple[int, Any]] = []
            for node in self._order(nodes):
                try:
                    result = await self._try(node, body, number)
                except NodeUnavailable as unavailable:
                    troubles.append(f"node {node + 1}: {unavailable}")
                    continue
                slot = _slot(result)
                if slot is None or not self._newest.is_behind(slot) or len(nodes) == 1:
                    return result
                late.append((slot, result))
                self._resting[node] = time.monotonic() + _REST_S
            if late:
                # All of them are behind: then it is the chain that stands still, or whoever seemed to be further.
                return max(late, key=lambda one: one[0])[1]
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
            if refused.code in _BELIEVED:
                raise
            if refused.code in _RATE_LIMITS:
                self._busy[node] = time.monotonic() + _BUSY_S
            if refused.code not in _OF_THE_QUESTION:
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
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(
                    self._threads, self._transport.post, self._urls[node], body, seconds
                )
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


class _Newest:
    """The newest slot that any node has told, and what it has become since."""

    def __init__(self) -> None:
        self._slot = 0
        self._told_at = 0.0

    def is_behind(self, slot: int) -> bool:
        """Whether who tells this slot is far behind. What nobody comes up to is forgotten after a while."""
        now = time.monotonic()
        by_now = self._slot + int((now - self._told_at) * _SLOTS_A_SECOND)
        if slot >= by_now or now - self._told_at > _FORGOTTEN_S:
            self._slot, self._told_at = slot, now
            return False
        return slot < by_now - _BEHIND_SLOTS


def _slot(result: Any) -> int | None:
    """How far a node was that gave this result, where it says so."""
    if not isinstance(result, dict):
        return None
    context = result.get("context")
    slot = context.get("slot") if isinstance(context, dict) else result.get("absoluteSlot")
    return slot if isinstance(slot, int) else None


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
    code = 0 if error is None else error.get("code")
    # A node that is busy may not have read whose request it was.
    if said.get("id") != number and code not in _RATE_LIMITS:
        raise NodeUnavailable("the answer belongs to another request.")
    if error is not None:
        message = " ".join(str(error.get("message", "")).split())
        raise NodeRefused(code if isinstance(code, int) else 0, message, error.get("data"))
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
