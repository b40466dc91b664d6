"""The types of what crosses the edges: the views fill in exactly these fields, and the documents have them all."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import TypeAdapter

from order_engine.wire import schema, views
from tests.unit.asyncapi import document
from tests.unit.test_cli_asyncapi import every_life

FRAMES = {
    "EventFrame": schema.EventFrame,
    "Event": schema.EventView,
    "Snapshot": schema.SnapshotFrame,
    "Subscribed": schema.SubscribedFrame,
    "Pong": schema.PongFrame,
    "Error": schema.ErrorFrame,
    "Candidate": schema.CandidateView,
    "Leg": schema.LegView,
    "LeftOut": schema.LeftOutView,
    "Failure": schema.FailureView,
}


def closed(node: Any) -> Any:
    """A JSON schema that lets no further field pass."""
    if isinstance(node, dict):
        node = {name: closed(own) for name, own in node.items()}
        return node | {"additionalProperties": False} if "properties" in node else node
    return [closed(own) for own in node] if isinstance(node, list) else node


def check(view: Any, kind: Any) -> None:
    jsonschema.validate(json.loads(json.dumps(view)), closed(TypeAdapter(kind).json_schema()))


def test_orders_and_events_have_the_fields_of_their_types_and_no_others() -> None:
    for order in every_life():
        check(views.order_view(order), schema.OrderView)
        check(views.summary_view(order), schema.OrderSummaryView)
        for event in order.events:
            check(views.event_view(order.request, event), schema.EventView)
        for frame in views.snapshot_frames(order, 0):
            content = json.loads(frame)
            content.pop("schema")
            check(content, schema.SnapshotFrame)


def test_the_check_notices_a_field_that_is_missing_or_too_many() -> None:
    view = dict(views.order_view(every_life()[0]))
    with pytest.raises(jsonschema.ValidationError):
        check(view | {"surprise": 1}, schema.OrderView)
    del view["txHash"]
    with pytest.raises(jsonschema.ValidationError):
        check(view, schema.OrderView)


@pytest.mark.parametrize("name", FRAMES)
def test_the_streams_document_has_the_fields_of_the_types(name: str) -> None:
    described = document()["components"]["schemas"][name]
    fields = TypeAdapter(FRAMES[name]).json_schema()
    assert set(described["properties"]) - {"schema"} == set(fields["properties"])
    assert set(described["required"]) == set(fields["required"])
