"""Saving programs from a node."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from local.solana.genesis import PROGRAM_FILES, ProgramsMissing, find_programs
from local.solana.programs import LOADER, main
from order_engine.venues.solana.addresses import to_bytes
from order_engine.venues.solana.node import MAX_ACCOUNTS
from tests.unit.solana.nodes import Answer, Said, raw, result, told_node

ELF = b"\x7fELF and so on\x00\x01"


def chain(*, owner: str = LOADER, kind: int = 2, code: bytes = ELF) -> Answer:
    """A node on which every program is there, with its code at another address."""

    def answer(asked: dict[str, Any]) -> Said:
        (name,) = asked["params"][0]
        assert len(asked["params"][0]) <= MAX_ACCOUNTS
        if name in PROGRAM_FILES.values():
            data = kind.to_bytes(4, "little") + to_bytes(MOVED[name])
        else:
            data = (3).to_bytes(4, "little") + bytes(41) + code + name.encode() + bytes(100)
        account = {"data": [base64.b64encode(data).decode(), "base64"], "owner": owner}
        return result({"context": {"slot": 1}, "value": [account]})(asked)

    return answer


MOVED = {name: name.replace(name[3], "z", 1) for name in PROGRAM_FILES.values()}


def test_every_program_is_saved_once_and_then_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "programs"
    with told_node(chain()) as node:
        assert main(["--rpc-url", node.url, "--out", str(folder)]) == 0
        assert len(node.asked) == 2 * len(PROGRAM_FILES)
        assert main(["--rpc-url", node.url, "--out", str(folder)]) == 0
        assert len(node.asked) == 2 * len(PROGRAM_FILES)
    assert f"export SOLANA_PROGRAMS={folder}" in capsys.readouterr().out
    found = find_programs(str(folder))
    for address, file in found.items():
        assert file.read_bytes() == ELF + MOVED[address].encode() + bytes(100)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (chain(owner="1" * 32), "belongs to"),
        (chain(kind=1), "is no program"),
        (chain(code=b"#!/bin/sh"), "holds no code"),
        (result({"context": {"slot": 1}, "value": [None]}), "There is no program at"),
        (raw(403, b"<html>Forbidden</html>"), "gives no access (HTTP 403)"),
    ],
)
def test_whatever_is_wrong_is_one_sentence_and_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, why: str
) -> None:
    with told_node(answer) as node:
        assert main(["--rpc-url", node.url, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert why in said
    assert "very-secret" not in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProgramsMissing, match="lacks"):
        find_programs(str(tmp_path))


def test_without_a_folder_it_is_said_what_to_do() -> None:
    with pytest.raises(ProgramsMissing, match="make programs RPC_URL"):
        find_programs("")
