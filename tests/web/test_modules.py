"""The page's pure modules, run by node: whatever the socket does, the view is exact; numbers are never rounded up."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.conftest import Modules

type Frame = dict[str, Any]
type Deliveries = tuple[dict[str, list[Frame]], list[Frame]]

STATUSES = ("pending", "routing", "building", "submitted")


@st.composite
def deliveries(draw: st.DrawFn) -> Deliveries:
    """Orders with their events, and what a bad network makes of them: frames lost, repeated and out of order."""
    orders: dict[str, list[Frame]] = {}
    frames: list[Frame] = []
    for order_id in ("a", "b")[: draw(st.integers(1, 2))]:
        count = draw(st.integers(1, 9))
        events = [
            {"seq": seq, "status": STATUSES[seq % 4], "at": f"2026-11-21T01:02:{seq:02d}.000Z", "attempt": 1}
            for seq in range(1, count)
        ]
        events.append({"seq": count, "status": "confirmed", "at": "2026-11-21T01:02:30.000Z", "attempt": 1})
        orders[order_id] = events
        live = [{"type": "event", "orderId": order_id, **event} for event in events]
        frames += draw(st.lists(st.sampled_from(live), max_size=12))
        for _ in range(draw(st.integers(0, 3))):
            after, upto = draw(st.integers(0, count)), draw(st.integers(1, count))
            part = events[after:upto]
            frames.append({"type": "snapshot", "orderId": order_id, "seq": upto, "status": "routing", "events": part})
    return orders, draw(st.permutations(frames))


@settings(max_examples=300, deadline=None)
@given(delivery=deliveries())
def test_each_event_is_taken_once_and_in_order_whatever_the_socket_does(modules: Modules, delivery: Deliveries) -> None:
    _, frames = delivery
    found = modules("deliver", frames)
    for taken in found["fresh"].values():
        assert taken == list(range(1, len(taken) + 1))


@settings(max_examples=300, deadline=None)
@given(delivery=deliveries())
def test_a_gap_is_known_until_it_is_filled(modules: Modules, delivery: Deliveries) -> None:
    _, frames = delivery
    found = modules("deliver", frames)
    heard: dict[str, int] = {}
    seen: dict[str, set[int]] = {}
    for frame, behind in zip(frames, found["behind"], strict=True):
        order_id = frame["orderId"]
        events = frame["events"] if frame["type"] == "snapshot" else [frame]
        heard[order_id] = max(heard.get(order_id, 0), frame["seq"])
        seen.setdefault(order_id, set()).update(event["seq"] for event in events)
        complete = set(range(1, heard[order_id] + 1)) <= seen[order_id]
        assert behind is not complete


@settings(max_examples=300, deadline=None)
@given(delivery=deliveries())
def test_a_snapshot_after_any_disorder_makes_the_view_equal_the_stored_order(
    modules: Modules, delivery: Deliveries
) -> None:
    orders, frames = delivery
    final = [
        {"type": "snapshot", "orderId": order_id, "seq": len(events), "status": "confirmed", "events": events}
        for order_id, events in orders.items()
    ]
    found = modules("deliver", [*frames, *final])
    for order_id, events in orders.items():
        order = found["orders"][order_id]
        assert order["view"] == [[event["seq"], event["status"]] for event in events]
        assert order["status"] == "confirmed"
        # The time in each step adds up to the whole: the last event is at second 30, the first at second 1.
        assert order["spent"] == (29_000 if len(events) > 1 else 0)
        assert found["fresh"][order_id] == [event["seq"] for event in events]


amounts = st.decimals("0.000000001", "999999999999", places=9).map(lambda value: format(value, "f"))


@settings(deadline=None)
@given(value=amounts, base=amounts)
def test_basis_points_are_exact(modules: Modules, value: str, base: str) -> None:
    exact = (Decimal(value) - Decimal(base)) * 10_000 / Decimal(base)
    found = modules("basisPoints", value, base)
    assert abs(Decimal(repr(found)) - exact) <= Decimal("0.01") + abs(exact) * Decimal("1e-12")


@settings(deadline=None)
@given(value=amounts, kept=st.integers(5_000, 10_000), decimals=st.integers(0, 9))
def test_the_minimum_is_floored_and_never_shown_too_high(
    modules: Modules, value: str, kept: int, decimals: int
) -> None:
    exact = Decimal(value) * kept / 10_000
    found = modules("scaled", value, str(kept), "10000", decimals)
    assert Decimal(found) == exact.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN)


@settings(deadline=None)
@given(value=amounts)
def test_an_amount_is_shown_cut_and_never_rounded_up(modules: Modules, value: str) -> None:
    shown = Decimal(modules("amount", value).replace(",", ""))
    exact = Decimal(value)
    assert exact * Decimal("0.999") <= shown <= exact


def test_amounts_read_well(modules: Modules) -> None:
    told = {"1234567.891": "1,234,567", "198.149612": "198.1496", "0.00000123456789": "0.0000012345", "1.50": "1.5"}
    assert {text: modules("amount", text) for text in told} == told


@settings(deadline=None)
@given(texts=st.lists(amounts, min_size=1, max_size=6), decimals=st.sampled_from([5, 6, 9]))
def test_figures_that_are_compared_have_the_same_decimals(modules: Modules, texts: list[str], decimals: int) -> None:
    shown = modules("figures", texts, decimals)
    places = {len(text.partition(".")[2]) for text in shown}
    assert len(places) == 1
    assert max(places) <= decimals
    for text, exact in zip(shown, texts, strict=True):
        assert Decimal(text.replace(",", "")) == Decimal(exact).quantize(Decimal(1).scaleb(-max(places)), ROUND_DOWN)


def test_figures_align(modules: Modules) -> None:
    assert modules("figures", ["116830.4", "116830.39", "9.123456"], 6) == ["116,830.40", "116,830.39", "9.12"]
    assert modules("figures", ["0.00002", None, "-0.002165"], 6) == ["0.000020", "–", "−0.002165"]  # noqa: RUF001
    assert modules("figure", "6.37203", 9) == "6.37203"
    assert modules("figure", "0", 6) == "0"


@settings(deadline=None)
@given(value=amounts)
def test_a_price_has_six_digits_that_mean_something(modules: Modules, value: str) -> None:
    shown = modules("price", value).replace(",", "")
    assert len(shown.replace(".", "").lstrip("0")) >= 6
    assert Decimal(value) * Decimal("0.99999") <= Decimal(shown) <= Decimal(value)


def test_prices_of_all_sizes_read_well(modules: Modules) -> None:
    told = {
        "147.13309": "147.133",
        "0.000019012345": "0.0000190123",
        "7075313.2": "7,075,313",
        "0.000019": "0.0000190000",
    }
    assert {text: modules("price", text) for text in told} == told


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (0.12, "+0.12 bps"),
        (-0.001, "0.00 bps"),
        (-99.94, "−99.9 bps"),  # noqa: RUF001
        (-250, "−2.50 %"),  # noqa: RUF001
        (25_000, "+250 %"),
        (68_693_512, "over +1,000 %"),
    ],
)
def test_differences_of_all_sizes_read_well(modules: Modules, points: float, text: str) -> None:
    assert modules("bps", points) == text


@settings(deadline=None)
@given(left=amounts, right=amounts, decimals=st.integers(0, 9))
def test_what_a_limit_gives_is_rounded_up(modules: Modules, left: str, right: str, decimals: int) -> None:
    context = Context(prec=60)
    exact = context.multiply(Decimal(left), Decimal(right))
    found = modules("product", left, right, decimals)
    assert Decimal(found) == exact.quantize(Decimal(1).scaleb(-decimals), ROUND_CEILING, context)


@settings(deadline=None)
@given(values=st.lists(st.integers(1, 100_000), min_size=1, max_size=50), share=st.sampled_from([50, 90, 99, 100]))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(
    modules: Modules, values: list[int], share: int
) -> None:
    found = modules("quantile", sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= share * len(values)
    assert sum(value < found for value in values) * 100 < share * len(values)


def test_no_part_of_an_order_is_called_nothing_or_all(modules: Modules) -> None:
    told = {0.001: "<1 %", 0.006: "1 %", 0.5: "50 %", 0.9951: ">99 %", 1: "100 %"}
    assert {share: modules("part", share) for share in told} == told


def test_what_is_no_number_is_shown_as_it_is(modules: Modules) -> None:
    assert modules("amount", "<b>1</b>") == "<b>1</b>"
    assert modules("amount", None) == "–"  # noqa: RUF001
    assert modules("basisPoints", "x", "1") is None
    assert modules("basisPoints", "1", "0") is None


@settings(deadline=None)
@given(tries=st.integers(0, 1000), random=st.floats(0, 0.999))
def test_the_pause_before_a_reconnect_grows_and_is_bounded(modules: Modules, tries: int, random: float) -> None:
    pause = modules("pause", tries, random)
    full = min(15_000, 500 * 2 ** min(tries, 10))
    assert full / 2 <= pause <= full


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999.4, "999 ms"), (999.6, "1.00 s"), (12_345, "12.3 s"), (61_000, "1 min 01 s"), (None, "–")],  # noqa: RUF001
)
def test_durations_read_well(modules: Modules, ms: float | None, text: str) -> None:
    assert modules("duration", ms) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(13_500, "13.5 s"), (125_000, "2m 05s"), (7_500_000, "2h 05m"), (200_000_000, "2 days")]
)
def test_durations_read_well_in_little_room(modules: Modules, ms: float, text: str) -> None:
    assert modules("brief", ms) == text


def test_the_clock_follows_the_engine_only_as_far_as_the_network_cannot_explain_it(modules: Modules) -> None:
    assert modules("skew", 1_000_200, 1_000_000, 1_000_400) == 0
    # 300 ms are within what one does not know; 60 s are not.
    assert modules("skew", 1_000_500, 1_000_000, 1_000_400) == 0
    assert modules("skew", 1_060_200, 1_000_000, 1_000_400) == 60_000
    assert modules("skew", 1_060_300, 1_000_000, 1_000_400) == 60_000
    assert modules("skew", 1_000_200, 1_000_000, 1_000_400) == 0
