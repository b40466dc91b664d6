"""What is kept of a release is enough to hold the next one against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from order_engine.aws import codec
from order_engine.domain.order import Status
from order_engine.version import VERSION
from order_engine.wire import messages
from tests import release
from tests.release import __main__ as keeping
from tests.unit import asyncapi


def test_samples_have_every_status_every_frame_and_read_back(tmp_path: Path) -> None:
    target = tmp_path / "9.9.9"
    keeping.keep(target)
    kept = {path.stem: json.loads(path.read_text()) for path in target.glob("*.json")}
    orders = [codec.from_item(sample["item"]) for sample in kept["orders"]]
    assert {order.status for order in orders} == set(Status)
    assert {order.request.type for order in orders} == {"market", "limit"}
    assert 20 < len(orders) < 100
    assert {frame["type"] for frame in kept["frames"]} == set(asyncapi.SERVER)
    assert [messages.decode(body) for body in kept["messages"]]
    assert set(kept["forms"]) == {"order", "message", "frame"}
    with pytest.raises(FileExistsError):
        keeping.keep(target)


@pytest.mark.parametrize("version", release.versions())
def test_the_source_of_a_release_is_small_and_is_that_release(version: str, tmp_path: Path) -> None:
    assert release.archive(version).stat().st_size <= release.MOST_BYTES
    source = release.unpack(version, tmp_path)
    assert {path.name for path in source.iterdir()} == {part.partition("/")[0] for part in release.PARTS}
    functions, engine = release.import_roots(source)
    assert (functions / "process" / "handler.py").exists()
    assert (engine / "order_engine" / "aws" / "codec.py").exists()


def test_a_tree_that_is_not_the_release_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert keeping.main([]) == 2
    assert keeping.main(["0.0.7"]) == 1
    assert f"version.py says {VERSION}" in capsys.readouterr().err
