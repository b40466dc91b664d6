"""What an update of tables may not ask of DynamoDB."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.update import tables_that_cannot_be_updated


def template(*indexes: str, key: str = "pk", names: tuple[str, ...] = ("Orders",)) -> dict[str, Any]:
    listed = [{"IndexName": name, "KeySchema": [name], "Projection": {}} for name in indexes]
    table = {"KeySchema": [key], **({"GlobalSecondaryIndexes": listed} if listed else {})}
    return {"Resources": {name: {"Type": "AWS::DynamoDB::Table", "Properties": table} for name in names}}


@pytest.mark.parametrize(
    "new", [template(), template("a"), template("b", "a"), template("a", names=("Orders", "Keys"))]
)
def test_one_more_index_and_another_table_are_no_trouble(new: dict[str, Any]) -> None:
    old = template(*(["a"] if len(new["Resources"]["Orders"]["Properties"].get("GlobalSecondaryIndexes", ())) else []))
    assert tables_that_cannot_be_updated(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (template(), template("a", "b"), "more than one index"),
        (template("a"), template("b"), "more than one index"),
        (template(), template(key="other"), "replaced"),
        (template(), template(names=("Trades",)), "gone"),
    ],
)
def test_what_dynamodb_refuses_is_named(old: dict[str, Any], new: dict[str, Any], says: str) -> None:
    [wrong] = tables_that_cannot_be_updated(old, new)
    assert says in wrong


def test_an_index_that_changes_is_named() -> None:
    new = template("a")
    new["Resources"]["Orders"]["Properties"]["GlobalSecondaryIndexes"][0]["KeySchema"] = ["else"]
    assert tables_that_cannot_be_updated(template("a"), new)
