"""Pools of all five programs, read, quoted and swapped in: the quote is what the program pays, to the last unit."""

from __future__ import annotations

from struct import unpack_from

import pytest

from local.solana.genesis import Listing
from local.solana.methods import Methods
from local.solana.server import NodeServer
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.solana import addresses
from order_engine.venues.solana.accounts import Missing, View
from order_engine.venues.solana.instructions import memo
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.programs.program import LivePool, Trade
from order_engine.venues.solana.programs.registry import PROGRAMS
from order_engine.venues.solana.rpc import JsonRpc
from tests.solana.scene import HandClock, Market, Wallet

AMOUNTS = (1_234, 9_876_543, 3_141_592_653, 98_765_432_109)


async def read(node: Node, pool: str) -> LivePool:
    """A pool over HTTP, in as many rounds as it takes."""
    _, known = await node.accounts([pool, addresses.CLOCK])
    account = known[pool]
    assert account is not None
    for _ in range(5):
        try:
            return PROGRAMS[account.owner].read(pool, View(known))
        except Missing as missing:
            known |= (await node.accounts(sorted(missing.addresses)))[1]
    raise AssertionError("The pool asks for ever more accounts.")


def held(market: Market, wallet: Wallet, listing: Listing, side: int) -> int:
    coin = listing.coins[side]
    account = market.chain.account(addresses.token_account(wallet.address, coin.mint, coin.program))
    assert account is not None
    return int(unpack_from("<Q", account.data, 64)[0])


@pytest.mark.parametrize("amount_in", AMOUNTS)
@pytest.mark.parametrize("side", [0, 1])
async def test_every_pool_pays_its_quote(
    market: Market, wallet: Wallet, clock: HandClock, side: int, amount_in: int
) -> None:
    swapped = 0
    async with NodeServer(Methods(market.chain)) as server:
        node = Node(JsonRpc([server.url]))
        for listing in market.pools:
            clock.slots(3)
            live = await read(node, listing.address)
            assert live.pool.kind == listing.kind
            mint_in = listing.coins[side].mint
            try:
                quote = live.pool.quote(mint_in, amount_in)
            except QuoteRefused:
                continue
            # The least output is the quote: one unit less would fail.
            swap = live.swap(Trade(wallet.address, mint_in, amount_in, quote))
            blockhash = await node.blockhash()
            signed = wallet.sign([memo(f"{listing.address} {side} {amount_in}"), swap], blockhash.value)
            before = (held(market, wallet, listing, side), held(market, wallet, listing, 1 - side))
            await node.send(bytes(signed))
            clock.slots(6)
            ledger = await node.ledger(str(signed.signatures[0]))
            assert ledger is not None
            assert ledger.error is None, ledger.logs
            after = (held(market, wallet, listing, side), held(market, wallet, listing, 1 - side))
            assert (before[0] - after[0], after[1] - before[1]) == (amount_in, quote)
            assert ledger.received(wallet.address, listing.coins[1 - side].mint) == quote
            assert ledger.received(wallet.address, mint_in) == -amount_in
            swapped += 1
    assert swapped >= 7


async def test_a_pool_refuses_one_unit_more_than_its_quote(market: Market, wallet: Wallet, clock: HandClock) -> None:
    codes: dict[str, object] = {}
    async with NodeServer(Methods(market.chain)) as server:
        node = Node(JsonRpc([server.url]))
        for listing in market.pools:
            clock.slots(3)
            live = await read(node, listing.address)
            mint_in = listing.coins[0].mint
            quote = live.pool.quote(mint_in, 1_000_000)
            swap = live.swap(Trade(wallet.address, mint_in, 1_000_000, quote + 1))
            simulated = await node.simulate(bytes(wallet.sign([swap], (await node.blockhash()).value)), [])
            assert isinstance(simulated.error, dict), listing
            codes[listing.kind] = simulated.error["InstructionError"][1]
    # What each program answers to too little output.
    assert codes == {
        "cpmm": {"Custom": 6005},
        "clmm": {"Custom": 6022},
        "dlmm": {"Custom": 6003},
        "damm2": {"Custom": 6002},
        "amm_v4": {"Custom": 30},
    }


async def test_all_pools_are_found_by_their_program_and_mints(market: Market) -> None:
    async with NodeServer(Methods(market.chain)) as server:
        node = Node(JsonRpc([server.url]))
        for listing in market.pools:
            _, known = await node.accounts([listing.address])
            account = known[listing.address]
            assert account is not None
            program = PROGRAMS[account.owner]
            mints = {at: coin.mint for at, coin in zip(program.mint_offsets, listing.coins, strict=True)}
            assert await node.pools(program.address, program.pool_bytes, mints) == [listing.address]
