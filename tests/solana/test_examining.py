"""A live market that works, and one whose wallet is empty: on the venues' real programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.solana.genesis import TAXED
from local.solana.methods import Methods
from local.solana.server import NodeServer
from order_engine.domain.tokens import BONK, SOL, USDC
from order_engine.settings import SettingsError, SolanaSettings
from order_engine.venues.solana.addresses import CPMM, SYSTEM
from order_engine.venues.solana.examine import Examined, examine
from order_engine.venues.solana.market import Solana
from tests.solana.scene import Market, Wallet
from tests.support.clock import StandingClock


async def looked_at(market: Market, wallet: Wallet, folder: Path, *pools: str) -> Examined:
    key, listing = folder / "key.json", folder / "pools.json"
    key.write_text(wallet.key.to_json())
    tokens = [*({"mint": each.mint, "symbol": each.symbol} for each in (SOL, USDC, BONK)), {"mint": TAXED.mint}]
    names = [*(each.address for each in market.pools), *pools]
    listing.write_text(json.dumps({"pools": names, "tokens": tokens}))
    async with NodeServer(Methods(market.chain)) as server:
        settings = SolanaSettings(rpc_url=server.url, signer=f"file:{key}", pools=str(listing))
        return await examine(Solana(settings, StandingClock(), print))


async def test_a_market_that_works_is_told_of(market: Market, wallet: Wallet, tmp_path: Path) -> None:
    found = await looked_at(market, wallet, tmp_path)
    assert (found.wallet, found.lamports, found.left_out) == (wallet.address, 10**12, ())
    # Decimals are those of the mints; a token without a symbol is addressed by its mint.
    assert [(token.mint, token.decimals) for token in found.tokens] == [
        (SOL.mint, 9),
        (USDC.mint, 6),
        (BONK.mint, 5),
        (TAXED.mint, TAXED.decimals),
    ]
    # Pools of tokens that are not listed are not counted.
    assert found.pools == 8


async def test_a_pool_that_cannot_be_used_is_left_out(market: Market, wallet: Wallet, tmp_path: Path) -> None:
    broken = market.pools[0].address
    market.chain.put(broken, CPMM, b"no pool")
    found = await looked_at(market, wallet, tmp_path)
    assert [(each.address, each.reason) for each in found.left_out] == [
        (broken, "These bytes are not a CPMM pool account.")
    ]
    assert found.pools == 7


async def test_an_empty_wallet_is_told_its_address(market: Market, wallet: Wallet, tmp_path: Path) -> None:
    market.chain.put(wallet.address, SYSTEM, b"", 4_999_999)
    with pytest.raises(SettingsError) as error:
        await looked_at(market, wallet, tmp_path)
    assert str(error.value) == (
        f"SIGNER: the wallet {wallet.address} holds 0.004999999 SOL and cannot pay for transactions and token "
        "accounts: send it 0.005 SOL or more."
    )
