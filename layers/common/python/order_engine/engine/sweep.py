"""What time does to orders: stranded ones are sent again, old ones expire, limit orders fire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import permutations

from order_engine.domain import lifecycle
from order_engine.domain.amounts import BY_MINT, TOKENS, limit_min_out
from order_engine.domain.errors import AttemptFailed
from order_engine.domain.order import Order, OrderRef, OrderRequest, Status
from order_engine.domain.quote import Pool
from order_engine.engine.execute import Observer
from order_engine.engine.ports import Clock, Conflict, OrderQueue, OrderStore, Venue
from order_engine.engine.quoting import gather_pools
from order_engine.engine.routing.decide import decide

# An order that made no step for this long has probably lost its message.
STRANDED_MS = 25_000
# A worker's lease ran out this long ago: its message may still come, but not soon.
LEASE_GRACE_MS = 1_000
# Messages that were really sent are not lost; sending again and again only feeds a long queue.
_RESEND_BACKOFF_MS = 60_000
_RESEND_BACKOFF_MAX_MS = 900_000
# How many orders of each index partition one beat looks at. Orders that wait for their turn are among them, so
# that this must exceed what a long disturbance leaves behind.
_LOOK = 1000
# How many are sent before they are marked: what fails on the way is sent again by the next beat.
_SEND = 100


@dataclass(frozen=True, slots=True)
class Stranded:
    """Whether an order needs another message, and why."""

    resend: bool
    reason: str


def stranded(order: Order, now: int) -> Stranded:
    """Decide whether an active order has lost its way to a worker. Pure."""
    if order.status in lifecycle.TERMINAL or order.status is Status.OPEN:
        return Stranded(False, f"{order.status} needs no worker")
    if order.resent_at is not None:
        backoff = min(_RESEND_BACKOFF_MAX_MS, _RESEND_BACKOFF_MS << max(0, order.resends - 1))
        if now < order.resent_at + backoff:
            return Stranded(False, "sent again a short while ago")
    if order.lease is not None:
        if now < order.lease.until + LEASE_GRACE_MS:
            return Stranded(False, "held by a worker")
        return Stranded(True, "its worker's lease ran out")
    since = max(order.updated_at, order.retry_at or 0)
    if now < since + STRANDED_MS:
        return Stranded(False, "a message is on its way")
    return Stranded(True, "no worker has taken it")


@dataclass(slots=True)
class Sweep:
    """The use case. ``beat`` looks for stranded and expired orders; ``watch`` compares resting ones with the market."""

    orders: OrderStore
    queue: OrderQueue
    venues: Sequence[Venue]
    clock: Clock
    observer: Observer
    quote_deadline_ms: int = 1500
    max_price_impact_bps: int = 1000
    _resting_pairs: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, deadline: int, *, sweep_every_ms: int, watch_every_ms: int, stay_until: int = 0) -> None:
        """Work in beats while any order is active or rests, until ``deadline`` (milliseconds since the epoch) at most.

        Args:
            sweep_every_ms, watch_every_ms: zero switches a beat's repetition off.
            stay_until: do not take a table in which nothing waits for idle before then: its index may lag behind.
        """
        next_sweep = next_watch = self.clock.now_ms()
        while True:
            now = self.clock.now_ms()
            if now >= next_sweep:
                next_sweep = now + sweep_every_ms if sweep_every_ms else deadline
                # An idle deployment pays for this look and nothing else. One that fails says nothing.
                if await self._survive("look_failed", self.orders.any_waiting) is False:
                    if now >= stay_until:
                        return
                    next_sweep = min(next_sweep, stay_until)
                else:
                    await self._survive("sweep_failed", self.beat)
                    await self._survive("watch_failed", self._find_resting_pairs)
            if now >= next_watch:
                await self._survive("watch_failed", self.watch)
                next_watch = now + watch_every_ms if watch_every_ms else deadline
            wake = min(next_sweep, next_watch)
            if wake >= deadline:
                return
            await self.clock.sleep(max(1, wake - self.clock.now_ms()))

    async def _survive[T](self, what: str, work: Callable[[], Awaitable[T]], order_id: str = "") -> T | None:
        """The result; None if it failed. One order's trouble must not cost the others, nor one beat's the next."""
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - a throttle, an item that cannot be read: whatever it was
            self.observer.noted(order_id, what, f"{type(error).__name__}: {error}")
            return None

    async def beat(self) -> int:
        """Send stranded orders again and expire old ones. Returns how many were sent."""
        now = self.clock.now_ms()
        await self._survive("expire_failed", partial(self._expire, now))
        refs = await self.orders.active(created_before=now - LEASE_GRACE_MS, limit=_LOOK)
        found = await self._each("read_failed", self.orders.get, refs)
        lost = [order for order in found if order is not None and stranded(order, now).resend]
        for start in range(0, len(lost), _SEND):
            batch = lost[start : start + _SEND]
            await self.queue.send([order.ref for order in batch])
            await asyncio.gather(*(self._survive("mark_failed", partial(self._mark, order, now)) for order in batch))
        return len(lost)

    async def _each[T](
        self, what: str, work: Callable[[OrderRef], Awaitable[T]], refs: Sequence[OrderRef]
    ) -> list[T | None]:
        """The results of all, side by side; None for each that failed."""
        return await asyncio.gather(*(self._survive(what, partial(work, ref), ref.order_id) for ref in refs))

    async def _mark(self, order: Order, now: int) -> None:
        self.observer.noted(order.ref.order_id, "resent", stranded(order, now).reason)
        # If it moved after all, the extra message will find that out and end.
        with contextlib.suppress(Conflict):
            await self.orders.mark_resent(order, now)

    async def _expire(self, now: int) -> None:
        refs = await self.orders.expiring(now=now, limit=_LOOK)
        await self._each("expire_failed", partial(self._expire_one, now), refs)

    async def _expire_one(self, now: int, ref: OrderRef) -> None:
        order = await self.orders.get(ref)
        if order is None or Status.EXPIRED not in lifecycle.TRANSITIONS[order.status]:
            return
        if order.request.expires_at is not None and order.request.expires_at <= now:
            await self._change(order, lifecycle.expire(order, now))

    async def _change(self, old: Order, new: Order) -> bool:
        try:
            await self.orders.replace(old, new)
        except Conflict:
            return False
        self.observer.changed(new)
        return True

    async def _find_resting_pairs(self) -> None:
        """Which pairs have resting orders at all: the others need no price."""
        ceiling = Decimal(10) ** 20
        pairs = [(a.mint, b.mint) for a, b in permutations(TOKENS, 2)]
        some = await asyncio.gather(*(self.orders.crossed(a, b, ceiling, limit=1) for a, b in pairs))
        self._resting_pairs = [pair for pair, refs in zip(pairs, some, strict=True) if refs]

    async def watch(self) -> int:
        """Fire the limit orders whose price the market has reached. Returns how many."""
        fired = await asyncio.gather(
            *(self._survive("watch_failed", partial(self._watch_pair, a, b)) for a, b in self._resting_pairs)
        )
        return sum(number or 0 for number in fired)

    async def _watch_pair(self, mint_in: str, mint_out: str) -> int:
        pools, _ = await gather_pools(
            self.venues, mint_in, mint_out, deadline_ms=self.quote_deadline_ms, clock=self.clock
        )
        market = best_price(pools, mint_in, mint_out)
        if market is None:
            return 0
        crossed = await self.orders.crossed(mint_in, mint_out, market, limit=_LOOK)
        outcomes = await self._each("fire_failed", partial(self._fire, pools), crossed)
        fired = [ref for ref, done in zip(crossed, outcomes, strict=True) if done]
        if fired:
            # A send that fails costs time, not the orders: fired ones are active, and the sweeper sends them.
            await self.queue.send(fired)
        return len(fired)

    async def _fire(self, pools: Sequence[Pool], ref: OrderRef) -> bool:
        order = await self.orders.get(ref)
        now = self.clock.now_ms()
        if order is None or order.status is not Status.OPEN:
            return False
        if order.retry_at is not None and now < order.retry_at:
            return False
        if not meets_limit(order.request, pools, self.max_price_impact_bps):
            return False
        return await self._change(order, lifecycle.fire(order, now))


def meets_limit(request: OrderRequest, pools: Sequence[Pool], max_price_impact_bps: int) -> bool:
    """Whether a resting order would get its limit at its full size, after fees.

    The marginal price alone says too little: an order between the two would fire and rest again for hours, until its
    history is full.
    """
    if request.limit_price is None:
        return False
    try:
        decision = decide(
            pools,
            mint_in=request.mint_in,
            mint_out=request.mint_out,
            amount_in=request.amount_in,
            max_price_impact_bps=max_price_impact_bps,
        )
    except AttemptFailed:
        return False
    limit = limit_min_out(request.amount_in, request.limit_price, request.token_in, request.token_out)
    return decision.chosen.amount_out >= limit


def best_price(pools: Sequence[Pool], mint_in: str, mint_out: str) -> Decimal | None:
    """The best marginal price of the pools that trade the pair directly, whole output per whole input token."""
    best: Decimal | None = None
    scale = BY_MINT[mint_in].decimals - BY_MINT[mint_out].decimals
    for pool in pools:
        if set(pool.mints) != {mint_in, mint_out}:
            continue
        numerator, denominator = pool.spot(mint_in)
        value = (Decimal(numerator) / Decimal(denominator)).scaleb(scale)
        best = value if best is None or value > best else best
    return best
