"""The catalogue of reasons for which an attempt or an order fails: stable codes, and whether trying again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from order_engine.domain.order import Failure

_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
# A node's error may be a whole log; the order keeps its beginning.
_MESSAGE_CHARS = 300
LANDED_WITH_ERROR = "landed_with_error"


@dataclass(frozen=True, slots=True)
class Reason:
    """What a code means.

    Attributes:
        final: nothing that changes within an order's retries can cure it: it is not tried again.
        rests: it says nothing against the order itself: where a market order fails, a limit order rests again.
    """

    meaning: str
    final: bool = False
    rests: bool = False


CATALOGUE: dict[str, Reason] = {
    "no_route": Reason("Every venue has answered, and no pool or path can fill the order.", final=True, rests=True),
    "price_impact_too_high": Reason(
        "The best route moves the price more than the engine allows.", final=True, rests=True
    ),
    "venues_unavailable": Reason(
        "No good route among the venues that answered; another was late or broken.", rests=True
    ),
    "routing_failed": Reason("Quoting or routing broke.", rests=True),
    "build_failed": Reason("The transaction could not be built or signed.", rests=True),
    "slippage_tolerance_exceeded": Reason(
        "It would have given less than the minimum; the swap did not happen.", rests=True
    ),
    "transaction_failed": Reason("The transaction landed with an error that has nothing to do with its price."),
    LANDED_WITH_ERROR: Reason("The transaction landed with an error that the engine does not know by name."),
    "expired": Reason("The transaction expired without landing.", rests=True),
    "worker_lost": Reason("Several workers in a row were lost during one attempt."),
    "time_limit": Reason("The order's own time limit passed while it was being prepared.", rests=True),
    "limit_not_met": Reason("At its full size the order would miss its limit; it rests again.", rests=True),
    "too_many_steps": Reason("The order came to no end after very many steps.", final=True),
    "gave_up": Reason("No worker could take the order in the time that it may wait.", final=True),
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
