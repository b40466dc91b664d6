"""A venue that keeps failing is left alone, then tried by one probe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from order_engine.domain.errors import VenueError, VenueResting
from order_engine.domain.quote import Pool
from order_engine.engine.routing.breaker import BreakerPolicy, GuardedVenue
from order_engine.engine.routing.gather import gather_pools
from tests.support.clock import StandingClock


class Moody:
    """A venue that fails or answers as told, and counts how often it was asked."""

    name = "raydium"

    def __init__(self) -> None:
        self.broken = False
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise ConnectionError("down")
        return ()


POLICY = BreakerPolicy(failures=3, rest_ms=1_000)


def guarded() -> tuple[Moody, GuardedVenue, StandingClock]:
    venue, clock = Moody(), StandingClock()
    return venue, GuardedVenue(venue, clock, POLICY), clock


def state(guard: GuardedVenue) -> str:
    return guard.circuit


async def fail(guard: GuardedVenue, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await guard.pools("a", "b")


async def test_a_venue_that_fails_three_times_in_a_row_is_left_alone() -> None:
    venue, guard, _ = guarded()
    venue.broken = True
    await fail(guard, 3)
    assert state(guard) == "open"
    with pytest.raises(VenueError, match="another 1000 ms after 3 failures"):
        await guard.pools("a", "b")
    assert venue.asked == 3


async def test_a_success_in_between_starts_the_count_again() -> None:
    venue, guard, _ = guarded()
    for _ in range(4):
        venue.broken = True
        await fail(guard, 2)
        venue.broken = False
        await guard.pools("a", "b")
    assert state(guard) == "closed"


async def test_after_the_rest_one_probe_decides() -> None:
    venue, guard, clock = guarded()
    venue.broken = True
    await fail(guard, 3)
    clock.now += 1_000
    assert state(guard) == "half-open"
    await fail(guard, 1)
    assert state(guard) == "open"
    clock.now += 1_000
    venue.broken = False
    await guard.pools("a", "b")
    assert state(guard) == "closed"
    venue.broken = True
    await fail(guard, 2)
    assert state(guard) == "closed"


async def test_only_one_of_many_workers_probes() -> None:
    venue, guard, clock = guarded()
    venue.broken = True
    await fail(guard, 3)
    clock.now += 1_000
    venue.broken, venue.gate = False, asyncio.Event()
    workers = [asyncio.create_task(guard.pools("a", "b")) for _ in range(10)]
    await asyncio.sleep(0)
    assert venue.asked == 4
    venue.gate.set()
    answers = await asyncio.gather(*workers, return_exceptions=True)
    assert [isinstance(a, VenueError) for a in answers].count(False) == 1
    assert state(guard) == "closed"


async def test_a_failure_from_before_the_rest_does_not_undo_the_recovery() -> None:
    venue, guard, clock = guarded()
    venue.broken, venue.gate = True, asyncio.Event()
    old = [asyncio.create_task(guard.pools("a", "b")) for _ in range(6)]
    await asyncio.sleep(0)
    venue.gate.set()
    await asyncio.gather(*old[:3], return_exceptions=True)
    assert state(guard) == "open"
    clock.now += 1_000
    await asyncio.gather(*old[3:], return_exceptions=True)
    assert state(guard) == "half-open"


async def test_a_venue_that_answers_that_it_rests_has_answered() -> None:
    class Resting(Moody):
        async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
            await super().pools(mint_in, mint_out)
            raise VenueResting("Its pools are left out.")

    venue = Resting()
    guard = GuardedVenue(venue, StandingClock(), POLICY)
    for _ in range(5):
        with pytest.raises(VenueResting):
            await guard.pools("a", "b")
    assert (state(guard), venue.asked) == ("closed", 5)


async def test_late_answers_count_as_failures() -> None:
    venue, guard, clock = guarded()
    venue.gate = asyncio.Event()
    for _ in range(3):
        await gather_pools([guard], "a", "b", deadline_ms=5, clock=clock)
    assert state(guard) == "open"
    _, left_out = await gather_pools([guard], "a", "b", deadline_ms=5, clock=clock)
    assert left_out[0].reason.startswith("Left alone for another 1000 ms")
    assert venue.asked == 3


async def test_a_worker_that_stops_says_nothing_about_the_venue() -> None:
    venue, guard, _ = guarded()
    venue.gate = asyncio.Event()
    for _ in range(5):
        call = asyncio.create_task(guard.pools("a", "b"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert state(guard) == "closed"


async def test_a_probe_that_is_cancelled_leaves_room_for_the_next() -> None:
    venue, guard, clock = guarded()
    venue.broken = True
    await fail(guard, 3)
    clock.now += 1_000
    venue.gate = asyncio.Event()
    probe = asyncio.create_task(guard.pools("a", "b"))
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    venue.broken, venue.gate = False, None
    await guard.pools("a", "b")
    assert state(guard) == "closed"


async def test_a_probe_that_never_ends_is_given_up_after_a_rest() -> None:
    venue, guard, clock = guarded()
    venue.broken = True
    await fail(guard, 3)
    clock.now += 1_000
    venue.broken, venue.gate = False, asyncio.Event()
    lost = asyncio.create_task(guard.pools("a", "b"))
    await asyncio.sleep(0)
    venue.gate = None
    with pytest.raises(VenueError, match="probe"):
        await guard.pools("a", "b")
    clock.now += 1_000
    await guard.pools("a", "b")
    assert state(guard) == "closed"
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
