"""What must hold, written down a second time and independently of the engine, and checked at every step."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from order_engine.domain.order import Fill, Order, OrderRef, Status, Submission
from tests.simulation.network import Network, Transaction
from tests.simulation.world import Invocation, World

if TYPE_CHECKING:
    from tests.fakes.orders import FakeOrders

O, P, R, B, S = Status.OPEN, Status.PENDING, Status.ROUTING, Status.BUILDING, Status.SUBMITTED  # noqa: E741
CONFIRMED, FAILED, CANCELLED, EXPIRED = Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED

# The table of the documentation. Not the engine's own: a mistake there must show here.
ALLOWED: frozenset[tuple[Status, Status]] = frozenset(
    {
        *((O, then) for then in (P, CANCELLED, EXPIRED)),
        *((P, then) for then in (R, CANCELLED, EXPIRED, FAILED)),
        *((R, then) for then in (R, B, P, O, FAILED)),
        *((B, then) for then in (R, S, P, O, FAILED)),
        *((S, then) for then in (CONFIRMED, P, O, FAILED)),
    }
)
ENDED = frozenset({CONFIRMED, FAILED, CANCELLED, EXPIRED})
# What says nothing against the order itself: a limit order goes on waiting for its price.
PASSING = frozenset({
    "no_route", "price_impact_too_high", "venues_unavailable", "node_unavailable", "routing_failed", "build_failed",
    "slippage_tolerance_exceeded", "pool_refused", "expired", "time_limit", "limit_not_met",
})  # fmt: skip
MAX_ATTEMPTS = 4
MAX_WORKERS = 4
LEASE_MS = 20_000


@dataclass(slots=True)
class Truth:
    """The checker. ``orders`` and ``network`` are set once they exist.

    Attributes:
        waiting: orders that lost a worker, and since when they could have moved.
        longest_wait: the longest that such an order has waited so far, milliseconds.
    """

    world: World
    patience_ms: int
    orders: FakeOrders = field(init=False)
    network: Network = field(init=False)
    swaps: dict[OrderRef, list[Transaction]] = field(default_factory=dict)
    signatures: dict[OrderRef, list[str]] = field(default_factory=dict)
    holders: dict[str, asyncio.Task[Any] | None] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    moved_at: dict[OrderRef, int] = field(default_factory=dict)
    holding: dict[OrderRef, Invocation | None] = field(default_factory=dict)
    waiting: dict[OrderRef, int] = field(default_factory=dict)
    longest_wait: int = 0
    last_writer: dict[OrderRef, asyncio.Task[Any] | None] = field(default_factory=dict)

    @property
    def skew(self) -> int:
        """How far two machines' clocks may differ, milliseconds."""
        return 2 * self.world.faults.skew_ms + 1

    # --- every write ---------------------------------------------------------------------------------------------

    def written(self, old: Order | None, new: Order) -> None:
        """One write of the orders table went through."""
        name, now = new.ref.order_id, self.world.now
        self.world.note("stored", f"{name} seq {new.seq} {new.status} version {new.version} lease {new.lease}")
        if old is None:
            self._must(new.ref not in self.moved_at, f"{name} was overwritten by another")
            self._must((new.seq, new.status in (O, P), len(new.events)) == (1, True, 1), f"{name} begins with {new}")
            self.moved_at[new.ref] = now
            return
        self._must(old.status not in ENDED, f"{name} was {old.status}, which is final, and was written again")
        added = new.events[len(old.events) :]
        self._must(new.events[: len(old.events)] == old.events, f"{name}: its past was rewritten")
        self._must(len(added) <= 1, f"{name}: {len(added)} events at once")
        if added or old.lease != new.lease:
            self.longest_wait = max(self.longest_wait, now - self.waiting.pop(new.ref, now))
        for event in added:
            last = old.events[-1]
            self._must(event.seq == last.seq + 1, f"{name}: seq {event.seq} follows {last.seq}")
            self._must((last.status, event.status) in ALLOWED, f"{name}: {last.status} became {event.status}")
            self._must(event.at >= last.at, f"{name}: time runs backwards at seq {event.seq}")
            self._must(event.attempt <= MAX_ATTEMPTS, f"{name}: attempt {event.attempt}")
            self.moved_at[new.ref] = now
        self._check_lease(old, new)
        self.last_writer[new.ref] = self.world.writer
        if added:
            self._check_wait(old, new)
        if added and new.status is B:
            self._check_route(new)
        if added and new.status is R:
            self._check_start(old, new.events[-1].at)
        if added and new.status is S:
            self._check_intent(new)
        if added and old.status is S:
            self._check_outcome(old, new)

    def _check_lease(self, old: Order, new: Order) -> None:
        name, now, writer = new.ref.order_id, self.world.now, self.world.writer
        claimed = new.lease is not None and new.lease != old.lease
        free = old.lease is None or now + self.skew >= old.lease.until
        if claimed:
            assert new.lease is not None
            self._must(free, f"{name} was claimed while {old.lease} held it")
            self._must(new.version == old.version + 1, f"{name}: a claim left the version at {new.version}")
            known = self.holders.get(new.lease.owner, writer)
            self._must(known is writer, f"{name}: two workers call themselves {new.lease.owner}")
            self._must(new.lease.until <= now + self.skew + LEASE_MS, f"{name}: the lease ends at {new.lease.until}")
            self.holders[new.lease.owner] = writer
            self.holding[new.ref] = self.world.writing
            self.moved_at[new.ref] = now
            return
        self._must(new.version == old.version, f"{name}: the version changed without a claim")
        if old.lease is not None and (new.seq != old.seq or new.lease != old.lease):
            mine = self.holders.get(old.lease.owner) is writer
            # A worker that was lost in the middle may be cleared away by anybody; a transaction's fate needs a holder.
            cleared = free and old.status is not S
            self._must(mine or cleared, f"{name} was changed to {new.status} by a worker that does not hold it")
        self._must(
            (new.lease is not None) == (new.status in (R, B, S)), f"{name} is {new.status} with lease {new.lease}"
        )

    def _check_start(self, old: Order, at: int) -> None:
        """``at``: when the worker decided, by its own clock; its write may have taken any time."""
        name, limit = old.ref.order_id, old.request.expires_at
        early = old.status is P and old.retry_at is not None and at + self.skew < old.retry_at
        self._must(not early, f"{name} was tried again before {old.retry_at}")
        claims = 1
        for event in reversed(old.events):
            if event.status not in (R, B):
                break
            claims += event.status is R
        self._must(claims <= MAX_WORKERS, f"{name} was given to {claims} workers within one attempt")
        self._must(limit is None or at < limit + self.skew, f"{name} was started after its time limit {limit}")
        waited = at - old.events[0].at
        patient = old.request.type != "market" or waited < self.patience_ms + self.skew
        self._must(patient, f"{name} was started after it had waited {waited} ms")

    def _check_wait(self, old: Order, new: Order) -> None:
        """Waits before the next attempt, and before a resting order fires again."""
        name, last = new.ref.order_id, new.events[-1]
        if new.status is P and old.status is not O:
            nominal = 1000 << (last.attempt - 1)
            wait = (new.retry_at or 0) - last.at
            # ``at`` never runs backwards, so that with clocks that differ it may lie ahead of the worker's own.
            self._must(wait + self.skew >= nominal, f"{name} waits {wait} ms after attempt {last.attempt}")
        failure = new.failure
        if failure is not None and failure.code == "gave_up":
            waited = last.at - new.events[0].at
            long = new.request.type == "market" and waited + self.skew >= self.patience_ms
            self._must(long, f"{name} was given up after it had waited {waited} ms")
        if failure is not None and new.request.type == "limit":
            self._must(failure.code not in PASSING, f"{name}, a limit order, failed by {failure.code}")
        if new.status is P and old.status is O:
            early = old.retry_at is not None and last.at + self.skew < old.retry_at
            self._must(not early, f"{name} fired before {old.retry_at}")

    def _check_route(self, new: Order) -> None:
        routed, request = new.routed, new.request
        assert routed is not None
        least = routed.decision.chosen.amount_out * (10_000 - request.slippage_bps) // 10_000
        self._must(routed.min_out >= least, f"{new.ref.order_id} accepts {routed.min_out}, which is below {least}")

    def refused(self, ref: OrderRef) -> None:
        """A conditional write failed: whoever wrote last must have been somebody else."""
        mine = self.last_writer.get(ref) is self.world.writer
        self._must(not mine, f"{ref.order_id}: a worker took its own write for somebody else's")

    def _check_intent(self, new: Order) -> None:
        name, detail, intent = new.ref.order_id, new.events[-1].detail, new.intent
        self._must(
            intent is not None and isinstance(detail, Submission) and intent.signature == detail.signature,
            f"{name} is submitted without its signed transaction",
        )
        for former in self.signatures.get(new.ref, []):
            note = self.network.signed[former].note
            self._must(not self.network.can_still_land(former), f"{name} was signed again while {note} may still land")
        assert intent is not None
        self.signatures.setdefault(new.ref, []).append(intent.signature)
        self._must(not self.swaps.get(new.ref), f"{name} was signed again after it had been swapped")
        limit = new.request.expires_at
        self._must(
            limit is None or new.events[-1].at < limit + self.skew, f"{name} was submitted after its time limit {limit}"
        )

    def _check_outcome(self, old: Order, new: Order) -> None:
        name = new.ref.order_id
        assert old.intent is not None
        known = self.network.signed[old.intent.signature]
        landing = known.landing
        if new.status is CONFIRMED:
            fill = new.events[-1].detail
            said = (fill.amount_out, fill.slot, fill.signature) if isinstance(fill, Fill) else None
            true = (landing.amount_out, landing.slot, known.signature) if landing else None
            self._must(said == true, f"{name} was confirmed with {said}, and the ledger has {true}")
        else:
            gone = landing.error is not None if landing else not self.network.can_still_land(known.signature)
            self._must(gone, f"{name} became {new.status} although {known.note} has landed, or still may")

    def died(self, invocation: Invocation) -> None:
        """An invocation was killed: from here on, what it held or was about to take has lost its worker."""
        for ref, order in self.orders.stored.items():
            if ref in self.waiting:
                continue
            if order.status is P:
                self.waiting[ref] = max(self.world.now, order.retry_at or 0)
            elif order.lease is not None and self.holding.get(ref) is invocation:
                self.waiting[ref] = self.world.now

    # --- every broadcast and every landing -----------------------------------------------------------------------

    def broadcast(self, tx: Transaction) -> None:
        stored = self.orders.stored[tx.ref]
        intents = {event.detail.signature for event in stored.events if isinstance(event.detail, Submission)}
        self.sent.add(tx.signature)
        self._must(tx.signature in intents, f"{tx.note} was broadcast before it was stored")

    def landed(self, tx: Transaction) -> None:
        landing, order = tx.landing, self.orders.stored[tx.ref]
        assert landing is not None
        if landing.amount_out is None:
            return
        swaps = self.swaps.setdefault(tx.ref, [])
        swaps.append(tx)
        name = tx.ref.order_id
        self._must(len(swaps) == 1, f"{name} was swapped {len(swaps)} times")
        self._must(tx.amount_in == order.request.amount_in, f"{name} swapped {tx.amount_in}")
        routed = order.routed
        self._must(routed is not None and landing.amount_out >= routed.min_out, f"{name} fell below its min_out")
        price = order.request.limit_price
        if price is not None:
            token_in, token_out = order.request.token_in, order.request.token_out
            least = tx.amount_in * price * token_out.unit / token_in.unit
            self._must(landing.amount_out >= least, f"{name} got {landing.amount_out}, its limit says {least}")

    # --- the end -------------------------------------------------------------------------------------------------

    def finished(self) -> bool:
        """Every order has ended, and nothing that was sent to the chain can still land."""
        return all(order.status in ENDED for order in self.orders.stored.values()) and not any(
            self.network.can_still_land(signature) for signature in self.sent
        )

    def check_end(self) -> None:
        for order in self.orders.stored.values():
            name, swaps = order.ref.order_id, self.swaps.get(order.ref, [])
            self._must(order.status in ENDED, f"{name} is still {order.status}")
            self._must(
                (order.status is CONFIRMED) == (len(swaps) == 1), f"{name} is {order.status} with {len(swaps)} swaps"
            )
            self._must([event.seq for event in order.events] == list(range(1, order.seq + 1)), f"{name}: gaps in seq")

    def statistics(self, left_out: set[OrderRef]) -> dict[str, Counter[str]]:
        """Finished orders per user and status."""
        totals: dict[str, Counter[str]] = {}
        for order in self.orders.stored.values():
            if order.ref not in left_out:
                totals.setdefault(order.ref.user_id, Counter())[order.status.value] += 1
        return totals

    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            self.world.violate(what)
