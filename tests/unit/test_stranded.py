"""Which orders are sent again, at the very millisecond; and what a beat notes of what fails in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, OrderRequest, Status
from order_engine.engine.sweep import Stranded, Sweep, stranded
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.support.clock import StandingClock
from tests.support.orders import IN_STATUS, LIMIT, MARKET, T0
from tests.support.recorder import Recorder

MINUTE, HOUR = 60_000, 3_600_000
ON_ITS_WAY = Stranded(False, "a message is on its way")
NOT_TAKEN = Stranded(True, "no worker has taken it")
HELD = Stranded(False, "held by a worker")
LEASE_OVER = Stranded(True, "its worker's lease ran out")
SENT = Stranded(False, "sent again a short while ago")


def placed(name: str = "order", request: OrderRequest = MARKET) -> Order:
    return lifecycle.place(OrderRef("user", name), request, "print", T0)


def held(until: int) -> Order:
    return lifecycle.claim(placed(), Lease("worker", until), T0)


def resent(times: int) -> Order:
    return replace(placed(), resent_at=T0, resends=times)


@pytest.mark.parametrize(
    ("order", "crowded", "after_ms", "before", "then"),
    [
        (placed(), False, 25_000, ON_ITS_WAY, NOT_TAKEN),
        (placed(), True, 300_000, ON_ITS_WAY, NOT_TAKEN),
        (replace(placed(), retry_at=T0 + 4_000), False, 29_000, ON_ITS_WAY, NOT_TAKEN),
        (replace(placed(), retry_at=T0 - 4_000), False, 25_000, ON_ITS_WAY, NOT_TAKEN),
        (held(T0 + 20_000), False, 21_000, HELD, LEASE_OVER),
        (held(T0 + 20_000), True, 21_000, HELD, LEASE_OVER),
        (resent(1), False, MINUTE, SENT, NOT_TAKEN),
        (resent(2), False, 2 * MINUTE, SENT, NOT_TAKEN),
        (resent(4), False, 8 * MINUTE, SENT, NOT_TAKEN),
        (resent(5), False, 15 * MINUTE, SENT, NOT_TAKEN),
        (resent(50), False, 15 * MINUTE, SENT, NOT_TAKEN),
        (resent(1), True, 5 * MINUTE, SENT, NOT_TAKEN),
        (resent(3), True, 20 * MINUTE, SENT, NOT_TAKEN),
        (resent(50), True, 6 * HOUR, SENT, NOT_TAKEN),
        # Sent again while a worker held it, which then died.
        (replace(held(T0 + 20_000), resent_at=T0, resends=1), False, MINUTE, SENT, LEASE_OVER),
    ],
)
def test_an_order_is_stranded_from_that_moment_on(
    order: Order, crowded: bool, after_ms: int, before: Stranded, then: Stranded
) -> None:
    assert stranded(order, T0 + after_ms - 1, crowded=crowded) == before
    assert stranded(order, T0 + after_ms, crowded=crowded) == then


@pytest.mark.parametrize("status", [Status.OPEN, Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED])
def test_what_rests_or_has_ended_is_never_stranded(status: Status) -> None:
    assert stranded(IN_STATUS[status], T0 + 999 * HOUR) == Stranded(False, f"{status} needs no worker")


class Breaking(FakeOrders):
    """Fails whatever it is told to fail, for one order or for all."""

    def __init__(self, call: str, only: str | None = None) -> None:
        super().__init__()
        self._call, self._only = call, only

    def _check(self, call: str, order: Order | None = None) -> None:
        if call == self._call and (order is None or self._only in (None, order.ref.order_id)):
            raise ConnectionError(f"no {call}")

    async def active(self, **named: Any) -> Any:
        self._check("active")
        return await super().active(**named)

    async def expiring(self, **named: Any) -> Any:
        self._check("expiring")
        return await super().expiring(**named)

    async def replace(self, old: Order, new: Order) -> None:
        self._check("replace", old)
        await super().replace(old, new)

    async def mark_resent(self, order: Order, now: int) -> None:
        self._check("mark_resent", order)
        await super().mark_resent(order, now)


class Blind(FakeQueue):
    """Does not say how much it holds."""

    async def held(self) -> tuple[int, int]:
        raise ConnectionError("no figures")


@dataclass
class Beat:
    """One beat over a pending order, another that has waited too long, and a resting one past its time limit."""

    orders: FakeOrders = field(default_factory=FakeOrders)
    blind: bool = False
    observer: Recorder = field(default_factory=Recorder)

    async def __call__(self) -> tuple[int, Sequence[str]]:
        clock = StandingClock(T0 + 60_000)
        queue = (Blind if self.blind else FakeQueue)(clock.now_ms)
        old = replace(placed("old"), created_at=T0 - HOUR)
        for order in (placed("lost"), old, placed("resting", LIMIT)):
            await self.orders.create(order)
        sweep = Sweep(self.orders, queue, clock, self.observer, patience_ms=HOUR)
        sent = await sweep.beat(clock.now + 5_000)
        return sent, [message.body for message in queue.receive(10)]

    def status(self, name: str) -> Status:
        return self.orders.stored[OrderRef("user", name)].status


RESENT = ("lost", "resent", "no worker has taken it")


async def test_a_beat_sends_what_is_lost_and_ends_what_is_over() -> None:
    beat = Beat()
    sent, bodies = await beat()
    assert (sent, len(bodies)) == (1, 1)
    assert "lost" in bodies[0]
    assert sorted(beat.observer.told) == sorted([("old", "failed"), ("resting", "expired"), RESENT])
    assert beat.orders.stored[OrderRef("user", "lost")].resent_at == T0 + 60_000


@pytest.mark.parametrize(
    ("call", "only", "noted", "sent", "ended"),
    [
        ("active", None, ("", "resend_failed", "ConnectionError: no active"), 0, {"resting"}),
        ("expiring", None, ("", "expire_failed", "ConnectionError: no expiring"), 1, {"old"}),
        ("replace", "old", ("old", "expire_failed", "ConnectionError: no replace"), 1, {"resting"}),
        ("replace", "resting", ("resting", "expire_failed", "ConnectionError: no replace"), 1, {"old"}),
        ("mark_resent", None, ("lost", "mark_failed", "ConnectionError: no mark_resent"), 1, {"old", "resting"}),
    ],
)
async def test_what_fails_is_noted_and_costs_nothing_else(
    call: str, only: str | None, noted: tuple[str, ...], sent: int, ended: set[str]
) -> None:
    beat = Beat(Breaking(call, only))
    assert (await beat())[0] == sent
    assert noted in beat.observer.told
    assert {name for name in ("old", "resting") if beat.status(name) in lifecycle.TERMINAL} == ended


async def test_a_queue_that_does_not_say_what_it_holds_keeps_no_order_waiting() -> None:
    beat = Beat(blind=True)
    assert (await beat())[0] == 1
    assert ("", "look_failed", "ConnectionError: no figures") in beat.observer.told
