"""Why the chain refuses a swap: a program's or the runtime's error, as a code of the catalogue and a sentence.

An error is known by its name where the program's log tells it, since numbers shift between a program's releases; by its
number otherwise. Names: the public interface descriptions of the five venues' programs and of Anchor; numbers below
6000: the public sources of the Token, System and AMM v4 programs; the runtime's: docs.rs/solana-transaction-error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from order_engine.venues.solana.addresses import (
    AMM_V4,
    ASSOCIATED_TOKEN,
    CLMM,
    CPMM,
    DAMM_V2,
    DLMM,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
)

SLIPPAGE = "slippage_tolerance_exceeded"
FUNDS, SOL, FROZEN, MINT = "insufficient_funds", "insufficient_sol", "account_frozen", "mint_not_found"
CLOSED, MOVED, REFUSED = "pool_closed", "pool_out_of_range", "pool_refused"
COMPUTE, LARGE, OTHER = "compute_exceeded", "route_too_large", "landed_with_error"
# What speaks against a pool, and not against the order or the moment.
AGAINST_THE_POOL = frozenset({CLOSED, REFUSED})

VENUES: Mapping[str, str] = {
    CPMM: "Raydium's CPMM",
    CLMM: "Raydium's CLMM",
    AMM_V4: "Raydium's AMM v4",
    DLMM: "Meteora's DLMM",
    DAMM_V2: "Meteora's DAMM v2",
}

_BY_NAME: Mapping[str, str] = {
    "ExceededSlippage": SLIPPAGE,
    "TooLittleOutputReceived": SLIPPAGE,
    "ExceededAmountSlippageTolerance": SLIPPAGE,
    "ExceededBinSlippageTolerance": SLIPPAGE,
    "InsufficientOutAmount": SLIPPAGE,
    "NotApproved": CLOSED,
    "PoolDisabled": CLOSED,
    "InvalidStatus": CLOSED,
    "AccountNotEnoughKeys": MOVED,
    "BinArrayNotFound": MOVED,
    "BitmapExtensionAccountIsNotProvided": MOVED,
    "CannotFindNonZeroLiquidityBinArrayId": MOVED,
    "InvalidFirstTickArrayAccount": MOVED,
    "InvalidTickArray": MOVED,
    "LiquidityInsufficient": MOVED,
    "MissingTickArrayBitmapExtensionAccount": MOVED,
    "NonContinuousBinArrays": MOVED,
    "NotEnoughTickArrayAccount": MOVED,
    "PairInsufficientLiquidity": MOVED,
    "PriceRangeViolation": MOVED,
    # CPMM: nothing would come out.
    "RequireGtViolated": MOVED,
    "SqrtPriceLimitOverflow": MOVED,
    "TooSmallInputOrOutputAmount": MOVED,
    "ZeroTradingTokens": MOVED,
}
_BY_NUMBER: Mapping[tuple[str, int], str] = {
    (CPMM, 6005): SLIPPAGE,
    (CLMM, 6022): SLIPPAGE,
    (DLMM, 6003): SLIPPAGE,
    (DAMM_V2, 6002): SLIPPAGE,
    # Nothing would come out.
    (AMM_V4, 29): MOVED,
    (AMM_V4, 30): SLIPPAGE,
    (AMM_V4, 22): CLOSED,
    (AMM_V4, 40): FUNDS,
    # The account that the token comes from belongs to no token program: there is none.
    (AMM_V4, 38): FUNDS,
    (TOKEN, 1): FUNDS,
    (TOKEN, 2): MINT,
    (TOKEN, 17): FROZEN,
    (TOKEN_2022, 1): FUNDS,
    (TOKEN_2022, 2): MINT,
    (TOKEN_2022, 17): FROZEN,
    # The wallet lends a new token account its rent.
    (SYSTEM, 1): SOL,
    (ASSOCIATED_TOKEN, 1): SOL,
}
_OF_THE_RUNTIME: Mapping[str, str] = {
    "AccountNotFound": SOL,
    "InsufficientFundsForFee": SOL,
    "InsufficientFundsForRent": SOL,
    "ComputationalBudgetExceeded": COMPUTE,
    "ProgramFailedToComplete": COMPUTE,
    "AccountLoadedTwice": LARGE,
    "CallDepth": LARGE,
    "MaxAccountsDataAllocationsExceeded": LARGE,
    "MaxAccountsExceeded": LARGE,
    "MaxInstructionTraceLengthExceeded": LARGE,
    "MaxLoadedAccountsDataSizeExceeded": LARGE,
    "TooManyAccountLocks": LARGE,
}
_SENTENCES: Mapping[str, str] = {
    SLIPPAGE: "It would have given less than the minimum; the swap did not happen.",
    FUNDS: "The wallet does not hold enough of the token that is sold.",
    SOL: "The wallet has too little SOL to pay for the transaction.",
    FROZEN: "A token account that the swap needs is frozen by the token's issuer.",
    MINT: "A token of the swap does not exist on this chain.",
    CLOSED: "The pool is closed for swaps.",
    MOVED: "The pool cannot fill its part at the price that it has by now.",
    LARGE: "The transaction does more, or names more accounts, than the chain takes at once.",
    COMPUTE: "The programs needed more computation than the transaction had bought.",
}
_FAILED = re.compile(r"^Program (\w{32,44}) failed: (.{0,200})")
_NAMED = re.compile(r"Error Code: (\w{1,80})\. Error Number: (\d{1,10})\.")
# What the programs call the account that the swapped token comes from; one names none. Where the wallet has none, it
# holds nothing: the account of what is bought is made before.
_NOT_THERE = re.compile(
    r"AnchorError (caused by account: (input_token_account|user_token_in)|thrown in \S+)\. "
    r"Error Code: AccountNotInitialized\."
)
_MOST_SAID = 120


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the chain refused a transaction.

    Attributes:
        code: of the catalogue of failures.
        message: a sentence, with what the program itself said where it is no common error.
        call: which instruction of the message failed, from 0; None where none had begun.
    """

    code: str
    message: str
    call: int | None = None

    def __str__(self) -> str:
        """As ``TransactionStatus.error`` has it."""
        return f"{self.code}: {self.message}"


