"""The catalogue of reasons for which an attempt or an order fails: stable codes, and whether trying again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from order_engine.domain.order import Failure

_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
# A node's error may be a whole log; the order keeps its beginning.
_MESSAGE_CHARS = 300
LANDED_WITH_ERROR = "landed_with_error"
# A transaction of fewer swaps may do.
TOO_MUCH = frozenset({"compute_exceeded", "route_too_large"})


@dataclass(frozen=True, slots=True)
class Reason:
    """What a code means.

    Attributes:
        remedy: what a person can do about it.
        final: nothing that changes within an order's retries can cure it: it is not tried again.
        rests: it says nothing against the order itself: where a market order fails, a limit order rests again.
        by_hand: it passes only when a person does something about it: who rests for it fires less and less often.
    """

    meaning: str
    remedy: str
    final: bool = False
    rests: bool = False
    by_hand: bool = False


_NOTHING = "Nothing: the engine tries again by itself."
_SMALLER = "Nothing: the engine tries a route of fewer swaps by itself."
_REPORT = "Report it with the order's signature."

CATALOGUE: dict[str, Reason] = {
    "no_route": Reason(
        "Every venue has answered, and no pool or path can fill the order.",
        "Order less, or a pair that the pools trade.",
        final=True,
        rests=True,
    ),
    "price_impact_too_high": Reason(
        "The best route moves the price more than the engine allows.",
        "Order less at a time.",
        final=True,
        rests=True,
    ),
    "venues_unavailable": Reason(
        "No good route among the venues that answered; another was late or broken.", _NOTHING, rests=True
    ),
    "node_unavailable": Reason(
        "No node of the chain answered while the transaction was being prepared.", _NOTHING, rests=True
    ),
    "routing_failed": Reason("Quoting or routing broke.", _REPORT, rests=True),
    "build_failed": Reason("The transaction could not be built or signed.", _REPORT, rests=True),
    "slippage_tolerance_exceeded": Reason(
        "It would have given less than the minimum; the swap did not happen.",
        "Allow more slippage where every attempt ends so.",
        rests=True,
    ),
    "insufficient_funds": Reason(
        "The engine's wallet does not hold enough of the token that is sold.",
        "Fund the wallet (SOL: wrapped), then order again.",
        final=True,
        rests=True,
        by_hand=True,
    ),
    "insufficient_sol": Reason(
        "The engine's wallet has too little SOL for the fee, or for a new token account.",
        "Send SOL to the wallet, then order again.",
        final=True,
        rests=True,
        by_hand=True,
    ),
    "account_frozen": Reason(
        "A token account that the swap needs is frozen by the token's issuer.",
        "Ask the issuer; nobody else can thaw it.",
        final=True,
    ),
    "mint_not_found": Reason(
        "A token of the swap does not exist on this chain.",
        "Correct the configured tokens and pools.",
        final=True,
    ),
    "pool_closed": Reason("A pool of the route is closed for swaps.", _NOTHING, rests=True),
    "pool_out_of_range": Reason("The price has moved beyond what a pool of the route can fill.", _NOTHING, rests=True),
    "pool_disagrees": Reason(
        "A pool would pay less than it was quoted for, though it has not changed; it is left out for a while.",
        _NOTHING,
        rests=True,
    ),
    "pool_refused": Reason(
        "A venue's program refused the swap with an error that has nothing to do with its price.",
        "Remove the pool from the configured ones where it goes on.",
        rests=True,
    ),
    "compute_exceeded": Reason("The programs needed more computation than was bought.", _SMALLER, rests=True),
    "route_too_large": Reason("The route's transaction is more than the chain takes.", _SMALLER, rests=True),
    "transaction_failed": Reason(
        "The transaction landed with an error that has nothing to do with its price.", "Order again."
    ),
    LANDED_WITH_ERROR: Reason(
        "The transaction landed with an error that the engine does not know by name.", _REPORT, rests=True
    ),
    "expired": Reason(
        "The transaction expired without landing.", "Offer a higher priority fee where it goes on.", rests=True
    ),
    "worker_lost": Reason("Several workers in a row were lost during one attempt.", _REPORT),
    "time_limit": Reason(
        "The order's own time limit passed while it was being prepared.", "Set a later time limit.", rests=True
    ),
    "limit_not_met": Reason(
        "At its full size the order would miss its limit; it rests again.",
        "Nothing: it waits for its price.",
        rests=True,
    ),
    "too_many_steps": Reason("The order came to no end after very many steps.", "Order again.", final=True),
    "gave_up": Reason("No worker could take the order in the time that it may wait.", "Order again.", final=True),
}

WAITED_TOO_LONG = Failure("gave_up", CATALOGUE["gave_up"].meaning)


def is_final(failure: Failure) -> bool:
    """Whether trying again cannot help. What is not in the catalogue may pass."""
    reason = CATALOGUE.get(failure.code)
    return reason is not None and reason.final


def lets_rest(failure: Failure) -> bool:
    """Whether a limit order goes on waiting for its price after it. What is not in the catalogue ends it."""
    reason = CATALOGUE.get(failure.code)
    return reason is not None and reason.rests


def waits_for_somebody(failure: Failure) -> bool:
    """Whether only a person can make it pass, and not the market."""
    reason = CATALOGUE.get(failure.code)
    return reason is not None and reason.by_hand


def of_chain(error: str | None) -> Failure:
    """What a transaction landed with, as a failure.

    Args:
        error: ``code: message`` from a chain that names its errors so, or whatever text it has.
    """
    text = error or "The transaction landed with an error."
    code, mark, message = text.partition(": ")
    if not mark or not _CODE.fullmatch(code):
        return Failure(LANDED_WITH_ERROR, text[:_MESSAGE_CHARS])
    return Failure(code, message[:_MESSAGE_CHARS])
