"""What nodes say of failed transactions, as codes of the catalogue. Needs no program."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.failures import CATALOGUE, of_chain
from order_engine.venues.solana.addresses import (
    AMM_V4,
    ASSOCIATED_TOKEN,
    CLMM,
    COMPUTE_BUDGET,
    CPMM,
    DAMM_V2,
    DLMM,
    MEMO,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
)
from order_engine.venues.solana.refusals import refusal


def of(program: str, inner: Any, *logs: str) -> str:
    programs = (COMPUTE_BUDGET, MEMO, ASSOCIATED_TOKEN, program)
    return refusal({"InstructionError": [3, inner]}, logs, programs).code


def anchor(name: str, number: int) -> str:
    return f"Program log: AnchorError occurred. Error Code: {name}. Error Number: {number}. Error Message: No."


@pytest.mark.parametrize(
    ("program", "number"), [(CPMM, 6005), (CLMM, 6022), (DLMM, 6003), (DAMM_V2, 6002), (AMM_V4, 30)]
)
def test_slippage_is_known_by_its_number_where_no_log_is_left(program: str, number: int) -> None:
    assert of(program, {"Custom": number}) == "slippage_tolerance_exceeded"


@pytest.mark.parametrize("logs", [[anchor("RequireGtViolated", 2504)], []])
def test_an_amount_of_which_nothing_comes_out_is_not_the_pools_fault(logs: list[str]) -> None:
    assert of(*((CPMM, {"Custom": 2504}) if logs else (AMM_V4, {"Custom": 29})), *logs) == "pool_out_of_range"


def test_a_name_counts_more_than_a_number_that_another_release_had() -> None:
    assert of(CLMM, {"Custom": 6022}, anchor("LiquidityInsufficient", 6022)) == "pool_out_of_range"
    assert of(CLMM, {"Custom": 6099}, anchor("TooLittleOutputReceived", 6099)) == "slippage_tolerance_exceeded"
    # An error that was caught has another number than the one that ended the transaction.
    assert of(CLMM, {"Custom": 6022}, anchor("LiquidityInsufficient", 6001)) == "slippage_tolerance_exceeded"


@pytest.mark.parametrize("venue", [CPMM, CLMM, DLMM, DAMM_V2, AMM_V4])
@pytest.mark.parametrize("token", [TOKEN, TOKEN_2022])
@pytest.mark.parametrize(("number", "code"), [(1, "insufficient_funds"), (17, "account_frozen"), (2, "mint_not_found")])
def test_what_a_token_program_says_is_not_the_venues_error(venue: str, token: str, number: int, code: str) -> None:
    logs = [
        f"Program {token} failed: custom program error: {number:#x}",
        f"Program {venue} failed: custom program error: {number:#x}",
    ]
    assert of(venue, {"Custom": number}, *logs) == code
    # AMM v4 has small numbers of its own, which nothing but the log can tell apart.
    assert of(venue, {"Custom": number}) == ("pool_refused" if venue == AMM_V4 else code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("AccountNotFound", "insufficient_sol"),
        ("InsufficientFundsForFee", "insufficient_sol"),
        ({"InsufficientFundsForRent": {"account_index": 0}}, "insufficient_sol"),
        ({"InstructionError": [3, "ComputationalBudgetExceeded"]}, "compute_exceeded"),
        ({"InstructionError": [3, "ProgramFailedToComplete"]}, "compute_exceeded"),
        ("MaxLoadedAccountsDataSizeExceeded", "route_too_large"),
        ("TooManyAccountLocks", "route_too_large"),
        ({"InstructionError": [3, "MaxInstructionTraceLengthExceeded"]}, "route_too_large"),
        ({"InstructionError": [3, {"Custom": 6042}]}, "pool_refused"),
        ({"InstructionError": [3, "InvalidAccountData"]}, "pool_refused"),
        ({"InstructionError": [1, "InvalidInstructionData"]}, "landed_with_error"),
        ("BlockhashNotFound", "landed_with_error"),
        (None, "landed_with_error"),
        ({"InstructionError": []}, "landed_with_error"),
        ({"InstructionError": [3, {"Custom": "x"}]}, "pool_refused"),
    ],
)
def test_the_runtimes_errors_have_codes_too(error: Any, code: str) -> None:
    assert refusal(error, (), (COMPUTE_BUDGET, MEMO, ASSOCIATED_TOKEN, DLMM)).code == code


def test_the_rent_of_a_new_account_is_paid_in_sol() -> None:
    log = f"Program {SYSTEM} failed: custom program error: 0x1"
    said = refusal({"InstructionError": [2, {"Custom": 1}]}, [log], (COMPUTE_BUDGET, MEMO, ASSOCIATED_TOKEN))
    assert (said.code, said.call) == ("insufficient_sol", 2)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=2),
    max_leaves=8,
)


@given(anything | st.builds(lambda x: {"InstructionError": x}, anything), st.lists(st.text(max_size=60), max_size=4))
def test_whatever_a_node_says_is_a_code_of_the_catalogue_and_a_short_sentence(error: Any, logs: list[str]) -> None:
    said = refusal(error, logs, (CPMM, DLMM))
    assert said.code in CATALOGUE
    assert len(said.message) < 300
    # It survives the way through the chain's port.
    assert of_chain(str(said)).code == said.code
