"""What every chain promises to the engine: the paper chain, and Solana with the venues' real programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.errors import AttemptFailed
from order_engine.domain.order import Order, OrderRef, OrderRequest, Routed, SignedTransaction
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import VENUES
from order_engine.engine.ports import Chain, Clock
from order_engine.engine.routing.router import Router
from order_engine.venues.paper.chain import PaperChain
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.venue import PaperVenue
from tests.simulation.loop import VirtualLoop, run
from tests.solana.desk import Desk, with_desk
from tests.support.clock import LoopClock


@dataclass
class Ground:
    """A chain to try, with a router over its pools and its clock."""

    chain: Chain
    router: Router
    clock: Clock

    async def order(self, name: str = "order", *, amount_in: int = 10**9) -> Order:
        """An order with a route, at its first attempt."""
        request = OrderRequest("market", SOL, USDC, amount_in, 50)
        order = lifecycle.place(OrderRef("user", name), request, "print", self.clock.now_ms())
        decision = await self.router.route(SOL, USDC, amount_in)
        event = replace(order.events[-1], attempt=1, detail=Routed(decision, decision.chosen.amount_out))
        return replace(order, events=(*order.events, event))

    async def built(self, name: str = "order") -> SignedTransaction:
        return await self.chain.build(await self.order(name), min_out=1)


class Play(Protocol):
    def __call__(self, scene: Callable[[Ground], Awaitable[None]]) -> None:
        """Play a scene on a chain."""


def on_paper(scene: Callable[[Ground], Awaitable[None]]) -> None:
    async def play() -> None:
        clock, market = LoopClock(), PaperMarket(1)
        venues = [PaperVenue(name, market, clock, 0) for name in VENUES]
        await scene(Ground(PaperChain(market, clock, 300, 800, 0.0), Router(venues, clock), clock))

    run(VirtualLoop(), play())


def on_solana(scene: Callable[[Ground], Awaitable[None]]) -> None:
    async def play(desk: Desk) -> None:
        process = desk.process()
        await scene(Ground(process.chain, process.execute.router, desk.clock))

    with_desk(play)


@pytest.fixture(params=[on_paper, on_solana], ids=["paper", "solana"])
def play(request: pytest.FixtureRequest) -> Play:
    chosen: Play = request.param
    return chosen


def test_what_was_only_built_is_unknown_and_tells_how_far_the_chain_is(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        tx = await ground.built()
        height = await ground.chain.height()
        assert height.blocks <= tx.last_valid_block_height
        known = await ground.chain.status(tx, search_history=True)
        assert known.landed is None
        # One node's later answer is as far as its earlier one.
        assert known.slot >= height.slot

    play(scene)


def test_what_was_broadcast_lands_once_and_stays(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        order = await ground.order()
        tx = await ground.chain.build(order, min_out=1)
        for _ in range(3):
            await ground.chain.broadcast(tx)
        await ground.clock.sleep(5000)
        known = await ground.chain.status(tx, search_history=False)
        assert known.landed is not None
        assert known.landed.error is None
        assert known.landed.amount_out is not None
        assert known.landed.amount_out > 0
        assert known.landed.slot <= known.slot
        await ground.chain.broadcast(tx)
        await ground.clock.sleep(5000)
        again = await ground.chain.status(tx, search_history=True)
        assert again.landed == known.landed

    play(scene)


def test_equal_orders_have_transactions_of_their_own(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        signatures = {(await ground.built(name)).signature for name in ("a", "b", "c")}
        assert len(signatures) == 3

    play(scene)


def test_bytes_that_are_not_the_signatures_are_refused(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        one, other = await ground.built("one"), await ground.built("other")
        await ground.chain.broadcast(other)
        await ground.clock.sleep(5000)
        for forged in (replace(other, raw=one.raw), replace(other, raw="?"), replace(other, raw="")):
            with pytest.raises(ValueError, match=r".") as error:
                await ground.chain.broadcast(forged)
            assert not isinstance(error.value, UnicodeError)
            with pytest.raises(ValueError, match=r"."):
                await ground.chain.status(forged, search_history=False)

    play(scene)


def test_an_order_without_a_route_is_not_built(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        order = await ground.order()
        bare = replace(order, events=order.events[:1])
        with pytest.raises(AttemptFailed) as refused:
            await ground.chain.build(bare, min_out=1)
        assert refused.value.code == "build_failed"

    play(scene)


def test_heights_only_rise_and_every_transaction_expires(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        tx = await ground.built()
        former = await ground.chain.height()
        for _ in range(200):
            await ground.clock.sleep(500)
            height = await ground.chain.height()
            assert (height.blocks, height.slot) >= (former.blocks, former.slot)
            former = height
        assert former.blocks > tx.last_valid_block_height

    play(scene)


def test_what_expired_unseen_is_dead() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        ground = Ground(process.chain, process.execute.router, desk.clock)
        tx = await ground.built()
        desk.chain.set_weather(lost=1.0)
        await ground.chain.broadcast(tx)
        while (height := await ground.chain.height()).blocks <= tx.last_valid_block_height:
            await ground.clock.sleep(500)
        known = await ground.chain.status(tx, search_history=True)
        assert known.landed is None
        assert known.slot >= height.slot
        # Whoever sends it now, and is heard, sends it in vain.
        desk.chain.set_weather(lost=0.0)
        await ground.chain.broadcast(tx)
        await ground.clock.sleep(60_000)
        assert desk.chain.sent == 2
        assert (await ground.chain.status(tx, search_history=True)).landed is None

    with_desk(scene)
