"""Who may do what: API keys and stream tickets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

from order_engine.domain.errors import EngineError, InvalidInput

KEY_PREFIX = "oek_"
SCOPES: tuple[str, ...] = ("trade", "read")
TICKET_MS = 60_000
# Users of tokens are named with these prefixes, and no user of a key may be: neither can ever be taken for the other.
TOKEN_USERS, PLAIN_TOKEN_USERS = "oidc/", "oidc:"
_NOT_FOR_KEYS = (TOKEN_USERS, PLAIN_TOKEN_USERS)
MAX_ORDERS_PER_MINUTE = 60_000
MAX_SOCKETS = 1_000
MAX_OPEN_ORDERS = 10_000
_BAD_TICKET = "The stream ticket is not valid any more. Ask for a new one."


class NotAuthorized(EngineError):
    """The credentials are missing, unknown, expired or revoked. It is not said which."""

    code = "unauthorized"


class WrongSignature(NotAuthorized):
    """A stream ticket that was signed with none of the secrets that are known here."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as stored; the key itself is not.

    Attributes:
        key_hash: SHA-256 of the key, hex.
        scopes: what it may do, of ``SCOPES``.
        created_at, expires_at, revoked_at: milliseconds since the epoch; the last two may be None.
        created_by, revoked_by: who did it, as AWS names them; empty where that was not recorded.
        orders_per_minute, max_sockets, max_open_orders: override the defaults of the deployment.
    """

    key_hash: str
    user_id: str
    scopes: frozenset[str]
    created_at: int
    name: str = ""
    expires_at: int | None = None
    revoked_at: int | None = None
    orders_per_minute: int | None = None
    max_sockets: int | None = None
    max_open_orders: int | None = None
    created_by: str = ""
    revoked_by: str = ""

    @property
    def key_id(self) -> str:
        """A short name for the key that gives nothing away."""
        return self.key_hash[:12]

    def valid(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyFinder(Protocol):
    """All that those who check keys may do with them."""

    async def find_key(self, key_hash: str) -> ApiKey | None:
        """A key as it is now: one made or revoked a moment ago is found so."""


class KeyStore(KeyFinder, Protocol):
    async def add_key(self, key: ApiKey) -> None:
        """Store a new key.

        Raises:
            InvalidInput: it exists already.
        """

    async def list_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        """The keys of one user, or of all."""

    async def revoke_key(self, key_id: str, now: int, by: str) -> ApiKey | None:
        """Revoke by key id; None if there is no such key. Whoever did it first, and when, stays."""


class KeyUse(Protocol):
    """When keys were last used, to the hour: knowing it better would cost a write per request."""

    async def note(self, key_id: str, now: int) -> None:
        """A key was used. Writes only what is news by an hour or more."""

    async def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Milliseconds since the epoch, by key id; keys that were never used are not in it."""


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
    max_sockets: int | None = None,
    max_open_orders: int | None = None,
    by: str = "",
    key: str | None = None,
) -> tuple[str, ApiKey]:
    """Make an API key.

    Args:
        by: who makes it, for the record.
        key: the text of the key, for demonstrations; otherwise a random one of 256 bits.

    Returns:
        The key, which is shown once and never stored, and what is stored.

    Raises:
        InvalidInput: not a user id, an unknown scope, or a limit out of range.
    """
    if not user_id or len(user_id) > 128 or not user_id.isprintable():
        raise InvalidInput("A user id has 1 to 128 printable characters.", field="user")
    if user_id.startswith(_NOT_FOR_KEYS):
        raise InvalidInput(f"User ids that begin with {' or '.join(_NOT_FOR_KEYS)} belong to tokens.", field="user")
    if orders_per_minute is not None and not 1 <= orders_per_minute <= MAX_ORDERS_PER_MINUTE:
        raise InvalidInput(f"A key admits 1 to {MAX_ORDERS_PER_MINUTE} orders a minute.", field="ordersPerMinute")
    if max_sockets is not None and not 1 <= max_sockets <= MAX_SOCKETS:
        raise InvalidInput(f"A key admits 1 to {MAX_SOCKETS} sockets.", field="maxSockets")
    if max_open_orders is not None and not 1 <= max_open_orders <= MAX_OPEN_ORDERS:
        raise InvalidInput(f"A key admits 1 to {MAX_OPEN_ORDERS} open limit orders.", field="maxOpenOrders")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidInput(f"Scopes are {' and '.join(SCOPES)}.", field="scopes")
    text = key if key is not None else KEY_PREFIX + secrets.token_urlsafe(32)
    stored = ApiKey(
        hash_key(text),
        user_id,
        frozenset(scopes),
        now,
        name,
        expires_at,
        orders_per_minute=orders_per_minute,
        max_sockets=max_sockets,
        max_open_orders=max_open_orders,
        created_by=by,
    )
    return text, stored


