"""A stage that swaps on Solana: who may read which secret, and that a paper stage has nothing of it.

Over orders that go through it from end to end, on a chain of our own, every call is allowed and every grant is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.config import Config, ConfigError
from infra.context import LiveConfig
from local.cloud.account import ACCOUNT, REGION
from local.solana.genesis import ProgramsMissing, find_programs
from local.solana.own import own_chain
from order_engine.settings import Settings
from order_engine.venues.solana.listing import read_listing
from tests.infra.conftest import Synthesise
from tests.infra.flows import SECRETS, Recorded, record_live
from tests.infra.grants import Grant, grants, refused, unused
from tests.infra.template import Stack

NODES, SENDER, WALLET_KEY = (f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}" for name in SECRETS)
WALLET = "GyA5cVfSzkVyVBanCXvyLFer8imDddrLdUqQfMDgCFd6"
SOL, USDC = "So11111111111111111111111111111111111111112", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
MARKET = ("process.handler", "process.dead_letters", "process.sweep", "submit.handler")
OTHERS = ("notify.handler", "notify.socket", "submit.authorizer")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "my pools.json"
    path.write_text(json.dumps({"pools": [WALLET], "tokens": [{"mint": SOL}, {"mint": USDC}]}))
    return path


def context(pools: Path, **more: object) -> dict[str, object]:
    return {
        "market": "solana",
        "pools": str(pools),
        "nodesSecret": NODES,
        "walletSecret": WALLET_KEY,
        "wallet": WALLET,
        **more,
    }


@pytest.fixture(scope="module")
def live(synthesise: Synthesise, pools: Path) -> Stack:
    return synthesise(**context(pools, sendSecret=SENDER, priorityFeePercentile=90, maxSlippageBps=100))


def secrets_of(stack: Stack, module: str) -> set[str]:
    """Which of the live market's secrets a function may read."""
    return {
        resource
        for statement in stack.statements(f"{module}.lambda_handler")
        if "secretsmanager:GetSecretValue" in statement.actions
        for resource in statement.resources
        if resource in (NODES, WALLET_KEY, SENDER)
    }


def test_the_worker_alone_may_read_the_key(live: Stack) -> None:
    assert secrets_of(live, "process.handler") == {NODES, SENDER, WALLET_KEY}
    assert secrets_of(live, "process.dead_letters") == {NODES, SENDER}
    for module in MARKET[2:]:
        assert secrets_of(live, module) == {NODES}, module
    for module in OTHERS:
        assert secrets_of(live, module) == set(), module


def test_the_functions_get_the_engines_settings(live: Stack) -> None:
    for module in MARKET:
        _, function = live.function(f"{module}.lambda_handler")
        settings = Settings.load({k: v for k, v in function["Environment"]["Variables"].items() if isinstance(v, str)})
        assert settings.market == "solana"
        sends = module in MARKET[:2]
        assert settings.solana.rpc_url == f"secret:{NODES}"
        assert settings.solana.send_url == (f"secret:{SENDER}" if sends else ""), module
        signs = module == "process.handler"
        assert settings.solana.signer == (f"secret:{WALLET_KEY}" if signs else f"address:{WALLET}")
        assert (settings.solana.priority_fee_percentile, settings.solana.pools) == (90, "/opt/pools.json")
        assert settings.solana.max_slippage_bps == 100
        assert len(function["Layers"]) == 2
    for module in OTHERS:
        _, function = live.function(f"{module}.lambda_handler")
        assert "RPC_URL" not in function["Environment"]["Variables"]
        assert len(function["Layers"]) == 1


@pytest.fixture(scope="module")
def recorded(live: Stack) -> Iterator[Recorded]:
    """Orders that go through the live stage, and are swapped by the venues' real programs."""
    try:
        programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))
    with own_chain(programs) as chain, pytest.MonkeyPatch.context() as patch:
        yield record_live(patch, live.content, chain)


@pytest.fixture(scope="module")
def granted(recorded: Recorded) -> list[Grant]:
    return sorted(grants(recorded.template))


def test_every_call_of_live_orders_is_allowed(recorded: Recorded, granted: list[Grant]) -> None:
    assert refused(recorded, granted) == []


def test_every_grant_of_a_live_stage_is_used(recorded: Recorded, granted: list[Grant]) -> None:
    assert unused(recorded, granted) == []


def test_no_secret_of_a_live_stage_is_written_to_a_log(recorded: Recorded) -> None:
    assert recorded.log.count('"status":"confirmed"') >= 2
    assert {"node", "wallet"} <= set(recorded.secrets)
    assert any(name.startswith("signed transaction") for name in recorded.secrets)
    assert [name for name, secret in recorded.secrets.items() if secret in recorded.log] == []


def test_the_layer_holds_the_file_of_pools(live: Stack, pools: Path) -> None:
    found = list(live.path.parent.glob("asset.*/pools.json"))
    assert [read_listing(path) for path in found] == [read_listing(pools)]
    assert [path.stat().st_mode & 0o777 for path in found] == [0o644]


def test_a_paper_stage_has_nothing_of_it(stack: Stack) -> None:
    assert len(stack.of_type("AWS::Lambda::LayerVersion")) == 1
    for module in (*MARKET, *OTHERS):
        _, function = stack.function(f"{module}.lambda_handler")
        variables = set(function["Environment"]["Variables"])
        assert variables.isdisjoint({"MARKET", "RPC_URL", "SEND_URL", "SIGNER", "POOLS", "PRIORITY_FEE_PERCENTILE"})


def test_what_is_given_is_read(pools: Path) -> None:
    assert Config.from_context({}).live is None
    assert Config.from_context({"market": "paper"}).live is None
    assert Config.from_context(context(pools, priorityFeeMaxMicrolamports="5")).live == LiveConfig(
        pools, NODES, None, WALLET_KEY, WALLET, 75, 5, 500
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"market": "mainnet"}, "market must be paper or solana"),
        ({"wallet": None}, "market=solana needs wallet"),
        ({"pools": None, "nodesSecret": None}, "market=solana needs pools, nodesSecret"),
        ({"pools": "nowhere.json"}, "pools must be a JSON file of the form"),
        ({"wallet": "0x12"}, "wallet must be the address of a wallet"),
        ({"nodesSecret": "https://node.example"}, "nodesSecret must be the ARN of a secret"),
        ({"walletSecret": "[1,2,3]"}, "walletSecret must be the ARN of a secret"),
        ({"priorityFeePercentile": "101"}, "priorityFeePercentile must be a whole number from 0 to 100"),
        ({"market": "paper"}, "pools is for market=solana only"),
    ],
)
def test_what_is_missing_or_wrong_is_named(pools: Path, changed: dict[str, object], said: str) -> None:
    given = {name: value for name, value in {**context(pools), **changed}.items() if value is not None}
    with pytest.raises(ConfigError, match=said) as error:
        Config.from_context(given)
    # Whoever gives a secret instead of its name must not find it in a log.
    assert "1,2,3" not in str(error.value)
    assert "node.example" not in str(error.value)
