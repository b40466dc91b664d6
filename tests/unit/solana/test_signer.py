"""Keys in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from order_engine.settings import SettingsError
from order_engine.venues.solana.signer import FileSigner, verify

KEY = Keypair.from_seed(bytes([7]) * 32)


def written(path: Path, content: str) -> Path:
    file = path / "key.json"
    file.write_text(content)
    return file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=1300))
async def test_a_key_file_signs_as_the_public_library_does(tmp_path: Path, seed: bytes, message: bytes) -> None:
    key = Keypair.from_seed(seed)
    signer = FileSigner(written(tmp_path, key.to_json()))
    assert signer.address == str(key.pubkey())
    signature = await signer.sign(message)
    assert signature == bytes(key.sign_message(message))
    assert verify(signer.address, message, signature)
    assert not verify(signer.address, message + b"x", signature)
    assert not verify(signer.address, message, signature[:63])
    assert not verify(str(KEY.pubkey()), message, signature) or seed == bytes([7]) * 32


NUMBERS = json.loads(KEY.to_json())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "{}",
        "[]",
        json.dumps(NUMBERS[:63]),
        json.dumps([*NUMBERS, 1]),
        json.dumps([256, *NUMBERS[1:]]),
        json.dumps([-1, *NUMBERS[1:]]),
        json.dumps([1.5, *NUMBERS[1:]]),
        json.dumps([str(n) for n in NUMBERS]),
        json.dumps([*NUMBERS[:32], *([0] * 32)]),
        "[" * 3000,
        "[" + "1," * 5000 + "1]",
        json.dumps(NUMBERS) + "x",
        "é",
    ],
)
def test_a_file_without_a_key_is_named_and_its_content_is_not(tmp_path: Path, content: str) -> None:
    file = written(tmp_path, content)
    with pytest.raises(SettingsError, match="key") as error:
        FileSigner(file)
    assert str(NUMBERS[0]) + ", " not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no key file"):
        FileSigner(tmp_path / "nothing.json")
    with pytest.raises(SettingsError, match="cannot be read"):
        FileSigner(tmp_path)


@pytest.mark.parametrize("given", [KEY.to_json(), "a" * 5000])
def test_a_key_in_the_place_of_its_files_path_is_not_repeated(given: str) -> None:
    with pytest.raises(SettingsError, match="followed by the path of a key file") as error:
        FileSigner(Path(given))
    assert given[:20] not in str(error.value)


def test_a_signer_shows_its_address_only(tmp_path: Path) -> None:
    signer = FileSigner(written(tmp_path, KEY.to_json()))
    assert repr(signer) == f"FileSigner({KEY.pubkey()})"
