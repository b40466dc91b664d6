"""Reading the configured pools: few calls, one moment, and no pool that spoils the others. Needs no program."""

from __future__ import annotations

import asyncio

import pytest

from local.solana.genesis import TAXED, Listing
from local.solana.ledger import Chain
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT
from order_engine.venues.solana import addresses
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import PoolSource
from order_engine.venues.solana.programs.dlmm import BINS_PER_ARRAY
from order_engine.venues.solana.rpc import NodeUnavailable
from tests.solana.scene import Direct, HandClock

PAIR = (SOL.mint, USDC.mint)


def source_of(chain: Chain, pools: tuple[Listing, ...] | list[str]) -> tuple[PoolSource, Direct]:
    direct = Direct(chain)
    named = [each if isinstance(each, str) else each.address for each in pools]
    return PoolSource(Node(direct), named), direct


async def test_a_reading_takes_one_call_once_the_pools_are_known(
    chain: Chain, listings: tuple[Listing, ...], clock: HandClock
) -> None:
    source, direct = source_of(chain, listings)
    first = await source.read(PAIR)
    assert direct.calls <= 4
    assert [live.pool.kind for live in first.pools] == ["cpmm", "clmm", "amm_v4", "dlmm", "damm2"]
    for _ in range(3):
        before = direct.calls
        clock.slots(2)
        again = await source.read(PAIR)
        assert direct.calls - before == 1
        assert again.slot == chain.slot - 2
        assert [live.pool.pool_id for live in again.pools] == [live.pool.pool_id for live in first.pools]


async def test_only_what_the_mints_need_is_read(chain: Chain, listings: tuple[Listing, ...]) -> None:
    source, direct = source_of(chain, listings)
    await source.read(PAIR)
    reading = await source.read([USDC.mint, USDT.mint])
    assert {live.accounts.mints for live in reading.pools} == {(USDC.mint, USDT.mint)}
    # The pool, its two mints, the clock.
    assert direct.accounts_asked == 4
    with_middle = await source.read([BONK.mint, USDC.mint, SOL.mint])
    pairs = {frozenset(live.accounts.mints) for live in with_middle.pools}
    assert pairs == {frozenset(PAIR), frozenset((USDC.mint, BONK.mint))}
    assert (await source.read([JUP.mint, BONK.mint])).pools == ()
    assert (await source.read([TAXED.mint, USDC.mint])).pools[0].pool.kind == "cpmm"


async def test_a_price_that_leaves_its_array_costs_one_call_more_once(
    chain: Chain, listings: tuple[Listing, ...]
) -> None:
    (dlmm,) = [each for each in listings if each.kind == "dlmm" and each.coins[0].mint == SOL.mint]
    source, direct = source_of(chain, [dlmm.address])
    await source.read(PAIR)
    asked = direct.accounts_asked
    data = bytearray(chain.account(dlmm.address).data)  # type: ignore[union-attr]
    active = int.from_bytes(data[76:80], "little", signed=True)
    # All arrays but the active one and those that lie to one side of it: others come into sight on the other.
    data[76:80] = (active + BINS_PER_ARRAY).to_bytes(4, "little", signed=True)
    bitmap = int.from_bytes(data[584:712], "little")
    data[584:712] = (bitmap | bitmap << 1).to_bytes(128, "little")
    chain.put(dlmm.address, addresses.DLMM, bytes(data))
    for calls in (2, 1, 1):
        before = direct.calls
        (live,) = (await source.read(PAIR)).pools
        assert direct.calls - before == calls
    assert live.pool.quote(SOL.mint, 10**9)
    # What is asked for does not grow with the way that the price has gone.
    assert direct.accounts_asked <= asked + 1


async def test_a_pool_that_cannot_be_used_is_named_and_the_others_count(
    chain: Chain, listings: tuple[Listing, ...]
) -> None:
    cpmm, clmm, amm_v4, dlmm, damm2 = listings[:5]
    cut = bytes(chain.account(dlmm.address).data)[:500]  # type: ignore[union-attr]
    chain.put(dlmm.address, addresses.DLMM, cut)
    closed = bytearray(chain.account(cpmm.address).data)  # type: ignore[union-attr]
    closed[329] = 0b100
    chain.put(cpmm.address, addresses.CPMM, bytes(closed))
    dynamic = bytearray(chain.account(clmm.address).data)  # type: ignore[union-attr]
    dynamic[1096] = 1
    chain.put(clmm.address, addresses.CLMM, bytes(dynamic))
    nowhere = addresses.token_account(SOL.mint, USDC.mint)
    named = [nowhere, USDC.mint, *(each.address for each in listings[:5])]
    source, direct = source_of(chain, named)
    for _ in range(2):
        reading = await source.read(PAIR)
        assert [live.pool.pool_id for live in reading.pools] == [amm_v4.address, damm2.address]
        assert {each.address: each.reason for each in reading.unusable} == {
            nowhere: f"There is no account at {nowhere}.",
            USDC.mint: f"{USDC.mint} is no pool of a known program; it belongs to {addresses.TOKEN}.",
            cpmm.address: "The pool is not open for swaps.",
            clmm.address: "The pool has a dynamic fee, which is not supported.",
            dlmm.address: "A DLMM pair account has 904 bytes; these are 500.",
        }
    # When it is well again, it takes part again.
    closed[329] = 0
    chain.put(cpmm.address, addresses.CPMM, bytes(closed))
    assert cpmm.address in [live.pool.pool_id for live in (await source.read(PAIR)).pools]
    assert direct.accounts_asked < 100


async def test_readings_at_the_same_time_share_their_calls(chain: Chain, listings: tuple[Listing, ...]) -> None:
    source, direct = source_of(chain, listings)
    await source.read(PAIR)
    before = direct.calls
    one, two = await asyncio.gather(source.read(PAIR), source.read(reversed(PAIR)))
    assert one is two
    assert direct.calls - before == 1
    # Whoever gives up does not take the answer from the others.
    impatient = asyncio.create_task(source.read(PAIR))
    patient = asyncio.create_task(source.read(PAIR))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).pools
    assert impatient.cancelled() or (await asyncio.gather(impatient, return_exceptions=True))


async def test_silence_is_raised_and_forgotten(chain: Chain, listings: tuple[Listing, ...]) -> None:
    source, direct = source_of(chain, listings)
    direct.silent = True
    with pytest.raises(NodeUnavailable):
        await source.read(PAIR)
    direct.silent = False
    reading = await source.read(PAIR)
    assert len(reading.pools) == 5
    assert source.latest(reading.pools[0].pool.pool_id) is reading.pools[0]
    assert source.latest("unknown") is None
