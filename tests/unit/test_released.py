"""What released versions wrote is read, and what is written a released version can read.

Functions of a deployment are updated in any order, while orders are under way: for a while the former release reads
what this one has written, and the other way about. So a new form is read one release before it is written, and until
then this release may add to a form and take nothing away. ``tests/released/<version>`` keeps samples of every form that
a release wrote to a table, a queue or a socket; they are never changed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.events import OrderEvent
from order_engine.aws import codec
from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, Status
from order_engine.wire import forms, messages, views
from tests.release import RELEASED, versions
from tests.unit import asyncapi

ACTIVE = {f"active#{number}" for number in range(16)}
VERSIONS = versions()


def samples(version: str, name: str) -> list[Any]:
    found: list[Any] = json.loads((RELEASED / version / f"{name}.json").read_text(encoding="utf-8"))
    assert found
    return found


def parsed(value: Any) -> Any:
    """With every text that is JSON read: items hold some."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        return parsed(json.loads(value))
    if isinstance(value, dict):
        return {name: parsed(own) for name, own in value.items()}
    return [parsed(own) for own in value] if isinstance(value, list) else value


def lacking(new: Any, old: Any, path: str = "") -> list[str]:
    """What was there and is not any more, or differs; additions are none.

    In which of the active partitions an order is does not matter: every release that has them reads them all.
    """
    if path == ".work_pk.S" and {old, new} <= ACTIVE:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        missing = [f"{path}.{name}" for name in old if name not in new]
        return missing + [
            found for name in old if name in new for found in lacking(new[name], old[name], f"{path}.{name}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [found for n, own in enumerate(old) for found in lacking(new[n], own, f"{path}[{n}]")]
    return [] if new == old else [f"{path}: {old!r} is {new!r}"]


def test_the_comparison_sees_what_is_gone_and_not_what_is_new() -> None:
    old = {"a": {"S": '{"x": 1, "y": [1, 2]}'}}
    assert lacking(parsed({"a": {"S": '{"y": [1, 2], "x": 1, "z": 3}'}, "b": 1}), parsed(old)) == []
    assert lacking(parsed({"a": {"S": '{"x": 1, "y": [1, 3]}'}}), parsed(old)) == [".a.S.y[1]: 2 is 3"]
    assert lacking({}, old) == [".a"]
    assert lacking({"work_pk": {"S": "active#3"}}, {"work_pk": {"S": "active#8"}}) == []
    assert lacking({"work_pk": {"S": "active#16"}}, {"work_pk": {"S": "active#8"}}) != []
    assert lacking({"work_pk": {"S": "trigger#SOL/USDC"}}, {"work_pk": {"S": "active#8"}}) != []


def test_samples_of_the_last_release_are_kept() -> None:
    changelog = (RELEASED.parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"## [{version}]" in changelog for version in VERSIONS)
    assert "0.1.0" in VERSIONS
    statuses = {sample["shown"]["status"] for sample in samples("0.1.0", "orders")}
    assert statuses >= set(Status) - {Status.EXPIRED}


def test_nothing_is_written_in_a_form_that_the_last_release_does_not_read() -> None:
    """What its functions meet during the update to this one. ``forms.json`` says up to which form it reads."""
    reads: dict[str, int] = json.loads((RELEASED / VERSIONS[-1] / "forms.json").read_text(encoding="utf-8"))
    written = {form.name: form for form in (forms.ORDER, forms.MESSAGE, forms.FRAME)}
    assert written.keys() == reads.keys()
    assert [name for name, form in written.items() if form.writes > reads[name]] == []
    # What was read once is read for good: items outlive releases.
    assert [name for name, form in written.items() if form.reads < reads[name]] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_released_orders_are_read_and_read_the_same(version: str) -> None:
    for sample in samples(version, "orders"):
        order = codec.from_item(sample["item"])
        assert lacking(json.loads(json.dumps(views.order_view(order))), sample["shown"]) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_written_of_an_order_the_release_can_read(version: str) -> None:
    for sample in samples(version, "orders"):
        written = codec.to_item(codec.from_item(sample["item"]))
        assert lacking(parsed(written), parsed(sample["item"])) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_released_order_goes_on(version: str) -> None:
    """One that waited at the update is claimed, and one that a worker held is taken over."""
    going: list[Order] = []
    for sample in samples(version, "orders"):
        order = codec.from_item(sample["item"])
        if order.status in (Status.PENDING, Status.ROUTING, Status.BUILDING):
            going.append(lifecycle.claim(order, Lease("new", 1_790_000_100_000), 1_790_000_099_000))
            assert codec.update_of(order, going[-1])
    assert {order.status for order in going} == {Status.ROUTING}
    assert len(going) >= 3


@pytest.mark.parametrize("version", VERSIONS)
def test_released_messages_are_read_and_this_releases_are_no_newer(version: str) -> None:
    for body in samples(version, "messages"):
        ref = messages.decode(body)
        assert isinstance(ref, OrderRef)
        assert lacking(json.loads(messages.encode(ref)), json.loads(body)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_reads_released_frames(version: str) -> None:
    kinds = set()
    for frame in samples(version, "frames"):
        kinds.add(frame["type"])
        for event in frame.get("events", [frame] if frame["type"] == "event" else []):
            assert OrderEvent.read(frame["orderId"], event).seq >= 1
    assert kinds == set(asyncapi.SERVER)


@pytest.mark.parametrize("version", VERSIONS)
def test_frames_have_all_that_a_released_client_knows(version: str) -> None:
    orders = {sample["shown"]["orderId"]: [] for sample in samples(version, "orders")}  # type: dict[str, list[Any]]
    for sample in samples(version, "orders"):
        order = codec.from_item(sample["item"])
        orders[order.ref.order_id] += [json.loads(views.event_frame(order, event)) for event in order.events]
    for frame in samples(version, "frames"):
        if frame["type"] == "event":
            assert any(lacking(new, frame) == [] for new in orders[frame["orderId"]]), frame
