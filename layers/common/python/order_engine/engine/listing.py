"""How far one page of a user's list reaches: what a request may cost, whatever is asked for."""

from __future__ import annotations

from order_engine.domain.order import Status

# So many orders are read for a page at most.
EXAMINED = 100
# Orders of these statuses are listed by an index that holds them and hardly anything else.
_KEPT_APART = frozenset({Status.OPEN, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


def examined(status: Status | None, limit: int) -> int:
    """How many orders are read for a page of ``limit`` orders in a status, or in any (None)."""
    return limit if status is None or status in _KEPT_APART else max(limit, EXAMINED)
