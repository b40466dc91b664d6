"""Orders are deleted after their end, and never before it."""

from __future__ import annotations

import pytest

from order_engine.aws import codec
from order_engine.domain import lifecycle
from order_engine.domain.order import Status
from tests.support.orders import EVENTS, IN_STATUS, T0, allowed

DAY_S = 86_400


STEPS = [
    (status, event)
    for status in Status
    for event in EVENTS
    if status not in lifecycle.TERMINAL and allowed(status, event)
]


@pytest.mark.parametrize(("status", "event"), STEPS)
def test_only_the_write_that_ends_an_order_says_until_when_it_is_kept(status: Status, event: str) -> None:
    old = IN_STATUS[status]
    new = EVENTS[event][1](old, T0 + 5_500)
    for days in (0, 7):
        update = codec.update_of(old, new, keep_days=days)
        ends = new.status in lifecycle.TERMINAL and days > 0
        assert (codec.DELETE_AT in update["ExpressionAttributeNames"].values()) is ends
        if ends:
            assert update["ExpressionAttributeValues"][":delete"] == {"N": str((T0 + 5_500) // 1000 + 7 * DAY_S)}
            assert "#delete = :delete" in update["UpdateExpression"]
