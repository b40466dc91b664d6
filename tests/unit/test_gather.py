"""All venues are asked at once; one that is late or broken is left out and named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from order_engine.domain.errors import VenueError
from order_engine.domain.quote import Pool
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.routing.gather import gather_pools
from order_engine.venues.raydium.cpmm import CpmmPool
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock


class Scripted:
    """A venue that does what the test says."""

    def __init__(self, name: str, act: Callable[[], Awaitable[Sequence[Pool]]]) -> None:
        self.name = name
        self._act = act

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        return await self._act()


POOL = CpmmPool("one", ("a", "b"), (10**9, 10**9), 2_500, 0, 0)


async def answers() -> Sequence[Pool]:
    return (POOL,)


async def never() -> Sequence[Pool]:
    await asyncio.Event().wait()
    raise AssertionError


async def breaks() -> Sequence[Pool]:
    raise ConnectionError("secret host name")


async def refuses() -> Sequence[Pool]:
    raise VenueError("Closed for the night.")


async def has_nothing() -> Sequence[Pool]:
    return ()


async def gives_up() -> Sequence[Pool]:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (never, "No answer within 20 ms."),
        (breaks, "ConnectionError after 0 ms."),
        (refuses, "Closed for the night."),
        (has_nothing, "No pool for this pair."),
        (gives_up, "It gave the call up."),
    ],
)
async def test_a_venue_without_an_answer_is_left_out_and_the_other_counts(
    act: Callable[[], Awaitable[Sequence[Pool]]], reason: str
) -> None:
    venues = [Scripted(RAYDIUM, act), Scripted(METEORA, answers)]
    pools, left_out = await gather_pools(venues, "a", "b", deadline_ms=20, clock=LoopClock())
    assert pools == [POOL]
    assert [(gone.venue, gone.reason) for gone in left_out] == [(RAYDIUM, reason)]


async def test_a_venue_that_ignores_its_cancellation_does_not_hold_up_the_others() -> None:
    release = asyncio.Event()

    async def stubborn() -> Sequence[Pool]:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return ()

    began = time.monotonic()
    venues = [Scripted(RAYDIUM, stubborn), Scripted(METEORA, answers)]
    pools, left_out = await gather_pools(venues, "a", "b", deadline_ms=20, clock=LoopClock())
    assert time.monotonic() - began < 20
    assert pools == [POOL]
    assert left_out[0].venue == RAYDIUM
    release.set()
    await asyncio.sleep(0)


async def test_venues_are_asked_at_the_same_time() -> None:
    arrived: list[str] = []
    both = asyncio.Event()

    def meet(name: str) -> Callable[[], Awaitable[Sequence[Pool]]]:
        async def act() -> Sequence[Pool]:
            arrived.append(name)
            if len(arrived) == 2:
                both.set()
            await both.wait()
            return (POOL,)

        return act

    venues = [Scripted(RAYDIUM, meet(RAYDIUM)), Scripted(METEORA, meet(METEORA))]
    pools, left_out = await gather_pools(venues, "a", "b", deadline_ms=1000, clock=LoopClock())
    assert len(pools) == 2
    assert not left_out


async def test_whoever_stops_waiting_stops_the_venues_too() -> None:
    stopped = asyncio.Event()

    async def watches() -> Sequence[Pool]:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    waiting = asyncio.create_task(
        gather_pools([Scripted(RAYDIUM, watches)], "a", "b", deadline_ms=60_000, clock=LoopClock())
    )
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(stopped.wait(), 20)


async def test_no_venue_gives_no_pool() -> None:
    assert await gather_pools([], "a", "b", deadline_ms=20, clock=LoopClock()) == ([], [])


@pytest.mark.parametrize(("takes_ms", "counts"), [(0, True), (1_499, True), (1_501, False), (60_000, False)])
def test_the_deadline_is_in_milliseconds_and_holds_for_all_together(takes_ms: int, counts: bool) -> None:
    """In virtual time. A worker has 15 seconds for everything: a venue may cost it no more than this."""

    async def after_a_while() -> Sequence[Pool]:
        await asyncio.sleep(takes_ms / 1000)
        return (POOL,)

    async def ask() -> tuple[list[Pool], float]:
        venues = [Scripted(RAYDIUM, after_a_while), Scripted(METEORA, after_a_while)]
        pools, _ = await gather_pools(venues, "a", "b", deadline_ms=1_500, clock=LoopClock())
        return pools, asyncio.get_running_loop().time()

    pools, took_s = run(VirtualLoop(), ask())
    assert pools == ([POOL, POOL] if counts else [])
    assert round(took_s * 1000) == min(takes_ms, 1_500)
