"""What is wrong with a live market's settings is one sentence each, and no address of a node is in any of them."""

from __future__ import annotations

import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from order_engine.domain.tokens import SOL, USDC
from order_engine.settings import SettingsError, SolanaSettings
from order_engine.venues.solana.addresses import CPMM, DLMM, TOKEN
from order_engine.venues.solana.examine import examine
from order_engine.venues.solana.market import Solana
from tests.support.clock import StandingClock
from tests.unit.solana.nodes import Answer, Said, raw, refusal, result, told_node

KEY = Keypair.from_seed(bytes([9]) * 32)


@pytest.fixture
def given(tmp_path: Path) -> SolanaSettings:
    """Settings with which nothing is wrong but that no node is named."""
    key, pools = tmp_path / "key.json", tmp_path / "pools.json"
    key.write_text(KEY.to_json())
    tokens = [{"mint": SOL.mint, "symbol": "SOL"}, {"mint": USDC.mint, "symbol": "USDC"}]
    pools.write_text(json.dumps({"pools": [DLMM], "tokens": tokens}))
    return SolanaSettings(signer=f"file:{key}", pools=str(pools))


async def wrong(settings: SolanaSettings) -> str:
    with pytest.raises(SettingsError) as error:
        await examine(Solana(settings, StandingClock(), print))
    said = str(error.value)
    whole = "".join(traceback.format_exception(error.value))
    assert "very-secret" not in whole
    assert "127.0.0.1" not in said
    assert "\n" not in said
    return said


async def test_what_is_not_set_is_named(given: SolanaSettings) -> None:
    assert await wrong(SolanaSettings()) == (
        "POOLS is not set: MARKET=solana needs the path of a file that lists pools and tokens."
    )
    assert (await wrong(replace(given, signer=""))).startswith("SIGNER must be file:PATH")
    assert (await wrong(replace(given, signer="key.json"))).startswith("SIGNER must be file:PATH")
    assert (await wrong(given)).startswith("RPC_URL names no node.")
    assert await wrong(replace(given, rpc_url="node.example")) == (
        "RPC_URL: address 1 is not an http:// or https:// address."
    )
    assert (await wrong(replace(given, rpc_url="http://127.0.0.1:1", send_url="ftp://x"))).startswith("SEND_URL: ")


async def test_a_key_file_that_is_none(given: SolanaSettings, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.json"
    assert await wrong(replace(given, signer=f"file:{nowhere}")) == f"There is no key file at {nowhere}."
    nowhere.write_text("my key")
    assert "holds no key" in await wrong(replace(given, signer=f"file:{nowhere}"))


ANSWERS: dict[str, tuple[Answer, str]] = {
    "html": (
        raw(200, b"<html>Welcome</html>"),
        "the answer is not JSON-RPC (HTTP 200). Is this the address of a node?",
    ),
    "a proxy": (raw(502, b"<html>Bad Gateway</html>"), "the answer is not JSON-RPC (HTTP 502)"),
    "rate limits": (raw(429, b"slow down"), "too many requests (429)"),
    "a wrong key": (raw(401, b'{"jsonrpc":"2.0","error":{"code":-32401,"message":"Unauthorized"}}'), "gives no access"),
    "another chain": (refusal(-32601, "the method getEpochInfo does not exist"), "does not exist"),
    "another shape": (result({"height": 1}), "another shape"),
}


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_node_that_is_none(given: SolanaSettings, answer: Answer, said: str) -> None:
    with told_node(answer) as node:
        sentence = await wrong(replace(given, rpc_url=node.url))
    assert sentence.startswith("RPC_URL: ")
    assert said in sentence


async def test_an_address_where_nobody_listens(given: SolanaSettings) -> None:
    sentence = await wrong(replace(given, rpc_url="http://127.0.0.1:9/?api-key=very-secret"))
    assert sentence.startswith("RPC_URL: No node answered getEpochInfo. node 1: cannot be reached")


def account(owner: str, *, executable: bool = False, data: str = "") -> dict[str, Any]:
    return {"data": [data, "base64"], "executable": executable, "lamports": 1, "owner": owner}


def chain(accounts: dict[str, dict[str, Any]], *, programs: bool = True, blocks: bool = True) -> Answer:
    """A node whose answers depend on the question."""

    def answer(asked: dict[str, Any]) -> Said:
        method, params = asked["method"], asked["params"]
        context = {"slot": 1000}
        values: dict[str, object] = {
            "getEpochInfo": {"blockHeight": 900, "absoluteSlot": 1000},
            "getBalance": {"context": context, "value": 10**9},
            "isBlockhashValid": {"context": context, "value": False},
            "minimumLedgerSlot": 0,
        }
        if method == "getBlocksWithLimit":
            values[method] = list(range(params[0], 1001)) if blocks else []
        if method == "getBlock":
            values[method] = {"blockHeight": params[0] - 100}
        if method == "getMultipleAccounts":
            there = account("BPFLoaderUpgradeab1e11111111111111111111111", executable=True) if programs else None
            found = [there if CPMM in params[0] else accounts.get(name) for name in params[0]]
            values[method] = {"context": context, "value": found}
        return result(values[method])(asked)

    return answer


async def test_a_missing_program_a_pool_that_is_none_and_an_empty_wallet(given: SolanaSettings) -> None:
    with told_node(chain({}, programs=False)) as node:
        said = await wrong(replace(given, rpc_url=node.url))
        assert said.startswith("RPC_URL: this node has no program CPMM")
        assert said.endswith("Is it one of Solana's main network?")
        node.answer = chain({})
        assert await wrong(replace(given, rpc_url=node.url)) == f"POOLS: There is no account at {DLMM}."
        node.answer = chain({DLMM: account(TOKEN)})
        assert await wrong(replace(given, rpc_url=node.url)) == (
            f"POOLS: {DLMM} is no pool of a known program; it belongs to {TOKEN}."
        )
        # An account of the right program that is no pool.
        node.answer = chain({DLMM: account(DLMM, data="AAAA")})
        said = await wrong(replace(given, rpc_url=node.url))
        assert said.startswith("POOLS: none of the 1 pools can be traded on.")


async def test_every_node_must_be_able_to_prove_what_never_landed(given: SolanaSettings) -> None:
    def old(asked: dict[str, Any]) -> Said:
        known = asked["method"] != "minimumLedgerSlot"
        return (chain({}) if known else refusal(-32601, "Method not found"))(asked)

    with told_node(chain({})) as good, told_node(chain({}, blocks=False)) as node:
        both = replace(given, rpc_url=f"{good.url},{node.url}")
        assert await wrong(both) == "RPC_URL: address 2 does not have the blocks of the last minute."
        node.answer = old
        assert await wrong(both) == (
            "RPC_URL: No node answered minimumLedgerSlot. node 2: The node refused: Method not found (-32601)."
        )


def test_threads_that_come_first_together_share_one_source(given: SolanaSettings) -> None:
    """The chain builds from what the venues have read: two sources would know two things."""
    slow = threading.Barrier(8)

    def made(market: Solana) -> object:
        slow.wait(5)
        return market.source

    for _ in range(20):
        market = Solana(replace(given, rpc_url="http://127.0.0.1:9"), StandingClock(), print)
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(made, [market] * 8))) == 1
