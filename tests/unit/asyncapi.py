"""The stream's document, to hold frames against it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

PATH = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
# By the frame's type.
SERVER = {"snapshot": "Snapshot", "event": "EventFrame", "subscribed": "Subscribed", "pong": "Pong", "error": "Error"}


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return found


@cache
def validator(schema: str) -> jsonschema.Draft7Validator:
    registry = Registry().with_resource("urn:stream", DRAFT7.create_resource(document()))
    reference = {"$ref": f"urn:stream#/components/schemas/{schema}"}
    return jsonschema.Draft7Validator(reference, registry=registry)


def check(frame: Any) -> None:
    """Hold a frame of the server against the document.

    Raises:
        jsonschema.ValidationError, KeyError: it is not as the document says.
    """
    validator(SERVER[frame["type"]]).validate(frame)
