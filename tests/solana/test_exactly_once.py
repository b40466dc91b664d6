"""Exactly once on the real programs: whatever is lost, late, expired, behind or killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from order_engine.domain.order import Retry, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.execute import Execute
from order_engine.venues.solana import chain
from tests.simulation.mutants import BELIEVED_AT_ONCE, edit, replaced, together
from tests.solana.campaign import TYPHOON, Campaign
from tests.solana.desk import Desk, with_desk


@pytest.mark.parametrize(
    ("orders", "seed"),
    [(60, 1), *(pytest.param(300, seed, marks=pytest.mark.long) for seed in range(2, 5))],
)
def test_every_order_is_swapped_once_or_not_and_every_lamport_is_explained(orders: int, seed: int) -> None:
    result = Campaign(orders, seed).run()
    assert result.violations() == []
    assert result.statuses[Status.CONFIRMED] > orders * 0.8, result.statuses
    # It was no fair weather.
    codes = {
        event.detail.failure.code
        for order in result.orders.values()
        for event in order.events
        if isinstance(event.detail, Retry)
    }
    assert "expired" in codes
    assert any(order.version > order.attempts for order in result.orders.values()), "nobody was taken over"


def test_at_the_last_moment_and_behind_many_nodes_nothing_is_swapped_twice_or_denied() -> None:
    assert Campaign(60, 1, weather=TYPHOON).run().violations() == []


BUGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "an expiry is concluded from a lagging node": together(
        edit(Execute, "_look", ("known.landed is None and known.slot < height.slot", "False")),
        BELIEVED_AT_ONCE,
    ),
    "an expiry is concluded from a node on a fork": together(replaced(chain, "FORK_SLOTS", 0), BELIEVED_AT_ONCE),
    "an expiry is concluded from the height alone": edit(
        Execute, "_look", ("known = await self._ask(self.chain.status(tx, search_history=True), deadline)", "pass")
    ),
    "the history is not searched": edit(Execute, "_look", ("search_history=True", "search_history=False")),
    "it is signed anew too early": edit(
        Execute, "_look", ("height.blocks <= tx.last_valid", "height.blocks <= -100 + tx.last_valid")
    ),
    "the quote is taken for the fill": edit(
        Execute, "_landed", ("tx.signature, status.amount_out", "tx.signature, order.routed.decision.chosen.amount_out")
    ),
    "a ledger that is not there yet is taken for no swap": edit(
        chain.SolanaChain,
        "_landed",
        ('raise NodeUnavailable("It has landed, but the node cannot tell what it did yet.")', "return None"),
    ),
}


def equal_orders() -> tuple[set[Status], int]:
    """How two equal orders at one moment ended, and in how many swaps."""

    async def scene(desk: Desk) -> tuple[set[Status], int]:
        desk.line.latency_ms = (5, 5)
        process = desk.process()
        orders = await asyncio.gather(*(process.swap(SOL, USDC, 10**9, name=name) for name in ("first", "second")))
        return {order.status for order in orders}, len(desk.chain.landed)

    return with_desk(scene)


def test_two_equal_orders_are_two_swaps_because_each_is_named_in_its_message() -> None:
    assert equal_orders() == ({Status.CONFIRMED}, 2)
    with replaced(chain, "note_of", lambda order_id, attempt: "order x attempt 1")():
        assert equal_orders() == ({Status.CONFIRMED}, 1)


# All of them are planted in the simulation of nodes too (tests/simulation), where many more seeds cost less.
QUICK = {"it is signed anew too early", "the quote is taken for the fill"}


@pytest.mark.parametrize(
    "bug",
    [pytest.param(bug, id=name, marks=() if name in QUICK else pytest.mark.long) for name, bug in BUGS.items()],
)
def test_a_planted_bug_is_seen(bug: Callable[[], AbstractContextManager[Any]]) -> None:
    with bug():
        assert any(Campaign(60, seed, weather=TYPHOON).run().violations() for seed in range(1, 9))
