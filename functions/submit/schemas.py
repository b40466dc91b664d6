"""Which problems an operation of the HTTP API may answer; the types of all answers are those of ``wire.schema``."""

from __future__ import annotations

from typing import Any

from order_engine.wire.schema import ProblemView

DESCRIPTIONS = {
    401: "The key or ticket is missing or not valid.",
    403: "The key lacks the scope.",
    404: "There is no such order.",
    409: "What the orders are now stands against it: it is too late to cancel, or too many are open.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is invalid; the answer names the field.",
    429: "Too many requests in a short time; Retry-After says when the next is admitted.",
    503: "Nothing was accepted; try again.",
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Which error statuses an operation may answer; ``submit.description`` says what they look like."""
    return {status: {"description": DESCRIPTIONS[status], "model": ProblemView} for status in statuses}


COMMON_ERRORS = problem_answers(401, 403, 422, 503)
