"""The stream's document, to hold frames against it: ``python -m tests.unit.asyncapi --write`` commits it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from submit import stream_document

PATH = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
# By the frame's type.
SERVER = {"snapshot": "Snapshot", "event": "EventFrame", "subscribed": "Subscribed", "pong": "Pong", "error": "Error"}


class _Dumper(yaml.SafeDumper):
    """Text of several lines as such, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def text() -> str:
    """The document as it is to be committed."""
    made: str = yaml.dump(
        stream_document.document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, indent=2
    )
    return made


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return found


@cache
def validator(schema: str) -> jsonschema.Draft7Validator:
    """Of a schema, with no further fields: clients ignore what they do not know, and the engine makes none of it."""
    components = document()["components"]
    closed = {
        name: own | ({"additionalProperties": False} if "properties" in own else {})
        for name, own in components["schemas"].items()
    }
    whole = document() | {"components": components | {"schemas": closed}}
    registry = Registry().with_resource("urn:stream", DRAFT7.create_resource(whole))
    reference = {"$ref": f"urn:stream#/components/schemas/{schema}"}
    return jsonschema.Draft7Validator(reference, registry=registry)


def check(frame: Any) -> None:
    """Hold a frame of the server against the document.

    Raises:
        jsonschema.ValidationError, KeyError: it is not as the document says.
    """
    validator(SERVER[frame["type"]]).validate(frame)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PATH.write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
