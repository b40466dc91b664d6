"""Which problems an operation of the HTTP API may answer; the types of all answers are those of ``wire.schema``."""

from __future__ import annotations

from typing import Any

from submit.statuses import STATUSES


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Which error statuses an operation may answer; ``submit.description`` says what they look like.

    Without a model: FastAPI would make a validator of each for each route, which takes longer than all else of a route.
    """
    return {status: {"description": STATUSES[status].means} for status in statuses}


COMMON_ERRORS = problem_answers(401, 403, 422, 503)
