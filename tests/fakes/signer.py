"""A wallet of the tests."""

from __future__ import annotations

from nacl.signing import SigningKey

from order_engine.domain import base58


class SeedSigner:
    """``Signer`` with a key of the tests."""

    def __init__(self, seed: int = 7) -> None:
        self._key = SigningKey(bytes([seed]) * 32)
        self.address = base58.encode(bytes(self._key.verify_key))
        self.signed = 0

    async def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self._key.sign(message).signature
