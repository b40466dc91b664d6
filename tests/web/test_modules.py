"""The page's pure modules, run by node: whatever the socket does, the view is exact; numbers are never rounded up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

_HERE = Path(__file__).resolve().parent


class Modules:
    """Calls functions of the page's modules by name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, name: str, *args: Any) -> Any:
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None
        assert received is not None
        sent.write(json.dumps({"name": name, "args": args}) + "\n")
        sent.flush()
        return json.loads(received.readline())


@pytest.fixture(scope="module")
def modules() -> Iterator[Modules]:
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node is not None, "node comes with the virtual environment"
    command = [node, str(_HERE / "modules.mjs")]
    pipe = subprocess.PIPE
    # Leaving the block closes its input, which ends it.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        yield Modules(process)


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
