"""docs/asyncapi.yaml: valid AsyncAPI, and true of the frames that the engine makes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from order_engine.domain.order import (
    Status,
)
from order_engine.wire import views
from tests.unit.asyncapi import check, document, every_life, validator

SCHEMA = Path(__file__).resolve().parents[2] / "tools/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def test_it_is_valid_asyncapi() -> None:
    if not SCHEMA.exists():
        if os.environ.get("CI"):
            pytest.fail("AsyncAPI's schema is missing: npm ci --prefix tools")
        pytest.skip("AsyncAPI's schema comes from npm: npm ci --prefix tools")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(document())
    broken = document() | {"channels": {"statuses": {"address": 7}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(broken)


def test_its_references_lead_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    for reference in references(document()):
        node: Any = document()
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_its_examples_are_as_its_schemas_say() -> None:
    for message in document()["components"]["messages"].values():
        schema = message["payload"]["$ref"].rsplit("/", 1)[1]
        assert message["examples"]
        for example in message["examples"]:
            validator(schema).validate(example["payload"])


def test_every_frame_that_the_engine_makes_is_as_it_says() -> None:
    seen = set()
    for order in every_life():
        for event in order.events:
            seen.add(event.status)
            check(json.loads(views.event_frame(order, event)))
        for after in range(order.seq + 1):
            for frame in views.snapshot_frames(order, after):
                check(json.loads(frame))
    assert seen == set(Status)
    check(json.loads(views.pong_frame(1)))
    check(json.loads(views.subscribed_frame(None)))
    check(json.loads(views.error_frame("forbidden", "No.")))


@pytest.mark.parametrize(
    "change",
    [
        {"amountOut": 219.5},
        {"amountOut": "2.1e2"},
        {"at": "2026-11-21T02:36:31Z"},
        {"status": "done"},
        {"seq": 0},
        {"surprise": 1},
        {"txHash": None},
    ],
)
def test_a_frame_that_differs_is_noticed(change: dict[str, Any]) -> None:
    order = every_life()[0]
    frame = json.loads(views.event_frame(order, order.events[-1]))
    check(frame)
    with pytest.raises(jsonschema.ValidationError):
        check(frame | change)
    with pytest.raises(jsonschema.ValidationError):
        check({name: value for name, value in frame.items() if name != "executedPrice"})


def test_its_statuses_and_limits_are_the_engines() -> None:
    assert document()["components"]["schemas"]["Status"]["enum"] == [status.value for status in Status]
