"""Settings: read from the environment, in groups, and silent about what carries keys."""

from __future__ import annotations

import pytest

from order_engine.settings import Settings, SettingsError, environment, names

URL = "https://node.example/?api-key=very-secret"


def test_the_groups_are_read_from_one_flat_environment() -> None:
    given = {"RPC_URL": URL, "SIGNER": "file:key.json", "POOLS": "pools.json", "PRIORITY_FEE_PERCENTILE": "90"}
    settings = Settings.load({**given, "MAX_RETRIES": "1"})
    assert (settings.execution.max_retries, settings.solana.rpc_url, settings.solana.signer) == (
        1,
        URL,
        "file:key.json",
    )
    assert (settings.solana.pools, settings.solana.priority_fee_percentile) == ("pools.json", 90)
    assert Settings.load({}).solana == Settings().solana
    assert {*given, "MAX_RETRIES", "SEND_URL", "PRIORITY_FEE_MAX_MICROLAMPORTS"} < set(names())
    assert "SOLANA" not in names()
    assert environment(rpc_url=URL, max_retries=2) == {"RPC_URL": URL, "MAX_RETRIES": "2"}


@pytest.mark.parametrize("name", ["solana", "rpcurl"])
def test_what_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        environment(**{name: "1"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PRIORITY_FEE_PERCENTILE", "101", "from 0 to 100"),
        ("PRIORITY_FEE_PERCENTILE", "half", "a whole number"),
        ("PRIORITY_FEE_MAX_MICROLAMPORTS", "1000000001", "from 0 to 1000000000"),
        ("PRIORITY_FEE_MAX_MICROLAMPORTS", "-1", "from 0 to 1000000000"),
        ("MAX_SLIPPAGE_BPS", "5001", "from 1 to 5000"),
        ("MAX_SLIPPAGE_BPS", "0", "from 1 to 5000"),
    ],
)
def test_a_wrong_fee_or_ceiling_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be {said}"):
        Settings.load({name: value})


def test_addresses_of_nodes_are_not_shown() -> None:
    shown = repr(Settings.load({"RPC_URL": URL, "SEND_URL": URL}))
    assert "very-secret" not in shown
    assert "node.example" not in shown
