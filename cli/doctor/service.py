"""Looks that any client of the API can take, at a stage and at a local stack alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from cli.client import Client
from cli.doctor.finding import Finding, State
from cli.errors import ApiError, ClientError
from cli.events import OrderEvent
from order_engine.domain.order import Status

# A page of another origin asks for these before it places an order.
_ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
# Tickets live for a minute, and time limits are given in the caller's own time. HTTP tells whole seconds.
_SKEW_S = 5.0
_ORDER_S = 60.0
_SLOW_S = 10.0
_HTTP_S = 15.0


@dataclass(frozen=True, slots=True)
class Service:
    """The API of a deployment, as the owner of a key sees it.

    Attributes:
        origin: of a web page that should be allowed to call the API; None where none is known.
        order: whether a small order may be placed.
        transport: replaces the network in tests.
    """

    url: str
    key: str
    origin: str | None = None
    order: bool = True
    transport: httpx.AsyncBaseTransport | None = None

    async def looks(self) -> AsyncIterator[Finding]:
        """One finding after the other; ends early where nothing further can be looked at."""
        async with httpx.AsyncClient(base_url=self.url, timeout=_HTTP_S, transport=self.transport) as http:
            try:
                health = await http.get("/health")
            except httpx.HTTPError as error:
                yield Finding(
                    "reachable",
                    State.WRONG,
                    f"Nothing answers at {self.url}: {type(error).__name__}.",
                    "Is the address the output HttpUrl, and the network open? `make run` starts a local stack.",
                )
                return
            yield _healthy(health)
            yield clock(health.headers, time.time())
            yield await self._preflight(http)
            key = await self._key(http)
            yield key
        if key.state is State.WRONG:
            return
        if not self.order:
            yield Finding("order", State.SKIPPED, "No order was placed, as you asked.")
            return
        async with Client(self.url, self.key, transport=self.transport) as client:
            async for finding in self._order(client):
                yield finding

    async def _preflight(self, http: httpx.AsyncClient) -> Finding:
        if self.origin is None:
            return Finding("cors", State.SKIPPED, "No other origin may call the API, or none is known: give --origin.")
        answer = await http.options("/api/orders/execute", headers={"Origin": self.origin, **_ASKED})
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        if answer.is_success and allowed in (self.origin, "*"):
            return Finding("cors", State.OK, f"Pages of {self.origin} may call the API.")
        return Finding(
            "cors",
            State.WRONG,
            f"A browser would not let {self.origin} call the API: the preflight is answered {answer.status_code}"
            f" and allows {allowed or 'no origin'}.",
            f'Deploy with CONTEXT="-c corsOrigins={self.origin}", the origin as browsers write it, without a path.',
        )

    async def _key(self, http: httpx.AsyncClient) -> Finding:
        answer = await http.get("/api/orders", params={"limit": 1}, headers={"Authorization": f"Bearer {self.key}"})
        match answer.status_code:
            case 200:
                return Finding("key", State.OK, "The key is accepted and may read.")
            case 401 | 403:
                return Finding(
                    "key",
                    State.WRONG,
                    f"The key is refused ({answer.status_code}).",
                    "order-engine keys list says whether it has expired, was revoked or lacks a scope.",
                )
            case 429:
                return Finding(
                    "key", State.WRONG, "The key's or the stage's limit is used up.", "Wait a minute and look again."
                )
        return Finding(
            "key",
            State.WRONG,
            f"Reading is answered {answer.status_code}.",
            "The log of the function Submit says why (docs/runbook.md, HttpServerErrors).",
        )

    async def _order(self, client: Client) -> AsyncIterator[Finding]:
        """Place an order and follow it on its own socket to its end."""
        began = time.monotonic()
        try:
            accepted = await client.place("SOL", "USDC", "0.01")
        except ApiError as error:
            yield Finding(
                "order", State.WRONG, f"An order is refused: {error.code}. {error.detail}", _of_refusal(error)
            )
            return
        except ClientError as error:
            yield Finding("order", State.WRONG, str(error), "Look again; then see the log of the function Submit.")
            return
        seen: list[OrderEvent] = []
        states: list[bool] = []
        try:
            async with (
                asyncio.timeout(_ORDER_S),
                aclosing(
                    client.follow(
                        accepted.order_id,
                        ws_url=accepted.ws_url,
                        on_state=lambda state: states.append(state.connected),
                    )
                ) as events,
            ):
                async for event in events:
                    seen.append(event)  # noqa: PERF401 - what was seen until the time is over counts
        except (TimeoutError, ClientError) as error:
            if not any(states):
                yield Finding(
                    "socket", State.WRONG, f"No socket could be opened: {str(error) or 'no answer in time.'}", _SOCKET
                )
        end, took = await _end(client, accepted.order_id), time.monotonic() - began
        yield _of_end(end, took)
        if any(states):
            yield _of_socket([event.seq for event in seen], end)


_SOCKET = (
    "Is WebSocketUrl reachable from here (wss, port 443)? The logs of the functions Socket and Authorizer say who was "
    "refused."
)


def _healthy(answer: httpx.Response) -> Finding:
    if answer.status_code == 200:
        return Finding("reachable", State.OK, f"The API answers at {answer.url.copy_with(path='/')}.")
    return Finding(
        "reachable",
        State.WRONG,
        f"The API answers {answer.status_code} to /health.",
        "The log of the function Submit says why; after a deployment, roll back (docs/runbook.md).",
    )


def clock(headers: Mapping[str, str], now: float) -> Finding:
    """Compare this machine's clock with the service's.

    Args:
        now: seconds since the epoch, here.
    """
    try:
        there = parsedate_to_datetime(headers["Date"]).replace(tzinfo=UTC).timestamp()
    except (KeyError, ValueError):
        return Finding("clock", State.SKIPPED, "The service does not tell its time.")
    # It tells whole seconds.
    behind = there + 0.5 - now
    if abs(behind) <= _SKEW_S:
        return Finding("clock", State.OK, "This machine's clock agrees with the service's.")
    direction = "behind" if behind > 0 else "ahead"
    return Finding(
        "clock",
        State.WRONG,
        f"This machine's clock is {abs(behind):.0f} s {direction}.",
        "Synchronise it (NTP): time limits that you give would be off, and AWS refuses credentials beyond 5 minutes.",
    )


def _of_refusal(error: ApiError) -> str:
    if error.status == 403:
        return "The key may not trade: make one with the scope trade."
    if error.status == 429:
        return "The limit of orders is used up: wait a minute."
    return "The log of the function Submit says why."


async def _end(client: Client, order_id: str) -> Mapping[str, object] | None:
    """The order as it reads back; None if it does not."""
    try:
        return await client.get(order_id)
    except ClientError:
        return None


def _of_end(order: Mapping[str, object] | None, took_s: float) -> Finding:
    if order is None:
        return Finding("order", State.WRONG, "An accepted order cannot be read.", "See the log of the function Submit.")
    status = str(order["status"])
    if status == Status.CONFIRMED:
        if took_s > _SLOW_S:
            return Finding(
                "order", State.NOTE, f"An order was confirmed after {took_s:.0f} s.", "Cold functions? Again."
            )
        return Finding("order", State.OK, f"An order was accepted and confirmed within {took_s:.1f} s.")
    if status == Status.FAILED:
        return Finding(
            "order",
            State.NOTE,
            f"An order was executed and failed: {order['failureReason']}",
            "One failure may be the market's. If it happens again: docs/runbook.md, MonitoringFailureRate.",
        )
    return Finding(
        "order",
        State.WRONG,
        f"An order is still {status} after {took_s:.0f} s (at {datetime.now(UTC):%H:%M:%S} UTC).",
        "Do workers run? docs/runbook.md, MonitoringOldestMessage and WorkersProcessErrors.",
    )


def _of_socket(numbers: list[int], order: Mapping[str, object] | None) -> Finding:
    whole = order is not None and numbers == list(range(1, int(str(order["seq"])) + 1))
    if whole:
        return Finding("socket", State.OK, f"A socket told each of its {len(numbers)} steps, once and in order.")
    return Finding(
        "socket",
        State.WRONG,
        f"A socket was opened, but told the steps {numbers}.",
        "docs/runbook.md, WorkersNotifyErrors and MonitoringStreamFailuresDepth.",
    )
