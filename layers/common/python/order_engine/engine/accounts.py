"""Who may do what: API keys, stream tickets and the rate limit."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from order_engine.domain.errors import EngineError, InvalidInput

KEY_PREFIX = "oek_"
SCOPES: tuple[str, ...] = ("trade", "read")
TICKET_MS = 60_000
# Users of tokens are named with this prefix, and no user of a key may be: neither can ever be taken for the other.
OIDC_USERS = "oidc:"
MAX_ORDERS_PER_MINUTE = 60_000


class NotAuthorized(EngineError):
    """The credentials are missing, unknown, expired or revoked. It is not said which."""

    code = "unauthorized"


class RateLimited(EngineError):
    """Too many orders. ``retry_after_ms`` says when the next one is admitted."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as stored; the key itself is not.

    Attributes:
        key_hash: SHA-256 of the key, hex.
        scopes: what it may do, of ``SCOPES``.
        expires_at: milliseconds since the epoch, or None.
        orders_per_minute: overrides the default rate limit.
    """

    key_hash: str
    user_id: str
    scopes: frozenset[str]
    created_at: int
    name: str = ""
    expires_at: int | None = None
    revoked_at: int | None = None
    orders_per_minute: int | None = None

    @property
    def key_id(self) -> str:
        """A short name for the key that gives nothing away."""
        return self.key_hash[:12]

    def valid(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyStore(Protocol):
    async def find_key(self, key_hash: str) -> ApiKey | None: ...

    async def add_key(self, key: ApiKey) -> None:
        """Store a new key.

        Raises:
            InvalidInput: it exists already.
        """

    async def list_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        """The keys of one user, or of all."""

    async def revoke_key(self, key_id: str, now: int) -> ApiKey | None:
        """Revoke by key id; None if there is no such key. A revoked key stays revoked at its first time."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A user's limit: ``per_minute`` orders on average, ``burst`` at once."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after an order was admitted.

    Attributes:
        remaining: orders that would be admitted at this moment.
        full_after_ms: when the whole burst is there again, if no order comes.
    """

    remaining: int
    full_after_ms: int


class RateLimiter(Protocol):
    async def admit(self, user_id: str, rate: Rate, now: int) -> Allowance:
        """Count one order.

        Raises:
            RateLimited: too many; nothing was counted.
        """

    async def give_back(self, user_id: str, rate: Rate, now: int) -> None:
        """Take back the counting of one order that turned out not to be a new one."""


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(
    user_id: str,
    now: int,
    *,
    scopes: Sequence[str] = SCOPES,
    name: str = "",
    expires_at: int | None = None,
    orders_per_minute: int | None = None,
    key: str | None = None,
) -> tuple[str, ApiKey]:
    """Make an API key.

    Args:
        key: the text of the key, for demonstrations; otherwise a random one of 256 bits.

    Returns:
        The key, which is shown once and never stored, and what is stored.

    Raises:
        InvalidInput: not a user id, an unknown scope, or a rate out of range.
    """
    if not user_id or len(user_id) > 128 or not user_id.isprintable():
        raise InvalidInput("A user id has 1 to 128 printable characters.", field="user")
    if user_id.startswith(OIDC_USERS):
        raise InvalidInput(f"User ids that begin with {OIDC_USERS} belong to tokens.", field="user")
    if orders_per_minute is not None and not 1 <= orders_per_minute <= MAX_ORDERS_PER_MINUTE:
        raise InvalidInput(f"A key admits 1 to {MAX_ORDERS_PER_MINUTE} orders a minute.", field="ordersPerMinute")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidInput(f"Scopes are {' and '.join(SCOPES)}.", field="scopes")
    text = key if key is not None else KEY_PREFIX + secrets.token_urlsafe(32)
    stored = ApiKey(hash_key(text), user_id, frozenset(scopes), now, name, expires_at, None, orders_per_minute)
    return text, stored


@dataclass(frozen=True, slots=True)
class Ticket:
    """A signed, short-lived right to follow one order (or all, where ``order_id`` is None) over a WebSocket."""

    user_id: str
    order_id: str | None
    expires_at: int


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def sign_ticket(ticket: Ticket, secret: str) -> str:
    """Write a ticket: its content and an HMAC-SHA256 over it, base64url."""
    payload = _encode(json.dumps([ticket.user_id, ticket.order_id, ticket.expires_at]).encode())
    return f"{payload}.{_encode(_mac(payload, secret))}"


def _mac(payload: str, secret: str) -> bytes:
    return hmac.digest(secret.encode(), f"stream-ticket:{payload}".encode(), "sha256")


def open_ticket(text: str, accepted: Sequence[str], now: int) -> Ticket:
    """Read a ticket that was signed with any of the accepted secrets (the current one and the former).

    Raises:
        NotAuthorized: forged, expired, or not a ticket.
    """
    refused = NotAuthorized("The stream ticket is not valid any more. Ask for a new one.")
    payload, _, signature = text.partition(".")
    try:
        given = _decode(signature)
        if not any(hmac.compare_digest(given, _mac(payload, secret)) for secret in accepted):
            raise refused
        user_id, order_id, expires_at = json.loads(_decode(payload))
    except (ValueError, TypeError, binascii.Error) as error:
        raise refused from error
    if now >= expires_at:
        raise refused
    return Ticket(user_id, order_id, expires_at)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling, and what they may do.

    Attributes:
        orders_per_minute: the key's own rate limit, or None.
        order_id: narrows a stream to one order.
        expires_at: when the credential ends, milliseconds since the epoch, or None. API Gateway keeps an
            authorizer's answer for a while; with this, the end is exact nevertheless.
    """

    user_id: str
    scopes: frozenset[str]
    key_id: str
    orders_per_minute: int | None = None
    order_id: str | None = None
    expires_at: int | None = None


async def identify_key(keys: KeyStore, header: str | None, now: int) -> Identity:
    """Who an ``Authorization: Bearer oek_…`` header belongs to.

    Raises:
        NotAuthorized: to nobody.
    """
    refused = NotAuthorized("The API key is missing, unknown, expired or revoked.")
    scheme, _, key = (header or "").strip().partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key.startswith(KEY_PREFIX) or len(key) > 200:
        raise refused
    found = await keys.find_key(hash_key(key))
    if found is None or not found.valid(now) or found.user_id.startswith(OIDC_USERS):
        raise refused
    return Identity(found.user_id, found.scopes, found.key_id, found.orders_per_minute, expires_at=found.expires_at)


def identify_token(claims: Mapping[str, object]) -> Identity:
    """Who the verified claims of an OIDC token belong to.

    Scopes are read from ``scope`` (RFC 8693) or ``scp``, separated by spaces; API Gateway writes a list as
    ``[trade read]``.

    Raises:
        NotAuthorized: the token names no subject.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 255 or not subject.isprintable():
        raise NotAuthorized("The token names no subject.")
    granted = str(claims.get("scope") or claims.get("scp") or "").strip("[]").split()
    return Identity(f"{OIDC_USERS}{subject}", frozenset(granted) & frozenset(SCOPES), "token")


def identify_ticket(text: str, accepted: Sequence[str], now: int) -> Identity:
    """Who a stream ticket belongs to.

    Raises:
        NotAuthorized: to nobody.
    """
    ticket = open_ticket(text, accepted, now)
    return Identity(ticket.user_id, frozenset({"read"}), "ticket", order_id=ticket.order_id)
