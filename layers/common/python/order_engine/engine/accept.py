"""Accept an order, or find the one that was accepted before; only a new one counts against the limit of new orders."""

from __future__ import annotations

from dataclasses import dataclass, field

from order_engine.domain.errors import IdempotencyConflict, InvalidInput, TooManyOpenOrders
from order_engine.domain.order import Order, OrderRequest
from order_engine.engine.place import Place, order_id_for
from order_engine.engine.ports import Clock
from order_engine.engine.rates import Allowance, Meter, Rate, RateLimited, RateLimiter

MAX_RESTING_MS = 30 * 24 * 3_600_000
# In units of one order's read: what it costs to find out that an order was placed before, or that a user may have no
# more open ones.
REPLAY, FULL = 1, 3
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """The stored order.

    Attributes:
        replayed: an earlier request with the same key had stored it.
        allowance: what is left of the limit of new orders, where this is one.
    """

    order: Order
    replayed: bool
    allowance: Allowance | None


@dataclass(frozen=True, slots=True)
class Accept:
    """The use case.

    Attributes:
        max_slippage_bps: no new order may allow more, basis points; None where there is no such ceiling.
    """

    place: Place
    limiter: RateLimiter
    meter: Meter
    clock: Clock
    max_slippage_bps: int | None = None
    # Orders that this process knows to be there, by id: whoever asks for one again, however often, costs a read, which
    # is counted before it is done, and no write that would be taken back.
    _known: dict[str, None] = field(default_factory=dict)

    async def __call__(
        self,
        user_id: str,
        request: OrderRequest,
        idempotency_key: str | None = None,
        *,
        rate: Rate,
        reads: Rate,
        key_id: str | None = None,
        max_open: int | None = None,
    ) -> Accepted:
        """Count, store and queue a new order.

        Args:
            rate: the caller's limit of new orders.
            reads: the caller's limit of reads, which counts what turns out to be no new order.
            key_id, max_open: see ``Place``.

        Raises:
            InvalidInput: it has expired already, or would rest too long; or it allows too much slippage.
            RateLimited: too many new orders or reads.
            IdempotencyConflict, TooManyOpenOrders: see ``Place``; the order is not counted.
            Exception: the store failed; nothing was accepted, as far as the caller can know.
        """
        if idempotency_key is not None and order_id_for(user_id, idempotency_key) in self._known:
            earlier = await self._earlier(user_id, request, idempotency_key, reads)
            if earlier is not None:
                return earlier
        now = self.clock.now_ms()
        try:
            check_expiry(request, now)
            self._check_slippage(request)
            allowance = await self.limiter.admit(user_id, rate, now)
        except (InvalidInput, RateLimited):
            # Neither what has expired since nor a limit stands in the way of asking again.
            if idempotency_key is not None:
                earlier = await self._earlier(user_id, request, idempotency_key, reads)
                if earlier is not None:
                    return earlier
            raise
        try:
            placed = await self.place(user_id, request, idempotency_key, key_id=key_id, max_open=max_open)
        except (IdempotencyConflict, TooManyOpenOrders) as error:
            await self.limiter.give_back(user_id, rate, now)
            await self._spend(user_id, reads, FULL if isinstance(error, TooManyOpenOrders) else REPLAY)
            raise
        if idempotency_key is not None:
            self._remember(placed.order)
        if placed.replayed:
            await self.limiter.give_back(user_id, rate, now)
            await self._spend(user_id, reads, REPLAY)
            return Accepted(placed.order, replayed=True, allowance=None)
        return Accepted(placed.order, replayed=False, allowance=allowance)

    def _check_slippage(self, request: OrderRequest) -> None:
        most = self.max_slippage_bps
        if most is not None and request.slippage_bps > most:
            raise InvalidInput(f"slippageBps is {most} at most on this market.", field="slippageBps")

    async def _earlier(self, user_id: str, request: OrderRequest, key: str, reads: Rate) -> Accepted | None:
        """What an earlier request with this key has stored; None if there was none."""
        await self._spend(user_id, reads, REPLAY)
        earlier = await self.place.replay(user_id, request, key)
        if earlier is None:
            return None
        self._remember(earlier.order)
        return Accepted(earlier.order, replayed=True, allowance=None)

    def _remember(self, order: Order) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[order.ref.order_id] = None

    async def _spend(self, user_id: str, reads: Rate, units: int) -> None:
        await self.meter.spend(user_id, reads, self.clock.now_ms(), units=units)


def check_expiry(request: OrderRequest, now: int) -> None:
    """Refuse a new order that has expired already, or that would rest too long.

    Args:
        now: milliseconds since the epoch.

    Raises:
        InvalidInput: ``expiresAt`` is not in the future, or more than 30 days ahead.
    """
    if request.expires_at is not None and not now < request.expires_at <= now + MAX_RESTING_MS:
        raise InvalidInput("expiresAt must lie in the future, at most 30 days ahead.", field="expiresAt")
