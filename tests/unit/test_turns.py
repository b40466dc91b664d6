"""Turns are shared fairly, and none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from order_engine.engine.turns import FairTurns


async def _run(slots: int, parties: Sequence[str], *, cancelled: frozenset[int] = frozenset()) -> list[list[str]]:
    """Let all come at once, each for one tick; who was at work at each tick."""
    turns, ticks = FairTurns(slots), list[list[str]]()
    working = Counter[str]()

    async def work(party: str) -> None:
        async with turns.of(party):
            working[party] += 1
            try:
                await asyncio.sleep(0.001)
            finally:
                working[party] -= 1

    async def watch() -> None:
        while True:
            ticks.append(sorted(working.elements()))
            await asyncio.sleep(0.0005)

    watching = asyncio.create_task(watch())
    tasks = [asyncio.create_task(work(party)) for party in parties]
    await asyncio.sleep(0.0015)
    for number in cancelled:
        tasks[number].cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    # None was lost: all slots can be taken again.
    async with asyncio.timeout(20):
        held = [turns.of("again") for _ in range(slots)]
        for turn in held:
            await turn.__aenter__()
        for turn in held:
            await turn.__aexit__(None, None, None)
    watching.cancel()
    return ticks


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=30),
    st.frozensets(st.integers(0, 29), max_size=10),
)
def test_never_more_than_the_slots_and_none_is_lost(slots: int, parties: list[str], cancelled: frozenset[int]) -> None:
    ticks = asyncio.run(_run(slots, parties, cancelled=frozenset(n for n in cancelled if n < len(parties))))
    assert max(map(len, ticks)) <= slots


async def test_who_has_least_under_way_is_next() -> None:
    turns, done = FairTurns(2), list[str]()

    async def work(party: str) -> None:
        async with turns.of(party):
            await asyncio.sleep(0)
        done.append(party)

    crowd = [asyncio.create_task(work("crowd")) for _ in range(20)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(work(party)) for party in ("one", "two", "one")]
    await asyncio.gather(*crowd, *others)

    assert done.index("one") <= 5
    assert done.index("two") <= 6
    # A second turn of the same party waits for its turn among the others.
    assert len(done) - 1 - done[::-1].index("one") <= 10
