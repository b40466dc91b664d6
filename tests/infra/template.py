"""Reading a template: resources by type and by what they point at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

type Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy, with lists where the template may have single values.

    Attributes:
        leading_keys: patterns of the only partition keys that it is for, where it is for some only.
    """

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    leading_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    content: Mapping[str, Any]
    path: Path

    def of_type(self, kind: str) -> dict[str, Resource]:
        return {name: item for name, item in self.content["Resources"].items() if item["Type"] == kind}

    def one(self, kind: str, **properties: object) -> tuple[str, Resource]:
        """The only resource of a type whose properties have these values; its logical id and its properties."""
        found = [
            (name, item["Properties"])
            for name, item in self.of_type(kind).items()
            if all(item["Properties"].get(key) == value for key, value in properties.items())
        ]
        assert len(found) == 1, f"{kind} with {properties}: {[name for name, _ in found]}"
        return found[0]

    def function(self, handler: str) -> tuple[str, Resource]:
        return self.one("AWS::Lambda::Function", Handler=handler)

    def source_of(self, handler: str) -> Resource:
        """The event source mapping that feeds a function."""
        _, mapping = self.one("AWS::Lambda::EventSourceMapping", FunctionName={"Ref": self.function(handler)[0]})
        return mapping

    def target(self, reference: object) -> tuple[str, Resource]:
        """The resource that a Ref or a GetAtt points at."""
        assert isinstance(reference, dict)
        name = reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0]
        return name, self.content["Resources"][name]["Properties"]

    def queue(self, name: str) -> tuple[str, Resource]:
        """A queue by the beginning of its logical id."""
        found = [
            (key, item["Properties"])
            for key, item in self.of_type("AWS::SQS::Queue").items()
            if key.startswith(f"Queues{name}")
        ]
        assert len(found) == 1
        return found[0]

    def statements(self, handler: str) -> Iterator[Statement]:
        """What a function's role allows. Resources are written as text: logical ids in angle brackets."""
        role, _ = self.target(self.function(handler)[1]["Role"])
        for item in self.of_type("AWS::IAM::Policy").values():
            if {"Ref": role} in item["Properties"]["Roles"]:
                for statement in item["Properties"]["PolicyDocument"]["Statement"]:
                    yield Statement(
                        statement["Effect"],
                        tuple(_listed(statement["Action"])),
                        tuple(map(text, _listed(statement["Resource"]))),
                        tuple(_leading_keys(statement.get("Condition", {}))),
                    )


def _leading_keys(condition: Mapping[str, Any]) -> Iterator[str]:
    """The one condition that is used."""
    for operator, values in condition.items():
        assert (operator, set(values)) == ("ForAllValues:StringLike", {"dynamodb:LeadingKeys"})
        yield from _listed(values["dynamodb:LeadingKeys"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """A value with its references written in angle brackets."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
    raise AssertionError(f"cannot read {value}")
