"""``make run MARKET=solana`` says in one line what keeps it from running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from local.live import NotLive, live
from local.process import NotStarted, running
from local.solana import programs
from order_engine.domain.tokens import SOL, USDC
from order_engine.venues.solana.addresses import DLMM
from tests.unit.solana.nodes import raw, told_node

PAPER = {"MARKET": "paper", "MAX_RETRIES": "1"}


async def test_the_paper_market_needs_nothing() -> None:
    for given in (PAPER, {}):
        async with live(given) as market:
            assert (market.settings, market.lines) == (given, ())


async def why(settings: dict[str, str]) -> str:
    with pytest.raises(NotLive) as error:
        async with live({"MARKET": "solana", **settings}):
            pass
    assert "\n" not in str(error.value)
    return str(error.value)


async def test_without_programs_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SOLANA_PROGRAMS", raising=False)
    monkeypatch.chdir(tmp_path)
    said = await why({})
    assert "make programs RPC_URL=https://" in said
    # What the command saved is found without being named.
    programs.FOLDER.mkdir(parents=True)
    assert (await why({})).startswith(f"SOLANA_PROGRAMS={programs.FOLDER} lacks raydium_cp_swap.so")
    monkeypatch.setenv("SOLANA_PROGRAMS", str(tmp_path))
    assert (await why({})).startswith(f"SOLANA_PROGRAMS={tmp_path} lacks raydium_cp_swap.so")


async def test_a_node_that_is_none_is_named_without_its_address(tmp_path: Path) -> None:
    key, pools = tmp_path / "key.json", tmp_path / "pools.json"
    key.write_text(Keypair().to_json())
    pools.write_text(json.dumps({"pools": [DLMM], "tokens": [{"mint": SOL.mint}, {"mint": USDC.mint}]}))
    given = {"SIGNER": f"file:{key}", "POOLS": str(pools)}
    with told_node(raw(200, b"<html>")) as node:
        said = await why({**given, "RPC_URL": node.url})
    assert "Is this the address of a node?" in said
    assert "very-secret" not in said
    assert (await why({**given, "RPC_URL": "http://127.0.0.1:9", "PRIORITY_FEE_PERCENTILE": "x"})).startswith(
        "PRIORITY_FEE_PERCENTILE must be"
    )


def test_the_command_ends_with_the_line_and_no_traceback(tmp_path: Path) -> None:
    own = {"MARKET": "solana", "RPC_URL": "", "SOLANA_PROGRAMS": str(tmp_path)}
    with pytest.raises(NotStarted) as ended, running(environment=own):
        pass
    assert f"SOLANA_PROGRAMS={tmp_path} lacks" in str(ended.value)
    assert "Traceback" not in str(ended.value)
