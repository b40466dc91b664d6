"""Raydium and Meteora over one reading of the pools. Needs no program."""

from __future__ import annotations

import asyncio
import time

import pytest

from local.solana.genesis import Listing
from local.solana.ledger import Chain
from order_engine.domain.errors import VenueError
from order_engine.domain.tokens import BONK, SOL, USDC
from order_engine.domain.venues import METEORA, RAYDIUM, VENUES
from order_engine.engine.routing.router import Router
from order_engine.venues.solana import addresses, pools
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import PoolSource
from order_engine.venues.solana.rpc import NodeUnavailable
from order_engine.venues.solana.venue import LiveVenue, Unusables
from tests.solana.scene import Direct, HandClock
from tests.support.clock import StandingClock


class Live:
    """Both venues over a chain, and what they have noted."""

    def __init__(self, chain: Chain, listings: tuple[Listing, ...]) -> None:
        self.direct = Direct(chain)
        self.noted: list[str] = []
        self.source = PoolSource(Node(self.direct), [each.address for each in listings])
        unusables = Unusables(self.noted.append)
        self.venues = [LiveVenue(name, self.source, unusables) for name in VENUES]
        self.router = Router(self.venues, StandingClock())


async def test_a_routing_of_all_venues_is_one_call(
    chain: Chain, listings: tuple[Listing, ...], clock: HandClock
) -> None:
    live = Live(chain, listings)
    await live.router.gather(SOL.mint, USDC.mint)
    for _ in range(3):
        clock.slots(2)
        before = live.direct.calls
        gathered = await live.router.gather(SOL.mint, USDC.mint)
        assert live.direct.calls - before == 1
        assert {(pool.venue, pool.kind) for pool in gathered.pools} == {
            (RAYDIUM, "cpmm"),
            (RAYDIUM, "clmm"),
            (RAYDIUM, "amm_v4"),
            (METEORA, "dlmm"),
            (METEORA, "damm2"),
        }
        assert gathered.left_out == []
    assert live.noted == []


async def test_orders_of_one_moment_share_a_reading_and_a_later_one_reads_anew(
    chain: Chain, listings: tuple[Listing, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(chain, listings)
    await live.router.gather(SOL.mint, USDC.mint)
    before = live.direct.calls
    await asyncio.gather(*(live.router.gather(SOL.mint, USDC.mint) for _ in range(10)))
    assert live.direct.calls - before == 1
    # A process that was frozen in the middle of a reading must not take its old answer for a new one.
    monkeypatch.setattr(pools, "_SHARED_S", -1.0)
    before = live.direct.calls
    await asyncio.gather(live.source.read([SOL.mint, USDC.mint]), live.source.read([SOL.mint, USDC.mint]))
    assert live.direct.calls - before == 2


def test_readings_of_several_loops_do_not_meet(chain: Chain, listings: tuple[Listing, ...]) -> None:
    live = Live(chain, listings)
    for _ in range(2):
        with asyncio.Runner() as runner:
            assert len(runner.run(live.router.gather(SOL.mint, USDC.mint)).pools) == 5
    assert live.source._under_way == {}


async def test_more_pools_than_one_call_takes_are_each_of_one_moment(
    chain: Chain, listings: tuple[Listing, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(chain, listings)
    asked: list[set[str]] = []
    ask = live.direct.call

    async def watched(method: str, *params: object) -> object:
        asked.append(set(params[0]))  # type: ignore[call-overload]
        return await ask(method, *params)

    monkeypatch.setattr(live.direct, "call", watched)
    monkeypatch.setattr(pools, "MAX_ACCOUNTS", 20)
    await live.router.gather(SOL.mint, USDC.mint)
    asked.clear()
    gathered = await live.router.gather(SOL.mint, USDC.mint)
    assert len(gathered.pools) == 5
    assert 2 <= len(asked) <= 4
    for pool in gathered.pools:
        needs = live.source.needs(pool.pool_id)
        assert any(needs <= each for each in asked), pool.kind
    assert all(len(each) <= 20 for each in asked)


async def test_a_node_without_an_answer_is_a_venue_without_one_and_no_address_is_told(
    chain: Chain, listings: tuple[Listing, ...]
) -> None:
    live = Live(chain, listings)
    live.direct.silent = True
    gathered = await live.router.gather(SOL.mint, USDC.mint)
    assert [(left.venue, left.reason) for left in gathered.left_out] == [
        (RAYDIUM, "No node answered."),
        (METEORA, "No node answered."),
    ]


async def test_what_is_left_out_is_noted_once_for_each_reason(chain: Chain, listings: tuple[Listing, ...]) -> None:
    cpmm = listings[0].address
    account = chain.account(cpmm)
    assert account is not None
    data = bytearray(account.data)
    data[329] = 0b100
    chain.put(cpmm, addresses.CPMM, bytes(data))
    live = Live(chain, listings)
    for _ in range(3):
        gathered = await live.router.gather(SOL.mint, USDC.mint)
        assert {pool.kind for pool in gathered.pools} == {"clmm", "amm_v4", "dlmm", "damm2"}
    assert live.noted == [f"Pool {cpmm} is left out: The pool is not open for swaps."]
    chain.put(cpmm, addresses.CPMM, b"")
    await live.router.gather(SOL.mint, USDC.mint)
    assert len(live.noted) == 2


async def test_pools_that_change_too_fast_are_worth_another_try(
    chain: Chain, listings: tuple[Listing, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(chain, listings)
    monkeypatch.setattr(pools, "_ROUNDS", 1)
    # One round is never enough for the first reading.
    with pytest.raises(VenueError, match="change faster"):
        await live.venues[0].pools(SOL.mint, USDC.mint)


async def test_a_venue_without_a_pool_of_the_pair_says_so(chain: Chain, listings: tuple[Listing, ...]) -> None:
    live = Live(chain, listings)
    assert {pool.kind for pool in await live.venues[1].pools(BONK.mint, USDC.mint)} == {"dlmm", "damm2"}
    only_raydium = Live(chain, listings[:1])
    gathered = await only_raydium.router.gather(SOL.mint, USDC.mint)
    assert [left.answered for left in gathered.left_out] == [True]


async def test_whoever_only_looks_shares_a_reading_for_a_while(
    chain: Chain, listings: tuple[Listing, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    clock = time.monotonic
    monkeypatch.setattr("order_engine.venues.solana.pools.time.monotonic", lambda: clock() + passed)
    direct = Direct(chain)
    source = PoolSource(Node(direct), [each.address for each in listings], fresh_s=60.0)
    first = await source.read([SOL.mint, USDC.mint])
    before = direct.calls
    for _ in range(20):
        assert await source.read([SOL.mint, USDC.mint]) is first
    assert direct.calls == before
    passed = 61.0
    assert await source.read([SOL.mint, USDC.mint]) is not first
    # An answer that there is none is not kept.
    passed = 122.0
    direct.silent = True
    with pytest.raises(NodeUnavailable):
        await source.read([SOL.mint, USDC.mint])
    direct.silent = False
    assert len((await source.read([SOL.mint, USDC.mint])).pools) == 5
