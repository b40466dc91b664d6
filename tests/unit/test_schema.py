"""The types of what crosses the edges: the views fill in exactly these fields, and the documents have them all."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import TypeAdapter

from order_engine.wire import schema, views
from tests.unit import asyncapi
from tests.unit.asyncapi import every_life


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


def test_the_streams_document_is_made_of_the_types() -> None:
    assert asyncapi.PATH.read_text(encoding="utf-8") == asyncapi.text(), "python -m tests.unit.asyncapi --write"
    schemas = asyncapi.document()["components"]["schemas"]
    for kind in schema.FRAMES:
        name = asyncapi.SERVER[TypeAdapter(kind).json_schema()["properties"]["type"]["const"]]
        assert set(schemas[name]["properties"]) == {*kind.__annotations__, "schema"}


def test_what_a_step_always_adds_is_what_the_views_add() -> None:
    for order in every_life():
        for event in order.events:
            added = set(views.detail_view(order.request, event))
            assert added >= set(schema.STEPS_ADD.get(event.status, ())), event.status
