"""The list of venues, and what speaks of venues where it cannot read the list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.solana.genesis import PROGRAM_FILES
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import REGISTRY, VENUES, venue_of
from order_engine.settings import MARKETS, Settings, SettingsError
from order_engine.venues.markets import market_of
from order_engine.venues.meteora.damm2 import Damm2Pool
from order_engine.venues.meteora.dlmm import DlmmPool
from order_engine.venues.raydium.amm_v4 import AmmV4Pool
from order_engine.venues.raydium.clmm import ClmmPool
from order_engine.venues.raydium.cpmm import CpmmPool
from order_engine.venues.solana.programs.registry import PROGRAMS
from tests.support.clock import StandingClock

_WEB = Path(__file__).parents[2] / "web"


def _silent(what: str) -> None: ...


def _secret(name: str) -> str:
    raise AssertionError(name)


def test_every_kind_of_pool_belongs_to_one_venue_which_says_so() -> None:
    pools = (CpmmPool, ClmmPool, AmmV4Pool, DlmmPool, Damm2Pool)
    assert {pool.kind: pool.venue for pool in pools} == {
        program: venue.name for venue in REGISTRY for program in venue.programs
    }
    assert all(venue_of(pool.kind) == pool.venue for pool in pools)


def test_each_kind_is_swapped_by_one_program_which_a_node_of_our_own_can_run() -> None:
    assert len(PROGRAMS) == sum(len(venue.programs) for venue in REGISTRY)
    assert set(PROGRAM_FILES.values()) == set(PROGRAMS)


def test_no_file_of_the_page_names_a_venue() -> None:
    """It learns them from the server (``submit.pages``), titles and colours alike."""
    for path in sorted(_WEB.glob("*.*")):
        text = path.read_text().lower()
        assert [venue.name for venue in REGISTRY if venue.name in text] == [], path.name


@pytest.mark.parametrize("name", MARKETS)
def test_a_market_is_chosen_by_its_name_and_has_all_that_an_engine_asks_for(name: str, tmp_path: Path) -> None:
    pools = tmp_path / "pools.json"
    tokens = [{"mint": SOL.mint, "symbol": "SOL"}, {"mint": USDC.mint}]
    pools.write_text(json.dumps({"pools": [SOL.mint], "tokens": tokens}))
    # No node is asked before there is a question.
    live = {"RPC_URL": "https://node.invalid", "SIGNER": f"address:{SOL.mint}", "POOLS": str(pools)}
    market = market_of(Settings.load({"MARKET": name, **live}), StandingClock(), _silent, _secret)
    assert tuple(venue.name for venue in market.venues) == VENUES
    assert len({token.mint for token in market.tokens}) == len(market.tokens) > 1
    assert market.lamports_per_leg >= 0
    assert market.chain is market.chain


def test_another_market_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(SettingsError, match="MARKET must be one of: paper"):
        Settings.load({"MARKET": "nowhere"})
