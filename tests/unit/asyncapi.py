"""The stream's document, to hold frames against it: ``python -m tests.unit.asyncapi --write`` commits it."""

from __future__ import annotations

import sys
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from order_engine.domain import lifecycle
from order_engine.domain.order import Failure, Fill, Lease, Order, OrderRef, OrderRequest, Routed, SignedTransaction
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg
from order_engine.domain.tokens import SOL, USDC
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


REQUEST = OrderRequest("limit", SOL, USDC, 1_500_000_000, 50, Decimal(140), 10_000)


FAILURE = Failure("no_route", "No venue gave a quote.")


def _routed(left_out: tuple[LeftOut, ...] = (), over_other: Decimal | None = Decimal("1.25")) -> Routed:
    leg = Leg("raydium", "pool", SOL.mint, USDC.mint, 1_500_000_000, 219_574_486)
    chosen = Candidate("raydium", "single", (leg,), 219_574_486, 219_570_000, Decimal("4.20"))
    dear = Candidate("meteora", "path", (leg, leg), 5, -4_486, Decimal(0))
    return Routed(
        Decision(chosen, (chosen, dear), left_out, "It gives most.", Decimal(0), over_other, 5000), 218_478_799
    )


def every_life() -> list[Order]:
    """Orders that together have been through every status and every kind of detail."""
    lease = Lease("worker", 99)
    signed = SignedTransaction("5" * 88, "AA==", 7)
    resting = lifecycle.place(OrderRef("u", "o"), REQUEST, "", 1)
    routing = lifecycle.claim(lifecycle.fire(resting, 2), lease, 3)
    left_out = (LeftOut("meteora", "late"),)
    building = lifecycle.route(routing, _routed(left_out, None), 4)
    submitted = lifecycle.submit(building, signed, 5)
    again = lifecycle.claim(lifecycle.retry(submitted, FAILURE, 9, 6), lease, 10)
    confirmed = lifecycle.confirm(
        lifecycle.submit(lifecycle.route(again, _routed(), 11), signed, 12),
        Fill("5" * 88, 219_565_382, 331_804_217),
        13,
    )
    return [
        confirmed,
        lifecycle.fail(again, FAILURE, 11),
        lifecycle.rest(routing, FAILURE, 9, 6),
        lifecycle.cancel(resting, 2),
        lifecycle.expire(resting, 2),
    ]
