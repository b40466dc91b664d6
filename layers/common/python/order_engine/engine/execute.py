"""Execute one order: claim, route, build, store the intent, broadcast, find out what became of it.

The rules that make it exactly once are in ``docs/reliability.md``. In short: whoever wants to change an order
claims it by one conditional write; every later write is fenced by that claim; the signed transaction is stored
before it is broadcast; after the broadcast only the chain can say that it did not happen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum

from order_engine.domain import lifecycle
from order_engine.domain.amounts import slippage_min_out
from order_engine.domain.errors import AttemptFailed, OrderNotFound
from order_engine.domain.failures import WAITED_TOO_LONG, of_chain
from order_engine.domain.order import (
    Failure,
    Fill,
    Lease,
    Order,
    OrderRef,
    Routed,
    SignedTransaction,
    Status,
)
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Chain, Clock, Conflict, OrderStore, TransactionStatus
from order_engine.engine.retry import (
    LIMIT_NOT_MET,
    PATIENCE_MS,
    RetryPolicy,
    after_failure,
    has_waited_too_long,
    lost_workers,
    most_legs,
)
from order_engine.engine.routing.router import Router

MAX_LOST_WORKERS = 3
MAX_EVENTS = 150
_CLAIM_TRIES = 3
# A wait shorter than the queue's resolution of one second is waited out by the worker itself.
_SHORT_WAIT_MS = 1000
# Back to pending, from where the order expires.
_TIME_LIMIT = Failure("time_limit", "The order's time limit passed while it was being prepared.")


@dataclass(frozen=True, slots=True)
class Done:
    """The message is spent: the order has ended or rests, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The message must come again after ``delay_ms``, for this reason."""

    delay_ms: int
    reason: str


type Verdict = Done | Later


class Action(StrEnum):
    """What a worker can do with an order that it was handed."""

    CLAIM = "claim"
    TAKE_OVER = "take_over"
    HELD = "held"
    WAIT = "wait"
    DROP = "drop"
    EXPIRE = "expire"
    GIVE_BACK = "give_back"
    GIVE_UP = "give_up"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Step:
    """What a worker should do with an order, and why. ``wait_ms`` goes with ``HELD`` and ``WAIT``."""

    action: Action
    reason: str
    wait_ms: int = 0


class _ChainSilent(Exception):
    """The chain gave no answer."""


@dataclass(frozen=True, slots=True)
class ExecutionPolicy:
    """Limits of one execution, in milliseconds."""

    retry: RetryPolicy
    lease_ms: int = 20_000
    landing_poll_ms: int = 100
    rebroadcast_ms: int = 2000


def next_step(order: Order, now: int, patience_ms: int = PATIENCE_MS) -> Step:
    """Decide what a worker that was handed this order should do. Pure."""
    if order.status in lifecycle.TERMINAL:
        return Step(Action.DROP, f"already {order.status}")
    if order.status is Status.OPEN:
        return Step(Action.DROP, "resting until its limit is met")
    if order.lease is not None and now < order.lease.until:
        return Step(Action.HELD, "held by another worker", order.lease.until - now)
    if order.status is Status.SUBMITTED:
        return Step(Action.TAKE_OVER, "its worker is gone; the chain knows what became of the transaction")
    if has_waited_too_long(order, patience_ms, now):
        return Step(Action.GIVE_UP, "it has waited too long")
    step = _of_pending(order, now) if order.status is Status.PENDING else _of_orphan(order, now)
    if step is None and order.seq >= MAX_EVENTS:
        step = Step(Action.ABANDON, f"no end after {MAX_EVENTS} events")
    return step or Step(Action.CLAIM, "free")


def _of_pending(order: Order, now: int) -> Step | None:
    expires_at = order.request.expires_at
    if expires_at is not None and expires_at <= now:
        return Step(Action.EXPIRE, "its time limit has passed")
    if order.retry_at is not None and now < order.retry_at:
        return Step(Action.WAIT, "waiting to be tried again", order.retry_at - now)
    return None


def _of_orphan(order: Order, now: int) -> Step | None:
    """An order whose worker was lost before it stored a transaction."""
    expires_at = order.request.expires_at
    if expires_at is not None and expires_at <= now:
        return Step(Action.GIVE_BACK, "its time limit passed after its worker was lost")
    if lost_workers(order) >= MAX_LOST_WORKERS:
        return Step(Action.ABANDON, f"{MAX_LOST_WORKERS + 1} workers were lost during this attempt")
    return None


@dataclass(frozen=True, slots=True)
class Execute:
    """The use case. One instance serves many orders at once."""

    orders: OrderStore
    router: Router
    chain: Chain
    clock: Clock
    policy: ExecutionPolicy
    observer: Observer

    async def __call__(self, ref: OrderRef, *, worker: str, deadline: int) -> Verdict:
        """Bring an order as far as possible before ``deadline``.

        Args:
            worker: a name that no other execution ever has; it owns the lease.
            deadline: milliseconds since the epoch after which nothing may be begun.

        Returns:
            Whether the message is spent or must come again.

        Raises:
            OrderNotFound: there is no such order.
            Exception: the store failed; the message must come again.
        """
        order = await self.orders.get(ref)
        if order is None:
            raise OrderNotFound("There is no such order.")
        for _ in range(_CLAIM_TRIES):
            step = next_step(order, self.clock.now_ms(), self.policy.retry.patience_ms)
            if step.action is Action.DROP:
                return Done(step.reason)
            if step.action in (Action.HELD, Action.WAIT):
                if step.wait_ms > _SHORT_WAIT_MS or self.clock.now_ms() + step.wait_ms >= deadline:
                    return Later(step.wait_ms, step.reason)
                await self.clock.sleep(step.wait_ms)
                # Someone may have acted in the meantime; the claim below is conditional on what was read.
                step = next_step(order, self.clock.now_ms(), self.policy.retry.patience_ms)
                if step.action in (Action.HELD, Action.WAIT):
                    return Later(step.wait_ms, step.reason)
            try:
                return await self._begin(order, step, worker, deadline)
            except Conflict as conflict:
                if conflict.current is None:
                    raise OrderNotFound("There is no such order.") from conflict
                self.observer.noted(ref.order_id, Note.CONFLICT, f"{step.action} lost to {conflict.current.status}")
                order = conflict.current
        return Later(_SHORT_WAIT_MS, "contended")

    async def _begin(self, order: Order, step: Step, worker: str, deadline: int) -> Verdict:
        now = self.clock.now_ms()
        lease = Lease(worker, now + self.policy.lease_ms)
        if step.action is Action.EXPIRE:
            await self._write(order, lifecycle.expire(order, now))
            return Done(step.reason)
        if step.action is Action.GIVE_BACK:
            return await self._retry(order, _TIME_LIMIT)
        if step.action is Action.GIVE_UP:
            await self._write(order, lifecycle.fail(order, WAITED_TOO_LONG, now))
            return Done(step.reason)
        if step.action is Action.ABANDON:
            full = order.seq >= MAX_EVENTS
            failure = Failure("too_many_steps" if full else "worker_lost", f"The order was given up: {step.reason}.")
            if full:
                await self._write(order, lifecycle.fail(order, failure, now))
                return Done(step.reason)
            return await self._retry(order, failure)
        if step.action is Action.TAKE_OVER:
            held = await self._write(order, lifecycle.take_over(order, lease))
            return await self._settle(held, deadline, known=True)
        claimed = await self._write(order, lifecycle.claim(order, lease, now))
        return await self._attempt(claimed, deadline)

    async def _write(self, old: Order, new: Order) -> Order:
        await self.orders.replace(old, new)
        if new.seq != old.seq:
            self.observer.changed(new)
        return new

    async def _attempt(self, order: Order, deadline: int) -> Verdict:
        """From routing to submitted. Until the intent is stored nothing can have reached the chain."""
        routed = await self._guard(self._route(order), "routing_failed")
        request = order.request
        if isinstance(routed, Failure):
            return await self._retry(order, routed)
        if request.trigger.rests and routed.decision.chosen.amount_out < routed.min_out:
            return await self._rest(order)
        order = await self._write(order, lifecycle.route(order, routed, self.clock.now_ms()))
        tx = await self._guard(self.chain.build(order, min_out=routed.min_out), "build_failed")
        if isinstance(tx, Failure):
            return await self._retry(order, tx)
        if request.expires_at is not None and request.expires_at <= self.clock.now_ms():
            return await self._retry(order, _TIME_LIMIT)
        order = await self._write(order, lifecycle.submit(order, tx, self.clock.now_ms()))
        return await self._settle(order, deadline, known=False)

    async def _guard[T](self, work: Awaitable[T], code: str) -> T | Failure:
        """The result, or why this attempt failed. For work that cannot have touched the chain."""
        try:
            return await work
        except AttemptFailed as error:
            return Failure(error.code, error.message)
        except Exception as error:  # noqa: BLE001 - a venue's client may raise anything; the attempt failed, no more
            return Failure(code, f"{type(error).__name__} while the order was being prepared.")

    async def _route(self, order: Order) -> Routed:
        request = order.request
        decision = await self.router.route(
            request.token_in, request.token_out, request.amount_in, most_legs=most_legs(order)
        )
        min_out = slippage_min_out(decision.chosen.amount_out, request.slippage_bps)
        return Routed(decision, max(min_out, request.trigger.floor))

    async def _settle(self, order: Order, deadline: int, *, known: bool) -> Verdict:
        """Broadcast what is stored and follow it to its end.

        An error or a silence of the chain means that nothing is known, and never that nothing happened.

        Args:
            known: the transaction may have been broadcast before, so the chain is asked first.
        """
        tx = order.intent
        if tx is None:
            raise ValueError("A submitted order has no stored transaction.")
        sent_at: int | None = None
        if known:
            verdict = await self._look(order, tx, deadline, check_expiry=True)
            if verdict is not None:
                return verdict
        while True:
            now = self.clock.now_ms()
            again = sent_at is not None and now - sent_at >= self.policy.rebroadcast_ms
            if sent_at is None or again:
                sent_at = now
                with contextlib.suppress(_ChainSilent):
                    await self._ask(self.chain.broadcast(tx), deadline)
            # What was built or asked for just now has not expired since.
            verdict = await self._look(order, tx, deadline, check_expiry=again)
            if verdict is not None:
                return verdict
            now = self.clock.now_ms()
            if now + self.policy.landing_poll_ms >= deadline:
                held = order.lease.until - now if order.lease else 0
                return Later(max(0, held), "the chain has not answered yet")
            await self.clock.sleep(self.policy.landing_poll_ms)

    async def _look(self, order: Order, tx: SignedTransaction, deadline: int, *, check_expiry: bool) -> Verdict | None:
        """Ask the chain, and write what it proves. None while nothing is proved."""
        try:
            known = await self._ask(self.chain.status(tx, search_history=False), deadline)
            if known.landed is None:
                if not check_expiry:
                    return None
                height = await self._ask(self.chain.height(), deadline)
                if height.blocks <= tx.last_valid_block_height:
                    return None
                # The look-up must come after the height: a transaction may have landed in the last valid block.
                known = await self._ask(self.chain.status(tx, search_history=True), deadline)
                if known.landed is None and known.slot < height.slot:
                    # A node that has not come so far does not know that block yet: its silence proves nothing.
                    self.observer.noted(order.ref.order_id, Note.CHAIN_BEHIND, f"{height.slot - known.slot} slots")
                    return None
        except _ChainSilent:
            return None
        if known.landed is None:
            return await self._retry(order, Failure("expired", "The transaction expired without landing."))
        return await self._landed(order, tx, known.landed)

    async def _landed(self, order: Order, tx: SignedTransaction, status: TransactionStatus) -> Verdict | None:
        if status.error is not None or status.amount_out is None:
            return await self._retry(order, of_chain(status.error))
        least = order.routed.min_out if order.routed is not None else 0
        if status.amount_out < least:
            # No chain lets such a swap happen: whoever tells of it is wrong, and is asked again.
            self.observer.noted(order.ref.order_id, Note.FILL_UNBELIEVABLE, f"{status.amount_out} of at least {least}")
            return None
        fill = Fill(tx.signature, status.amount_out, status.slot)
        await self._write(order, lifecycle.confirm(order, fill, self.clock.now_ms()))
        return Done("confirmed")

    async def _rest(self, order: Order) -> Verdict:
        """Let a limit order wait for a better market: that is what it is for."""
        now = self.clock.now_ms()
        await self._write(order, lifecycle.rest(order, LIMIT_NOT_MET, now + self.policy.retry.rest_ms, now))
        return Done(LIMIT_NOT_MET.message)

    async def _retry(self, order: Order, failure: Failure) -> Verdict:
        now = self.clock.now_ms()
        after = await self._write(order, after_failure(order, failure, self.policy.retry, now))
        if after.status is not Status.PENDING or after.retry_at is None:
            return Done(failure.message)
        return Later(after.retry_at - now, failure.message)

    async def _ask[T](self, call: Awaitable[T], deadline: int) -> T:
        """The chain's answer.

        Raises:
            _ChainSilent: an error, or no answer in time. Whatever it was, it proves nothing.
        """
        budget = max(1, min(self.policy.rebroadcast_ms, deadline - self.clock.now_ms()))
        try:
            async with asyncio.timeout(budget / 1000):
                return await call
        except Exception as error:
            self.observer.noted("", Note.CHAIN_SILENT, type(error).__name__)
            raise _ChainSilent from error
