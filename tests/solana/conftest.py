"""A chain and a node for each test, with a clock that only the test moves."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from solders.keypair import Keypair

from local.solana.genesis import TAXED, Listing, ProgramsMissing, begin, coin, find_programs, fund
from local.solana.ledger import Chain, Weather
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT
from tests.solana.scene import HandClock, Market, Wallet

COINS = [*(coin(token) for token in (SOL, USDC, USDT, BONK, JUP)), TAXED]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def chain(clock: HandClock) -> Chain:
    return Chain(clock)


@pytest.fixture
def listings(chain: Chain) -> tuple[Listing, ...]:
    # Accounts can be read without the programs that own them.
    return begin(chain, {})


@pytest.fixture
def wallet() -> Wallet:
    return Wallet(Keypair.from_seed(bytes([7]) * 32))


@pytest.fixture
def chain_of(clock: HandClock, wallet: Wallet) -> Callable[[Weather], Chain]:
    """A chain without the venues' programs, and a wallet with SOL."""

    def make(weather: Weather) -> Chain:
        chain = Chain(clock, weather)
        chain.airdrop(wallet.address, 10**12)
        return chain

    return make


@pytest.fixture
def market(clock: HandClock, wallet: Wallet) -> Market:
    """The venues' real programs with pools of every kind, and a wallet that holds everything."""
    try:
        programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))
    chain = Chain(clock)
    pools = begin(chain, programs)
    fund(chain, wallet.address, [(each, 10**15) for each in COINS], lamports=10**12)
    return Market(chain, pools)
