"""The Postman collection, run by newman against the local stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.postman import ROOT, collect


@pytest.mark.slow
def test_every_request_of_the_collection_is_answered_as_it_says(tmp_path: Path) -> None:
    report = tmp_path / "newman.json"

    ended = collect(["--reporters", "cli,json", "--reporter-json-export", str(report)])

    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    stats = json.loads(report.read_text(encoding="utf-8"))["run"]["stats"]
    assert stats["assertions"]["failed"] == 0
    assert stats["assertions"]["total"] > 180


def test_each_request_asserts_a_status_and_what_it_means() -> None:
    collection = json.loads((ROOT / "postman" / "order-engine.postman_collection.json").read_text(encoding="utf-8"))
    for folder in collection["item"]:
        for request in folder["item"]:
            (asserted,) = (event for event in request["event"] if event["listen"] == "test")
            tests = "\n".join(asserted["script"]["exec"])
            assert "pm.response.to.have.status(" in tests, request["name"]
            assert tests.count("pm.test(") >= 2, request["name"]
