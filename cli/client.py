"""The typed client of the HTTP API and of the stream of statuses.

Example::

    async with Client("https://…", "oek_…") as client:
        accepted = await client.place("SOL", "USDC", "1.5", slippage_bps=50)
        async for event in client.follow(accepted.order_id):
            print(event.seq, event.status)
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from cli.errors import ApiError, ClientError, Unreachable
from cli.events import OrderEvent
from cli.stream import Follower, StreamState, jitter
from order_engine.domain import numerals
from order_engine.domain.order import Status
from order_engine.wire.schema import OrderListView, OrderSummaryView, OrderView, QuoteView, StatsView, TokensView

__all__ = ["Accepted", "ApiError", "Client", "ClientError", "OrderEvent", "StreamState", "Unreachable"]

type Json = dict[str, Any]
type Amount = Decimal | str | int

TRIES = 3
_FIRST_WAIT_S = 0.15
# Ids are UUIDs; the command line and the logs show their first eight characters.
_SHORT, _WHOLE = 8, 36
_LOOKED_AT = 1000
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_RETRIED = frozenset({502, 503, 504})
_CONNECT_S = 3.0
# API Gateway's own answers have no code.
_CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "body_too_large", 429: "rate_limited"}
_SENTENCES = {
    401: "The API key is missing, unknown, expired or revoked.",
    403: "The API key is unknown, expired or revoked.",
    429: "Too many requests in a short time.",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an order.

    Attributes:
        ws_url: a WebSocket address with a ticket for this order, valid for about a minute.
        replayed: an earlier request with the same idempotency key had placed it.
    """

    order_id: str
    status: Status
    created_at: str
    ws_url: str
    replayed: bool


