"""The live market is made late, and of what is kept secret nothing is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from solders.keypair import Keypair

from order_engine.domain.errors import VenuesUnavailable
from order_engine.domain.tokens import SOL, USDC
from order_engine.settings import SettingsError, SolanaSettings
from order_engine.venues.solana.addresses import CLOCK, CPMM, DLMM
from order_engine.venues.solana.market import Solana
from order_engine.venues.solana.rpc import NodeUnavailable
from tests.support.clock import StandingClock
from tests.unit.solana.nodes import result, told_node

KEY = Keypair.from_seed(bytes([9]) * 32)
HEIGHT = result({"blockHeight": 900, "absoluteSlot": 1000})


class Store:
    """Keeps secrets, and who has asked for them."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets
        self.asked: list[str] = []

    def reveal(self, name: str) -> str:
        self.asked.append(name)
        return self.secrets[name]


@pytest.fixture
def given(tmp_path: Path) -> SolanaSettings:
    pools = tmp_path / "pools.json"
    tokens = [{"mint": SOL.mint, "symbol": "SOL"}, {"mint": USDC.mint}]
    pools.write_text(json.dumps({"pools": [DLMM], "tokens": tokens}))
    return SolanaSettings(rpc_url="secret:nodes", signer="secret:wallet", pools=str(pools))


def market(settings: SolanaSettings, store: Store) -> Solana:
    return Solana(settings, StandingClock(), print, store.reveal)


async def test_nodes_that_are_secret_are_read_when_the_first_is_asked_and_once(given: SolanaSettings) -> None:
    with told_node(HEIGHT) as node:
        store = Store(nodes=node.url, wallet=KEY.to_json())
        live = market(given, store)
        # What an engine makes while Lambda starts a function.
        assert live.venues
        assert live.chain is live.chain
        assert store.asked == []
        for _ in range(3):
            assert (await live.node.height()).blocks == 900
        assert store.asked == ["nodes"]
        assert live.signer.address == str(KEY.pubkey())
        assert await live.signer.sign(b"message") == bytes(KEY.sign_message(b"message"))
        assert "Keypair" not in repr(live.signer)


@pytest.mark.parametrize("content", ["", "node.example very-secret", "ftp://very-secret"])
async def test_a_secret_that_holds_no_node_is_silence_that_tells_nothing(given: SolanaSettings, content: str) -> None:
    with pytest.raises(NodeUnavailable, match="RPC_URL") as error:
        await market(given, Store(nodes=content)).node.height()
    assert "very-secret" not in str(error.value)


async def test_a_secret_that_cannot_be_read_is_asked_for_again(given: SolanaSettings) -> None:
    store = Store()
    live = market(given, store)
    with pytest.raises(NodeUnavailable, match=r"RPC_URL cannot be read \(KeyError\)"):
        await live.node.height()
    with told_node(HEIGHT) as node:
        store.secrets["nodes"] = node.url
        assert (await live.node.height()).slot == 1000


async def test_an_address_watches_and_signs_nothing(given: SolanaSettings) -> None:
    live = market(replace(given, signer=f"address:{CPMM}"), Store())
    assert live.signer.address == CPMM
    with pytest.raises(SettingsError, match="only an address"):
        await live.signer.sign(b"message")


@pytest.mark.parametrize("text", ["", "file:", "key.json", "kms:alias", "secret:", "address:"])
def test_another_signer_is_refused(given: SolanaSettings, text: str) -> None:
    with pytest.raises(SettingsError, match="SIGNER must be file:PATH"):
        _ = market(replace(given, signer=text), Store()).signer


def test_a_secret_that_is_no_key_is_refused_and_not_shown(given: SolanaSettings) -> None:
    with pytest.raises(SettingsError, match="SIGNER: the secret holds no key") as error:
        _ = market(given, Store(wallet="very-secret")).signer.address
    assert "very-secret" not in str(error.value)


def test_known_tokens_need_no_node_and_others_say_when_none_answers(given: SolanaSettings, tmp_path: Path) -> None:
    live = market(replace(given, rpc_url="http://127.0.0.1:9/?very-secret"), Store())
    assert [(token.name, token.decimals) for token in live.tokens] == [("SOL", 9), (USDC.mint, 6)]
    pools = tmp_path / "more.json"
    pools.write_text(json.dumps({"pools": [DLMM], "tokens": [{"mint": SOL.mint}, {"mint": CLOCK}]}))
    unknown = market(replace(given, rpc_url="http://127.0.0.1:9/?very-secret", pools=str(pools)), Store())
    with pytest.raises(VenuesUnavailable, match="mints cannot be read") as error:
        assert unknown.tokens
    assert "very-secret" not in str(error.value)


def test_routes_are_compared_by_the_most_that_a_swap_may_bid(given: SolanaSettings) -> None:
    assert market(given, Store()).lamports_per_leg == 12_000
    assert market(replace(given, priority_fee_max_microlamports=0), Store()).lamports_per_leg == 0
    assert market(replace(given, priority_fee_max_microlamports=1), Store()).lamports_per_leg == 1
