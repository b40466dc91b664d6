"""The stream's AsyncAPI document: the frames' schemas are those of ``wire.schema``, as the engine fills them in."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from order_engine.domain.order import Status
from order_engine.domain.refusals import REFUSALS
from order_engine.version import VERSION
from order_engine.wire import forms, schema
from submit import stream_description as said

type Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_FRAMES = schema.EventFrame | schema.SnapshotFrame | schema.SubscribedFrame | schema.PongFrame | schema.ErrorFrame


def _name(model: str) -> str:
    """What a type is called in the document: EventView is an Event there, EventFrame stays what it is."""
    return model if model == "EventFrame" else model.removesuffix("View").removesuffix("Frame")


def _renamed(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: _SCHEMAS + _name(own.rpartition("/")[2]) if name == "$ref" else _renamed(own)
            for name, own in node.items()
            if name != "title" or not isinstance(own, str)
        }
    return [_renamed(own) for own in node] if isinstance(node, list) else node


def _frames() -> Json:
    """The schemas of what the engine sends, by their names in the document."""
    made = TypeAdapter(_FRAMES).json_schema(ref_template=_SCHEMAS + "{model}")
    schemas = {_name(name): _renamed(own) for name, own in made["$defs"].items()}
    adds = [
        {"if": {"properties": {"status": {"const": status.value}}}, "then": {"required": list(fields)}}
        for status, fields in schema.STEPS_ADD.items()
    ]
    waits = {"properties": {"status": {"enum": [Status.PENDING.value, Status.OPEN.value]}}, "required": ["error"]}
    for name in ("Event", "EventFrame"):
        schemas[name]["allOf"] = [*adds, {"if": {"required": ["retryAt"]}, "then": waits}]
    for kind in (*schema.FRAMES,):
        properties = schemas[_name(kind.__name__)]["properties"]
        properties[forms.SCHEMA] = {"$ref": f"{_SCHEMAS}Form"}
    codes = schemas["Error"]["properties"]["code"]
    codes["enum"] = [code for code, known in REFUSALS.items() if known.socket]
    return schemas


@cache
def document() -> Json:
    """The whole document, for a release."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Order execution engine, stream of statuses",
            "version": VERSION,
            "license": {"name": "MIT"},
            "description": said.DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": said.SERVERS,
        "channels": said.CHANNELS,
        "operations": said.OPERATIONS,
        "components": {
            "securitySchemes": said.SECURITY,
            "messages": said.MESSAGES,
            "schemas": {**said.REQUESTS, **_frames(), "Form": said.FORM},
        },
    }
