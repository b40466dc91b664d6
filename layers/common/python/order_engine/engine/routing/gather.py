"""Ask all venues at once, under one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from order_engine.domain.errors import VenueError
from order_engine.domain.quote import NO_POOL, LeftOut, Pool
from order_engine.engine.ports import Clock, Venue
from order_engine.engine.routing.breaker import DEADLINE


async def gather_pools(
    venues: Sequence[Venue], mint_in: str, mint_out: str, *, deadline_ms: int, clock: Clock
) -> tuple[list[Pool], list[LeftOut]]:
    """The pools of every venue that answers in time, in the order of ``venues``, and who was left out and why.

    A venue can do no harm here: one that is late is cancelled, one that raises is named, and the others count.

    Args:
        deadline_ms: how long to wait for all of them together.
        clock: tells how long a venue took to fail, for the reason.
    """
    tasks = [asyncio.create_task(_ask(venue, mint_in, mint_out, clock)) for venue in venues]
    why: str | None = None
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_ms / 1000)
        why = DEADLINE
    finally:
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel(why)
    if late:
        # One turn of the loop lets the cancelled calls end. No longer: a venue that swallows its cancellation must
        # not hold up the order.
        await asyncio.sleep(0)
    pools: list[Pool] = []
    left_out: list[LeftOut] = []
    for venue, task in zip(venues, tasks, strict=True):
        if task in late:
            left_out.append(LeftOut(venue.name, f"No answer within {deadline_ms} ms."))
            continue
        answer: Sequence[Pool] | str = "It gave the call up." if task.cancelled() else task.result()
        if isinstance(answer, str):
            left_out.append(LeftOut(venue.name, answer))
        elif answer:
            pools.extend(answer)
        else:
            left_out.append(LeftOut(venue.name, NO_POOL))
    return pools, left_out


async def _ask(venue: Venue, mint_in: str, mint_out: str, clock: Clock) -> Sequence[Pool] | str:
    """The venue's pools, or why there are none."""
    began = clock.now_ms()
    try:
        return await venue.pools(mint_in, mint_out)
    except VenueError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 - a venue's client may raise anything; the others still count
        return f"{type(error).__name__} after {clock.now_ms() - began} ms."
