"""What a market order takes in calls and units, held so that it cannot grow unseen. Nothing here is timed."""

from __future__ import annotations

import pytest

from bench.account import index_units, item_size, write_units
from bench.cost import Counts, dollars, measure


@pytest.fixture(scope="module")
def alone() -> Counts:
    return measure("alone", 2, QUOTE_DELAY_MS="0", LANDING_MIN_MS="0", LANDING_MAX_MS="0", LANDING_POLL_MS="1")


def test_accepting_an_order_takes_three_calls(alone: Counts) -> None:
    assert alone.calls["submit.handler"] == {"UpdateItem": 1, "PutItem": 1, "SendMessage": 1}


def test_executing_an_order_takes_one_read_and_four_writes(alone: Counts) -> None:
    assert alone.calls["process.handler"] == {"GetItem": 1, "UpdateItem": 4}


def test_write_units_stay_what_they_are(alone: Counts) -> None:
    # The order itself takes 8 and its indexes 3, the rate limit 1, its socket 3 or 4, statistics 1 or 2. Statistics
    # are shared by the orders of a stream's batch, and a socket that follows all of a user's orders is opened once.
    assert alone.all_write_units <= 18


def test_an_order_stays_below_two_kibibytes(alone: Counts) -> None:
    assert alone.largest_item < 2048


def test_the_index_is_written_when_an_order_begins_and_ends_only(alone: Counts) -> None:
    # by_time and work come with the order, work goes with its end; no status in between touches either.
    assert alone.index_units == 3


def test_each_event_is_pushed_once(alone: Counts) -> None:
    # Five events, and the snapshot after subscribing.
    assert alone.frames == 6
    assert alone.stream_records == 5


def test_every_charge_has_a_price(alone: Counts) -> None:
    assert all(amount > 0 for amount in dollars(alone).values())


def test_an_items_size_is_counted_as_the_service_documents() -> None:
    # 2 + 5; 1 + (1 + 3 digits in 2 bytes); 1 + 3 + (1 + 2); 1 + 1
    item = {"pk": {"S": "héll"}, "n": {"N": "-123"}, "l": {"L": [{"S": "ab"}]}, "b": {"BOOL": True}}

    assert item_size(item) == 7 + 5 + 7 + 2
    assert write_units(None, {"x": {"S": "y" * 1023}}) == 1
    assert write_units({"x": {"S": "y" * 1024}}, {"x": {"S": "y"}}) == 2


def test_an_index_costs_what_comes_and_what_goes() -> None:
    one, two = {"k": {"S": "1"}}, {"k": {"S": "2"}}

    assert [index_units(None, one, ["k"]), index_units(one, None, ["k"]), index_units(one, two, ["k"])] == [1, 1, 2]
    assert [index_units(one, one, ["k"]), index_units(None, one, ["k", "absent"])] == [0, 0]
