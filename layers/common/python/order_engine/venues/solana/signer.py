"""Who signs: a wallet's private key, wherever it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from order_engine.domain import base58
from order_engine.settings import SettingsError
from order_engine.venues.solana.addresses import to_bytes

_SEED_BYTES, _KEY_BYTES = 32, 64
# A key file is a few hundred characters; whatever is longer is something else.
_MOST_CHARACTERS = 4096
# Paths of files are not longer, in practice.
_MOST_PATH = 400


class Signer(Protocol):
    """Signs messages for one wallet."""

    @property
    def address(self) -> str:
        """The wallet's address."""

    async def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message, 64 bytes. May raise whatever keeps it from signing."""


class KeySigner:
    """A key as Solana's own command line writes it: a JSON list of the 64 bytes of seed and address."""

    def __init__(self, text: str, named: str) -> None:
        """Read the key.

        Args:
            named: where it was found, for the error.

        Raises:
            SettingsError: it is no key. What it is, is never said.
        """
        self._key = SigningKey(_key(text, named)[:_SEED_BYTES])
        self.address = base58.encode(bytes(self._key.verify_key))

    async def sign(self, message: bytes) -> bytes:
        """Implements ``Signer.sign``."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"


class FileSigner(KeySigner):
    """A key in a file."""

    def __init__(self, path: Path) -> None:
        """Read the key.

        Raises:
            SettingsError: there is no such file, or it holds no key. What is in it is never said.
        """
        super().__init__(_text(path), str(path))


class LateSigner:
    """A key that is read when it is first needed, and not while a function starts.

    Args:
        read: gives the key as ``KeySigner`` takes it; it may block, and raise anything.
    """

    def __init__(self, read: Callable[[], str], named: str) -> None:
        self._read = read
        self._named = named

    @cached_property
    def _signer(self) -> KeySigner:
        return KeySigner(self._read(), self._named)

    @property
    def address(self) -> str:
        """Implements ``Signer.address``.

        Raises:
            SettingsError: what was read is no key.
        """
        return self._signer.address

    async def sign(self, message: bytes) -> bytes:
        """Implements ``Signer.sign``."""
        return await self._signer.sign(message)


class Watcher:
    """Knows a wallet's address and has no key: for whoever asks the chain about swaps and makes none."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def sign(self, message: bytes) -> bytes:
        """Refuses.

        Raises:
            SettingsError: always.
        """
        raise SettingsError("SIGNER is only an address here: nothing can be signed.")


def verify(address: str, message: bytes, signature: bytes) -> bool:
    """Whether a signature of a message is that of a wallet. Nobody should store one that is not."""
    try:
        VerifyKey(to_bytes(address)).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _text(path: Path) -> str:
    if len(str(path)) > _MOST_PATH or "[" in str(path):
        # A key in its file's place must not be repeated.
        raise SettingsError("SIGNER=file: is followed by the path of a key file, not by what it holds.")
    try:
        return path.read_text(encoding="ascii")[: _MOST_CHARACTERS + 1]
    except FileNotFoundError:
        raise SettingsError(f"There is no key file at {path}.") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"The key file at {path} cannot be read ({type(error).__name__}).") from None


def _key(text: str, named: str) -> bytes:
    wrong = SettingsError(
        f"{named} holds no key: a key file is a JSON list of 64 numbers from 0 to 255, as `solana-keygen` writes it."
    )
    try:
        numbers = json.loads(text) if len(text) <= _MOST_CHARACTERS else None
        key = bytes(numbers) if isinstance(numbers, list) else b""
    except (ValueError, TypeError, RecursionError):
        # Not even the cause may repeat what was found.
        raise wrong from None
    if len(key) != _KEY_BYTES:
        raise wrong
    if bytes(SigningKey(key[:_SEED_BYTES]).verify_key) != key[_SEED_BYTES:]:
        raise SettingsError(f"{named} holds no key: its address does not belong to its seed.")
    return key