class Client:
    """The engine behind one address, as the owner of one key sees it.

    Every request is safe to send again, so those that get no answer, or 502 to 504, are sent up to three times.

    Args:
        url: of the HTTP API.
        key: the API key (``oek_…``), or a token of the configured OIDC issuer.
        ws_url: of the WebSocket API, where the key itself is to be sent. Without it the client asks the HTTP API
            for a stream ticket, which carries the address.
        timeout_s: for one request.
        transport: replaces the network in tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        ws_url: str | None = None,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._ws_url = ws_url
        self._authorization = {} if not key else {"Authorization": f"Bearer {key}"}
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=self._authorization,
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=100),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def place(
        self,
        token_in: str,
        token_out: str,
        amount_in: Amount,
        *,
        slippage_bps: int | None = None,
        limit_price: Amount | None = None,
        expires_at: datetime | None = None,
        wallet_address: str | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Place an order: a limit order if it has a limit price, else a market order.

        Args:
            token_in, token_out: by symbol or mint.
            amount_in: whole tokens of ``token_in``.
            slippage_bps: tolerance against the quote in basis points; the engine's default if None.
            limit_price: the least whole ``token_out`` per whole ``token_in``.
            expires_at: limit orders only; with a zone.
            idempotency_key: names the order. One is made if None, so that a request which is sent again after its
                answer was lost never places a second order.

        Raises:
            ApiError: the order was refused.
            Unreachable: no answer came. If it is ``unknown`` whether the order was placed, the same key finds out.
        """
        body: Json = {"type": "market", "tokenIn": token_in, "tokenOut": token_out, "amountIn": _text(amount_in)}
        if limit_price is not None:
            body |= {"type": "limit", "limitPrice": _text(limit_price)}
        if slippage_bps is not None:
            body["slippageBps"] = slippage_bps
        if expires_at is not None:
            body["expiresAt"] = expires_at.isoformat()
        if wallet_address is not None:
            body["walletAddress"] = wallet_address
        key = idempotency_key if idempotency_key is not None else str(uuid.uuid4())
        answer = await self._send("POST", "/api/orders/execute", json=body, headers={"Idempotency-Key": key})
        content = _content(answer)
        return Accepted(
            order_id=content["orderId"],
            status=Status(content["status"]),
            created_at=content["createdAt"],
            ws_url=content["wsUrl"],
            replayed=answer.headers.get("Idempotent-Replayed") == "true",
        )

    async def get(self, order_id: str) -> OrderView:
        """Read an order with all its events."""
        order: OrderView = await self._read("GET", f"/api/orders/{_segment(order_id)}")
        return order

    async def list(self, *, status: str | None = None, limit: int = 20, cursor: str | None = None) -> OrderListView:
        """Read one page of your orders, newest first. ``limit`` is 1 to 100."""
        given = {"status": status, "limit": limit, "cursor": cursor}
        page: OrderListView = await self._read(
            "GET", "/api/orders", params={name: value for name, value in given.items() if value is not None}
        )
        return page

    async def orders(self, *, status: str | None = None) -> AsyncGenerator[OrderSummaryView]:
        """All of your orders, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = await self.list(status=status, limit=100, cursor=cursor)
            for order in page["orders"]:
                yield order
            cursor = page.get("nextCursor")
            if cursor is None:
                return

    async def find(self, name: str) -> str:
        """The whole id of the order that an id, or the beginning of one, names.

        Args:
            name: a whole id is taken as it is. Eight characters or more, as tables and logs show them, are looked for
                among the newest thousand orders.

        Raises:
            ApiError: ``order_not_found`` or, where several begin so, ``ambiguous_order``.
        """
        start = name.strip().rstrip("…")
        if not _SHORT <= len(start) < _WHOLE:
            return start
        looked_at = 0
        cursor: str | None = None
        while looked_at < _LOOKED_AT:
            page = await self.list(limit=100, cursor=cursor)
            found = [order["orderId"] for order in page["orders"] if order["orderId"].startswith(start)]
            if len(found) > 1:
                raise ApiError(0, "ambiguous_order", f"Several orders begin with {start}: {', '.join(found)}.")
            if found:
                return found[0]
            looked_at += len(page["orders"])
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        among = f"the newest {looked_at:,}" if cursor else "yours"
        raise ApiError(0, "order_not_found", f"No order among {among} begins with {start}.")

    async def cancel(self, order_id: str) -> OrderView:
        """Cancel an order that no worker has claimed.

        Raises:
            ApiError: with the code ``too_late_to_cancel``, among others.
        """
        order: OrderView = await self._read("DELETE", f"/api/orders/{_segment(order_id)}")
        return order

    async def quote(self, token_in: str, token_out: str, amount_in: Amount) -> QuoteView:
        """Quote all candidates for whole tokens of ``token_in``."""
        params = {"tokenIn": token_in, "tokenOut": token_out, "amountIn": _text(amount_in)}
        quote: QuoteView = await self._read("GET", "/api/quote", params=params)
        return quote

    async def tokens(self) -> TokensView:
        """What can be traded, each against each. It changes with a deployment at most."""
        tokens: TokensView = await self._read("GET", "/api/tokens")
        return tokens

    async def stats(self) -> StatsView:
        """Your orders in numbers, and the queue's depth."""
        stats: StatsView = await self._read("GET", "/api/stats")
        return stats

    def follow(
        self,
        order_id: str,
        *,
        after: int = 0,
        ws_url: str | None = None,
        on_state: Callable[[StreamState], None] | None = None,
    ) -> AsyncGenerator[OrderEvent]:
        """Follow an order to its end: each event after ``after`` once, in order, whatever happens to the connection.

        Args:
            after: the last sequence number that you have seen.
            ws_url: the order's ``Accepted.ws_url``, which saves the first look-up of the address.
            on_state: is told when the connection is made or lost.

        Raises:
            ApiError: there is no such order, or the key is refused.
            Unreachable: no connection could be made for five minutes.
        """
        return Follower(self, order_id=order_id, after=after, first_address=ws_url, on_state=on_state).events()

    def follow_all(
        self,
        *,
        since: datetime | None = None,
        on_state: Callable[[StreamState], None] | None = None,
    ) -> AsyncGenerator[OrderEvent]:
        """Follow all of your orders, without an end: each event once, in the order of its order's sequence.

        Args:
            since: orders that were placed before and have ended are left out. If None, the twenty newest orders
                come first, with their history.
            on_state: is told when the connection is made or lost.

        Raises:
            ApiError: the key is refused.
            Unreachable: no connection could be made for five minutes.
        """
        return Follower(self, since=since, on_state=on_state).events()

    async def stream_address(self) -> tuple[str, Mapping[str, str]]:
        """A WebSocket address on which all orders may be followed, and the headers to send there.

        Raises:
            ApiError, Unreachable: as for any request.
        """
        if self._ws_url is not None:
            return self._ws_url, self._authorization
        answer = await self._read("POST", "/api/stream-tickets", json={})
        return answer["wsUrl"], {}

    async def _read(self, method: str, path: str, **arguments: Any) -> Any:
        return _content(await self._send(method, path, **arguments))

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        unknown = False
        for failures in range(TRIES):
            try:
                answer = await self._send_once(method, path, **arguments)
                if answer.status_code not in _RETRIED or failures == TRIES - 1:
                    return answer
            except Unreachable as error:
                unknown = error.unknown = error.unknown or unknown
                if failures == TRIES - 1:
                    raise
            await asyncio.sleep(jitter(_FIRST_WAIT_S * 2**failures))
        raise AssertionError("the last try returns or raises")

    async def _send_once(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(self.url, _reason(error), unknown=not isinstance(error, _NOT_SENT)) from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise Unreachable(self.url, "this is no address") from error


def _text(amount: Amount) -> str:
    if isinstance(amount, float):
        raise TypeError("An amount is a Decimal, a string or an int: a float is not exact.")
    if isinstance(amount, str):
        return amount
    try:
        return format(numerals.bounded(amount), "f")
    except numerals.NotANumeral as error:
        raise ValueError(str(error)) from error


def _segment(order_id: str) -> str:
    """An id as one segment of a path."""
    return quote(order_id, safe="")


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.UnsupportedProtocol):
        return "an address begins with http:// or https://"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "the host is not known"
        if isinstance(cause, ssl.SSLError):
            return "no secure connection could be made"
        cause = cause.__cause__ or cause.__context__
    return "the connection was refused" if isinstance(error, httpx.ConnectError) else "the connection broke"


def _content(answer: httpx.Response) -> Any:
    """The JSON of a good answer.

    Raises:
        ApiError: of any other.
    """
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.is_success and isinstance(content, dict):
        return content
    raise _refusal(answer, content if isinstance(content, dict) else {})


def _refusal(answer: httpx.Response, content: Json) -> ApiError:
    status = answer.status_code
    if "code" not in content and (answer.is_success or answer.is_redirect or "message" not in content):
        return ApiError(status, "not_an_order_engine", f"{answer.url.host} does not answer like an order engine.")
    after = answer.headers.get("Retry-After", "")
    return ApiError(
        status,
        str(content.get("code") or _CODES.get(status) or f"http_{status}"),
        str(content.get("detail") or _SENTENCES.get(status) or content.get("message") or "The request was refused."),
        field=content.get("field"),
        retry_after_s=int(after) if re.fullmatch("[0-9]{1,9}", after) else None,
    )
