"""What a newer release has written is neither guessed at nor lost."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cli import stream
from cli.errors import ApiError
from order_engine.aws import codec
from order_engine.domain import lifecycle
from order_engine.domain.errors import TooNew
from order_engine.domain.order import Lease, Order, OrderRef
from order_engine.wire import forms, messages, views
from tests.support.orders import MARKET, T0

ORDER = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
ABOVE = forms.ORDER.reads + 1


def item_of(order: Order, form: object) -> dict[str, Any]:
    item = codec.to_item(order)
    del item[forms.SCHEMA]
    return item if form is None else {**item, forms.SCHEMA: {"N": str(form)}}


def test_what_is_written_says_its_form() -> None:
    assert codec.to_item(ORDER)[forms.SCHEMA] == {"N": str(forms.ORDER.writes)}
    assert json.loads(messages.encode(ORDER.ref))[forms.SCHEMA] == forms.MESSAGE.writes
    frames = [*views.snapshot_frames(ORDER, 0), views.event_frame(ORDER, ORDER.events[0]), views.error_frame("a", "b")]
    for frame in [*frames, views.pong_frame(T0), views.subscribed_frame(None)]:
        assert json.loads(frame)[forms.SCHEMA] == forms.FRAME.writes


@pytest.mark.parametrize("form", [forms.ORDER, forms.MESSAGE, forms.FRAME], ids=lambda form: form.name)
def test_a_release_reads_what_it_writes(form: forms.Form) -> None:
    assert 1 <= form.writes <= form.reads


@pytest.mark.parametrize("said", [0, -1, True, 1.0, "1", [], {}])
def test_a_form_that_is_no_number_is_no_form(said: object) -> None:
    with pytest.raises(ValueError, match="no number"):
        forms.ORDER.check(said)


@pytest.mark.parametrize("form", [None, *range(1, forms.ORDER.reads + 1)])
def test_an_item_of_a_form_that_is_known_is_read(form: int | None) -> None:
    assert codec.from_item(item_of(ORDER, form)) == ORDER
    assert codec.from_item(item_of(ORDER, form)).form == (form or 1)


def test_a_newer_item_is_not_read_whatever_else_is_in_it() -> None:
    with pytest.raises(TooNew) as refused:
        codec.from_item(item_of(ORDER, ABOVE))
    assert refused.value.code == "newer_release"
    with pytest.raises(TooNew):
        codec.from_item({forms.SCHEMA: {"N": str(ABOVE)}, "events": {"M": {}}})


@pytest.mark.parametrize("form", ["0", "-2", "x", "1.5"])
def test_an_item_whose_form_is_no_number_is_corrupt(form: str) -> None:
    with pytest.raises(codec.Corrupt):
        codec.from_item(item_of(ORDER, form))


def test_a_write_raises_the_form_of_an_older_item_and_lowers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release may read the form 3 and write 2: what it adds makes a newer item no older."""
    claimed = lifecycle.claim(ORDER, Lease("me", T0 + 20_000), T0)
    monkeypatch.setattr(forms, "ORDER", forms.Form("order", writes=2, reads=3))
    for stored, written in ((1, "2"), (2, None), (3, None)):
        old = codec.from_item(item_of(ORDER, stored))
        update = codec.update_of(old, dataclasses.replace(claimed, form=old.form))
        assert ("#schema = :schema" in update["UpdateExpression"]) is (written is not None)
        assert update["ExpressionAttributeValues"].get(":schema") == (written and {"N": written})
        assert codec.to_item(old)[forms.SCHEMA] == {"N": str(max(stored, 2))}


def test_a_newer_message_is_not_taken_for_an_unreadable_one() -> None:
    with pytest.raises(TooNew):
        messages.decode(json.dumps({"orders": ["another form"], forms.SCHEMA: forms.MESSAGE.reads + 1}))
    for form in ("2", True, 0, 1.5):
        with pytest.raises(messages.Unreadable):
            messages.decode(json.dumps({"userId": "u", "orderId": "o", forms.SCHEMA: form}))


def test_a_client_says_that_it_is_too_old_for_a_newer_frame() -> None:
    frame = {"type": "event", forms.SCHEMA: forms.FRAME.reads + 1}
    with pytest.raises(ApiError) as refused:
        stream._parse(json.dumps(frame))
    assert (refused.value.code, refused.value.passing) == ("program_too_old", False)
    assert stream._parse(json.dumps({"type": "pong", forms.SCHEMA: 1}))["type"] == "pong"
