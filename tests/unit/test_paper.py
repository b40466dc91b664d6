"""The paper venue and chain: what a transaction becomes follows from its bytes, the seed and the time."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from bench.networks import all_pools
from order_engine.domain import lifecycle
from order_engine.domain.errors import BuildFailed, VenueError
from order_engine.domain.order import Lease, Order, OrderRef, OrderRequest, Routed, SignedTransaction
from order_engine.domain.quote import Candidate, Leg
from order_engine.domain.tokens import BONK, JUP, RAY, SOL, USDC, Token
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.ports import Chain, TransactionStatus, Venue
from order_engine.engine.routing.decide import decide
from order_engine.venues.paper.chain import BLOCK_MS, VALID_BLOCKS, PaperChain
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.venue import PaperVenue
from tests.support.clock import StandingClock

AT = 1_790_000_000_000
MARKET = PaperMarket(3)


def routed_order(x: Token, y: Token, amount: int, name: str = "o1") -> Order:
    """An order whose route is chosen at ``AT``."""
    request = OrderRequest("market", x, y, amount, 50)
    order = lifecycle.place(OrderRef("u", name), request, "f", AT)
    order = lifecycle.claim(order, Lease("w", AT + 1), AT)
    decision = decide(
        all_pools(MARKET, x, y, AT), mint_in=x.mint, mint_out=y.mint, amount_in=amount, max_price_impact_bps=10_000
    )
    return lifecycle.route(order, Routed(decision, 0), AT)


def with_route(order: Order, chosen: Candidate) -> Order:
    assert order.routed is not None
    decision = replace(order.routed.decision, chosen=chosen)
    return replace(order, events=(*order.events[:-1], replace(order.events[-1], detail=Routed(decision, 0))))


def new_chain(
    clock: StandingClock, *, rate: float = 0.0, low: int = 2_000, high: int = 3_000, seed: int = 3
) -> PaperChain:
    return PaperChain(MARKET if seed == 3 else PaperMarket(seed), clock, low, high, rate)


async def land(chain: Chain, clock: StandingClock, tx: SignedTransaction) -> tuple[int, TransactionStatus]:
    """Wait until a transaction landed: when, and how."""
    for _ in range(1_000):
        landed = (await chain.status(tx, search_history=False)).landed
        if landed is not None:
            return clock.now, landed
        clock.now += 10
    raise AssertionError("It never landed.")


async def test_a_venue_answers_after_its_delay_with_the_pools_of_that_moment() -> None:
    clock = StandingClock(AT)
    venue: Venue = PaperVenue(RAYDIUM, MARKET, clock, 200)
    pools = await venue.pools(SOL.mint, USDC.mint)
    assert clock.now == AT + 200
    assert tuple(pools) == MARKET.pools(RAYDIUM, SOL.mint, USDC.mint, AT + 200)


async def test_a_venue_gives_pools_through_the_intermediate_tokens_too() -> None:
    pools = await PaperVenue(METEORA, MARKET, StandingClock(AT), 0).pools(JUP.mint, RAY.mint)
    pairs = {frozenset(pool.mints) for pool in pools}
    assert pairs == {frozenset(pair) for a in (JUP, RAY) for b in (SOL, USDC) for pair in [(a.mint, b.mint)]}
    with pytest.raises(VenueError):
        await PaperVenue(METEORA, MARKET, StandingClock(AT), 0).pools(JUP.mint, JUP.mint)


async def test_a_transaction_lands_within_its_bounds_and_fills_at_the_price_of_that_moment() -> None:
    landings = set()
    for k in range(20):
        clock = StandingClock(AT)
        chain = new_chain(clock)
        order = routed_order(SOL, USDC, 10 * SOL.unit, f"o{k}")
        tx = await chain.build(order, min_out=0)
        at, status = await land(chain, clock, tx)
        assert 2_000 <= at - AT <= 3_010
        assert status.error is None
        assert order.routed is not None
        (leg,) = order.routed.decision.chosen.legs
        moments = [MARKET.pool(leg.pool_id, moment) for moment in range(at - 9, at + 1)]
        assert status.amount_out in [pool.quote(SOL.mint, leg.amount_in) for pool in moments if pool]
        landings.add(at)
    assert len(landings) > 5


async def test_every_process_sees_the_same_chain() -> None:
    clock = StandingClock(AT)
    tx = await new_chain(clock, rate=0.5).build(routed_order(BONK, SOL, 10**12), min_out=0)
    clock.now += 60_000
    seen = [(await new_chain(clock, rate=0.5).status(tx, search_history=each)).landed for each in (True, False)]
    assert seen[0] is not None
    assert seen[0] == seen[1]
    clock.now += 10**9
    assert (await new_chain(clock, rate=0.5).status(tx, search_history=True)).landed == seen[0]


async def test_two_builds_of_one_order_are_two_transactions() -> None:
    chain = new_chain(StandingClock(AT))
    order = routed_order(SOL, USDC, SOL.unit)
    one, two = await chain.build(order, min_out=0), await chain.build(order, min_out=0)
    assert one.signature != two.signature
    for tx in (one, two):
        assert 86 <= len(tx.signature) <= 88
        assert not set(tx.signature) & set("0OIl")
        said = json.loads(base64.b64decode(tx.raw))
        assert said["order"] == "o1"
        assert said["attempt"] == 1


async def test_an_order_without_a_route_cannot_be_built() -> None:
    request = OrderRequest("market", SOL, USDC, 1, 50)
    order = lifecycle.place(OrderRef("u", "o"), request, "f", AT)
    with pytest.raises(BuildFailed):
        await new_chain(StandingClock(AT)).build(order, min_out=0)


async def test_tampered_bytes_are_refused() -> None:
    clock = StandingClock(AT)
    chain = new_chain(clock)
    tx = await chain.build(routed_order(SOL, USDC, SOL.unit), min_out=100)
    await chain.broadcast(tx)
    await chain.broadcast(tx)
    said = json.loads(base64.b64decode(tx.raw))
    said["min"] = 0
    forged = base64.b64encode(json.dumps(said, separators=(",", ":")).encode()).decode()
    for bad in (replace(tx, raw=forged), replace(tx, raw="%"), replace(tx, signature=tx.signature[::-1])):
        with pytest.raises(ValueError, match="transaction"):
            await chain.broadcast(bad)
        with pytest.raises(ValueError, match="transaction"):
            await chain.status(bad, search_history=True)


async def test_a_fill_below_the_minimum_lands_as_an_error_with_both_numbers() -> None:
    clock = StandingClock(AT)
    chain = new_chain(clock)
    order = routed_order(SOL, USDC, SOL.unit)
    _, status = await land(chain, clock, await chain.build(order, min_out=10**15))
    assert status.amount_out is None
    assert status.error is not None
    assert status.error.startswith("slippage_tolerance_exceeded: ")
    assert str(10**15) in status.error


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
async def test_the_dice_fall_at_the_rate_that_is_set(rate: float) -> None:
    clock = StandingClock(AT)
    chain = new_chain(clock, rate=rate)
    order = routed_order(SOL, USDC, SOL.unit)
    built = [await chain.build(order, min_out=0) for _ in range(400)]
    clock.now += 10_000
    statuses = [(await chain.status(tx, search_history=False)).landed for tx in built]
    failed = [s for s in statuses if s is not None and s.error is not None]
    assert all(s.error and s.error.startswith("transaction_failed: ") for s in failed)
    assert all(s.amount_out is None for s in failed)
    # Five standard deviations of 400 throws at 0.3 are 0.115; none at 0 and 1.
    assert abs(len(failed) / 400 - rate) <= (0.115 if 0 < rate < 1 else 0)


async def test_a_transaction_never_lands_after_its_expiry() -> None:
    for high in (0, 3_000, 200_000):
        clock = StandingClock(AT)
        chain = new_chain(clock, low=high, high=high)
        tx = await chain.build(routed_order(SOL, USDC, SOL.unit), min_out=0)
        assert tx.last_valid_block_height >= (await chain.height()).blocks + VALID_BLOCKS
        clock.now += high
        assert (await chain.status(tx, search_history=False)).landed is not None
        assert (await chain.height()).blocks <= tx.last_valid_block_height


async def test_blocks_follow_the_clock() -> None:
    clock = StandingClock(AT)
    chain = new_chain(clock)
    tx = await chain.build(routed_order(SOL, USDC, SOL.unit), min_out=0)
    assert (await chain.status(tx, search_history=True)).slot == (await chain.height()).slot
    before = (await chain.height()).blocks
    clock.now += 10 * BLOCK_MS
    assert (await chain.height()).blocks == before + 10


async def test_later_legs_of_a_path_use_what_really_arrived() -> None:
    first, second = MARKET.pools(RAYDIUM, JUP.mint, SOL.mint, AT)[0], MARKET.pools(METEORA, SOL.mint, RAY.mint, AT)[0]
    amount = 100_000 * JUP.unit
    middle = first.quote(JUP.mint, amount)
    legs = (
        Leg(RAYDIUM, first.pool_id, JUP.mint, SOL.mint, amount, middle),
        Leg(METEORA, second.pool_id, SOL.mint, RAY.mint, middle, second.quote(SOL.mint, middle)),
    )
    order = with_route(routed_order(JUP, RAY, amount), Candidate("raydium+meteora", "path", legs, 1, 1, Decimal(0)))
    clock = StandingClock(AT)
    chain = new_chain(clock, low=30_000, high=30_000)
    tx = await chain.build(order, min_out=0)
    clock.now += 30_000
    status = (await chain.status(tx, search_history=False)).landed
    then = [MARKET.pool(leg.pool_id, AT + 30_000) for leg in legs]
    assert then[0] is not None
    assert then[1] is not None
    arrived = then[0].quote(JUP.mint, amount)
    assert arrived != middle
    assert status is not None
    assert status.amount_out == then[1].quote(SOL.mint, arrived)


async def test_a_divided_order_lands_with_all_its_legs_and_nothing_is_left_behind() -> None:
    amount = 125_000 * JUP.unit
    order = routed_order(JUP, RAY, amount)
    assert order.routed is not None
    chosen = order.routed.decision.chosen
    assert chosen.kind == "split"
    clock = StandingClock(AT)
    chain = new_chain(clock, low=0, high=0)
    # At the very moment of the quote the chain must give exactly what was quoted.
    tx = await chain.build(order, min_out=chosen.amount_out)
    status = (await chain.status(tx, search_history=False)).landed
    assert status is not None
    assert status.amount_out == chosen.amount_out


@pytest.mark.parametrize("broken", ["pool", "amount"])
async def test_if_one_leg_cannot_be_filled_none_is(broken: str) -> None:
    order = routed_order(JUP, RAY, 1_000 * JUP.unit)
    assert order.routed is not None
    chosen = order.routed.decision.chosen
    first, *rest = chosen.legs
    bad = replace(first, pool_id="gone") if broken == "pool" else replace(first, amount_in=10**19)
    clock = StandingClock(AT)
    chain = new_chain(clock)
    order = with_route(order, replace(chosen, legs=(bad, *rest)))
    _, status = await land(chain, clock, await chain.build(order, min_out=0))
    assert status.amount_out is None
    assert status.error is not None
    assert status.error.startswith("InsufficientLiquidity: ")
