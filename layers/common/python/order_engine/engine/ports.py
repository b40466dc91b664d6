"""What the use cases need from the world. Adapters in ``aws`` and ``venues`` implement these; tests use fakes.

Every method may raise for reasons of its own (a network, a throttle); the errors named here are the ones
that carry meaning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from order_engine.domain.order import Order, OrderRef, SignedTransaction, Status
from order_engine.domain.quote import Pool


class OrderExists(Exception):
    """The key is taken. ``current`` is what is stored under it."""

    def __init__(self, current: Order) -> None:
        super().__init__(current.ref.order_id)
        self.current = current


class Conflict(Exception):
    """The order is no longer what the writer thought: someone else changed it, or the lease was lost.

    ``current`` is what is stored now; None if nothing is.
    """

    def __init__(self, current: Order | None) -> None:
        super().__init__("the order has changed")
        self.current = current


class ConnectionGone(Exception):
    """The client's socket is closed."""


class GatewayUnreachable(Exception):
    """No connection to what sends frames could be opened."""


class TooManyOrders(Exception):
    """A socket follows as many orders as one may."""


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""

    async def sleep(self, ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of orders, newest first. ``next_key`` continues after it; None on the last page."""

    orders: tuple[Order, ...]
    next_key: str | None


@dataclass(frozen=True, slots=True)
class Listing[T]:
    """A part of an index, in its order. An index lags behind its table by moments.

    Attributes:
        after: give this to the next call, which continues where this one ended; None where the end was reached, so
            that the next call begins again. Whoever goes on like this sees every entry once in each round, also
            where those that were seen stay.
    """

    entries: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A resting order that missed its limit at its full size; ``price`` as in ``Order.aside``."""

    ref: OrderRef
    price: Decimal


class OrderStore(Protocol):
    """Orders by key. Every read is consistent but those of indexes; every write is conditional."""

    async def create(self, order: Order) -> None:
        """Store a new order.

        A write whose answer was lost and that is tried again finds itself and succeeds. Another call does not, not
        even with an equal order.

        Raises:
            OrderExists: the key is taken, with what is stored there.
        """

    async def get(self, ref: OrderRef) -> Order | None: ...

    async def replace(self, old: Order, new: Order) -> None:
        """Turn ``old`` into ``new`` if the stored order still has old's seq, version and lease owner.

        A write whose answer was lost and that is tried again finds itself and succeeds.

        Raises:
            Conflict: it does not.
        """

    async def mark_resent(self, order: Order, now: int) -> None:
        """Note that a message was sent again: sets ``resent_at`` and raises ``resends``, if nothing else changed.

        Raises:
            Conflict: the order has moved.
        """

    async def page(self, user_id: str, *, limit: int, after: str | None, status: Status | None) -> Page:
        """A user's orders, newest first, of one status or of all. ``after`` is a former page's ``next_key``.

        At most ``listing.examined`` orders are read: a page may be short, even empty, though more follow.
        """

    async def count_active(self, user_id: str) -> int:
        """How many orders of a user are under way, limit orders among them. Read from an index, and not beyond some
        thousand places in it: where very many orders wait, there may be more."""

    async def any_waiting(self) -> bool:
        """Whether any order at all is active or resting. One cheap look; it may not see the last moment's writes."""

    async def get_many(self, refs: Sequence[OrderRef]) -> Mapping[OrderRef, Order | Exception]:
        """Orders by key. One that is gone is left out; for one that cannot be read, the answer is why."""

    async def count_living(self, user_id: str, *, limit: int) -> int:
        """How many limit orders of a user have not ended; counting stops at ``limit``. Read from an index."""

    async def active(self, *, created_before: int, after: str | None, limit: int) -> Listing[OrderRef]:
        """Orders that are neither resting nor terminal: of each partition the ``limit`` oldest behind ``after``."""

    async def expiring(self, *, now: int, after: str | None, limit: int) -> Listing[OrderRef]:
        """Orders with an own time limit that has passed and that are not terminal; ``limit`` of each partition."""

    async def rests(self, mint_in: str, mint_out: str) -> bool:
        """Whether any order of the pair rests, set aside or not."""

    async def crossed(
        self, mint_in: str, mint_out: str, price: Decimal, *, after: str | None, limit: int
    ) -> Listing[OrderRef]:
        """Resting orders of the pair whose limit price is at or below ``price``, lowest first.

        Those that were set aside are not among them.
        """

    async def set_aside(self, mint_in: str, mint_out: str, *, after: str | None, limit: int) -> Listing[SetAside]:
        """Resting orders of the pair that were set aside, lowest ``price`` first."""


class OrderQueue(Protocol):
    async def send(self, refs: Sequence[OrderRef]) -> None:
        """Queue orders for execution. On an error, any of them may or may not have been sent."""

    async def held(self) -> tuple[int, int]:
        """Approximately how many messages wait to be received, and how many the queue holds with those received."""

    async def depth(self) -> Mapping[str, int]:
        """Approximate numbers of messages: ``visible``, ``in_flight``, ``delayed``, ``dead``."""


class DeliveredQueue(OrderQueue, Protocol):
    async def hide(self, receipt_handle: str, delay_ms: int) -> None:
        """Let a received message come again after a delay."""


class Mailbox(Protocol):
    """Keeps what cannot be read, as it came."""

    async def keep(self, body: str, reason: str) -> None:
        """Store a message's body unchanged, with the reason beside it."""


class Venue(Protocol):
    @property
    def name(self) -> str:
        """One of ``VENUES``."""

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        """Fresh snapshots of the pools that can take part in a swap of the pair, directly or through another token.

        Raises:
            VenueError: the venue cannot answer.
        """


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """What the chain knows of a signature that landed (at ``confirmed`` commitment or above).

    Attributes:
        amount_out: base units received; None if it landed with an error.
        error: the error it landed with, as ``code: message`` with a code in snake case, else None.
    """

    slot: int
    amount_out: int | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What one node knows of a signature.

    Attributes:
        slot: how far that node was when it answered. What it does not know may yet be on the chain after this slot.
        landed: None where it does not know the signature.
    """

    slot: int
    landed: TransactionStatus | None


@dataclass(frozen=True, slots=True)
class Height:
    """How far the chain is, at ``confirmed`` commitment.

    Attributes:
        blocks: the block height, which transactions expire by.
        slot: of the same view of the same node, which the answers of other nodes are held against.
    """

    blocks: int
    slot: int


@dataclass(frozen=True, slots=True)
class Swapped:
    """A swap that landed with success, by the order that its transaction names."""

    order_id: str
    signature: str


class Incomplete(Exception):
    """Not everything could be looked at. ``found`` is what is certain all the same."""

    def __init__(self, found: Sequence[Swapped]) -> None:
        super().__init__(f"{len(found)} are certain; there are more.")
        self.found = found


class Chain(Protocol):
    """A chain behind any number of nodes, of which one may be behind another.

    Everything is answered at ``confirmed`` commitment: what is only ``processed`` may vanish again and counts as
    unknown. Each answer says how far the node was that gave it, since two answers of different nodes prove nothing
    together unless the later one is at least as far as the earlier.
    """

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        """Build and sign the swap of the order's chosen route. Nothing is broadcast.

        Raises:
            AttemptFailed: it cannot be built.
        """

    async def broadcast(self, tx: SignedTransaction) -> None:
        """Send the bytes. Idempotent by signature. Any error means that the outcome is unknown."""

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        """What became of it, as far as one node knows.

        Args:
            search_history: look through the whole history, and not only through what the node has in memory, where a
                transaction may be missing that has landed. That it is not there must be proved: where no node can know
                it, this raises.
        """

    async def height(self) -> Height: ...

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        """Every swap of this engine in the ledger since a time (milliseconds since the epoch), in any order.

        It is what the ledger holds, whatever the engine knows of it. A chain without a ledger has none to tell.

        Raises:
            Incomplete: there are more than could be looked at.
        """


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's socket. It follows some orders, or all of the user's.

    Attributes:
        orders: by order id, the sequence number up to which the client had everything when it subscribed.
        only: the one order that it was opened for; it is closed after that order's last event. None for any order.
        key_id: of the credential that opened it.
        since: when it was opened, milliseconds since the epoch.
        ends_at: when its credential ends, or None.
    """

    user_id: str
    connection_id: str
    orders: Mapping[str, int] = field(default_factory=dict)
    follows_all: bool = False
    only: str | None = None
    key_id: str = ""
    since: int = 0
    ends_at: int | None = None

    def follows(self, order_id: str) -> bool:
        return self.follows_all or order_id in self.orders

    def ended(self, now: int) -> bool:
        return self.ends_at is not None and self.ends_at <= now


class ConnectionStore(Protocol):
    async def add(self, connection: Connection, *, expires_at: int) -> None:
        """Remember a socket until ``expires_at`` (milliseconds since the epoch)."""

    async def follow(self, user_id: str, connection_id: str, order_id: str, *, known: int, most: int, now: int) -> None:
        """Follow one order more, of which the client has everything up to ``known``.

        Raises:
            ConnectionGone: the connection is not known any more, or its credential has ended.
            TooManyOrders: it follows ``most`` others.
        """

    async def follow_all(self, user_id: str, connection_id: str, *, now: int) -> None:
        """Follow all orders of the user.

        Raises:
            ConnectionGone: the connection is not known any more, or its credential has ended.
        """

    async def unfollow(self, user_id: str, connection_id: str, order_ids: Collection[str]) -> None:
        """Follow these no longer. What is not known needs no forgetting."""

    async def remove(self, user_id: str, connection_id: str) -> None: ...

    async def of_user(self, user_id: str) -> Sequence[Connection]:
        """All sockets of a user but those of revoked keys, read consistently."""

    async def revoke(self, user_id: str, key_id: str, now: int, *, expires_at: int) -> Sequence[Connection]:
        """End a key's sockets: from here on none of them, nor any that is added until ``expires_at``, is the user's.

        Returns:
            Those that are there. ``ended`` has them too, until they are removed.
        """

    async def ended(self, now: int, *, limit: int) -> Sequence[Connection]:
        """Sockets whose key was revoked, or has expired by ``now``; what they follow is not said. Lags a little."""


class Push(Protocol):
    async def post(self, connection_id: str, frame: bytes, *, within_ms: int | None = None) -> None:
        """Send one frame.

        Args:
            within_ms: how long the socket may take for it. Opening a connection to the gateway has a limit of its own,
                because a process that is new or was asleep is slow at it, and the socket is not.

        Raises:
            ConnectionGone: the socket is closed.
            GatewayUnreachable: nothing was sent, and nothing is known of the socket.
            TimeoutError: the socket was slow.
        """

    async def close(self, connection_id: str) -> None:
        """Close the socket; closing a closed one is no error."""

    async def alive(self, connection_id: str) -> bool:
        """Whether the socket is open."""
