"""Which problems an operation of the HTTP API may answer; the types of all answers are those of ``wire.schema``."""

from __future__ import annotations

from typing import Any

from order_engine.wire.schema import ProblemView
from submit.statuses import STATUSES


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Which error statuses an operation may answer; ``submit.description`` says what they look like."""
    return {status: {"description": STATUSES[status].means, "model": ProblemView} for status in statuses}


COMMON_ERRORS = problem_answers(401, 403, 422, 503)