@dataclass(frozen=True, slots=True)
class Ticket:
    """A signed, short-lived right to follow one order (or all, where ``order_id`` is None) over a WebSocket.

    Attributes:
        expires_at: until when it opens a socket, milliseconds since the epoch.
        key_id, key_expires_at, max_sockets: of the credential that it was given to. A socket that it opens ends with
            that credential, as if it had been shown itself.
    """

    user_id: str
    order_id: str | None
    expires_at: int
    key_id: str = ""
    key_expires_at: int | None = None
    max_sockets: int | None = None


class RotatedKeys(Protocol):
    """The secrets that are accepted: the current one first, then the former."""

    async def accepted(self) -> Sequence[str]:
        """As of a few minutes ago at most."""

    async def reread(self) -> Sequence[str]:
        """As of a few seconds ago at most."""


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def sign_ticket(ticket: Ticket, secret: str) -> str:
    """Write a ticket: its content and an HMAC-SHA256 over it, base64url."""
    payload = _encode(json.dumps(astuple(ticket), separators=(",", ":")).encode())
    return f"{payload}.{_encode(_mac(payload, secret))}"


def _mac(payload: str, secret: str) -> bytes:
    return hmac.digest(secret.encode(), f"stream-ticket:{payload}".encode(), "sha256")


def open_ticket(text: str, accepted: Sequence[str], now: int) -> Ticket:
    """Read a ticket that was signed with any of the accepted secrets (the current one and the former).

    Raises:
        WrongSignature: signed with none of them.
        NotAuthorized: expired, or not a ticket.
    """
    payload, _, signature = text.partition(".")
    try:
        given = _decode(signature)
        if not any(hmac.compare_digest(given, _mac(payload, secret)) for secret in accepted):
            raise WrongSignature(_BAD_TICKET)
        ticket = Ticket(*json.loads(_decode(payload)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise NotAuthorized(_BAD_TICKET) from error
    if now >= ticket.expires_at:
        raise NotAuthorized(_BAD_TICKET)
    return ticket


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling, and what they may do.

    Attributes:
        key_id: of the key, also where a ticket of its is shown; ``token`` for a token.
        orders_per_minute, max_sockets, max_open_orders: the key's own limits, or None.
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
    max_sockets: int | None = None
    max_open_orders: int | None = None


async def identify_key(keys: KeyFinder, header: str | None, now: int) -> Identity:
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
    if found is None or not found.valid(now) or found.user_id.startswith(_NOT_FOR_KEYS):
        raise refused
    return Identity(
        found.user_id,
        found.scopes,
        found.key_id,
        found.orders_per_minute,
        expires_at=found.expires_at,
        max_sockets=found.max_sockets,
        max_open_orders=found.max_open_orders,
    )


async def identify_ticket(text: str, keys: RotatedKeys, now: int) -> Identity:
    """Who a stream ticket belongs to.

    Raises:
        NotAuthorized: to nobody.
    """
    try:
        ticket = open_ticket(text, await keys.accepted(), now)
    except WrongSignature:
        # Signed after a rotation that has not been seen here yet, perhaps.
        ticket = open_ticket(text, await keys.reread(), now)
    return Identity(
        ticket.user_id,
        frozenset({"read"}),
        ticket.key_id,
        order_id=ticket.order_id,
        expires_at=ticket.key_expires_at,
        max_sockets=ticket.max_sockets,
    )