def refusal(error: Any, logs: Sequence[str], programs: Sequence[str]) -> Refusal:
    """What an error means.

    Args:
        error: as nodes write it, e.g. ``{"InstructionError": [3, {"Custom": 6005}]}`` or ``"AccountNotFound"``.
        logs: of the same run; may be empty or cut off.
        programs: of the message's instructions, in order.
    """
    name, detail = _unwrapped(error)
    if name != "InstructionError" or not isinstance(detail, list) or len(detail) != 2 or not isinstance(detail[0], int):
        return _told(_OF_THE_RUNTIME.get(name, OTHER), None, "", name)
    call, inner = detail
    outer = programs[call] if 0 <= call < len(programs) else ""
    kind, number = _unwrapped(inner)
    if kind in _OF_THE_RUNTIME:
        return _told(_OF_THE_RUNTIME[kind], call, outer, kind)
    program = _innermost(logs) or outer
    said = _NAMED.search("\n".join(logs))
    if kind != "Custom" or not isinstance(number, int):
        return _told(_unknown(outer), call, outer, kind)
    # The name belongs to this error only if its number does: a log may be of a call that failed and was caught.
    named = said[1] if said is not None and int(said[2]) == number else ""
    if named == "AccountNotInitialized" and _NOT_THERE.search("\n".join(logs)):
        return _told(FUNDS, call, outer, named)
    code = _BY_NAME.get(named) or _BY_NUMBER.get((program, number))
    if code is None and program == outer and number < 100:
        # Programs pass on what the token program said under their own name, where no log says who it was.
        code = _BY_NUMBER.get((TOKEN, number)) if outer in VENUES and outer != AMM_V4 else None
    return _told(code or _unknown(outer), call, outer, named or f"error {number}")


def _unwrapped(error: Any) -> tuple[str, Any]:
    if isinstance(error, dict) and len(error) == 1:
        ((name, detail),) = error.items()
        return str(name)[:_MOST_SAID], detail
    return str(error)[:_MOST_SAID], None


def _innermost(logs: Sequence[str]) -> str | None:
    """The program that failed first: those that called it fail after it."""
    return next((found[1] for line in logs if (found := _FAILED.match(line))), None)


def _unknown(program: str) -> str:
    return REFUSED if program in VENUES else OTHER


def _told(code: str, call: int | None, program: str, said: str) -> Refusal:
    who = VENUES.get(program, f"The program {program}" if program else "The chain")
    if code in _SENTENCES:
        about = f" ({who})" if code in AGAINST_THE_POOL or code in (SLIPPAGE, MOVED) else ""
        return Refusal(code, _SENTENCES[code][:-1] + about + ".", call)
    return Refusal(code, f"{who} refused the swap: {said}.", call)
