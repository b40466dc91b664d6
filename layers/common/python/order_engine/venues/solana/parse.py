"""What a signed transaction says: the reverse of ``messages``, as far as the engine reads its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.domain import base58
from order_engine.venues.solana.addresses import ADDRESS_BYTES, ASSOCIATED_TOKEN, MEMO, from_bytes
from order_engine.venues.solana.messages import SIGNATURE_BYTES, VERSIONED, Version

# Of version 1's mask: how many of its bits stand for four bytes of settings each.
_SETTING_BYTES = 4
_MINT_OF_NEW_ACCOUNT = 3


@dataclass(frozen=True, slots=True)
class Call:
    """An instruction: which program, with which accounts, in order."""

    program: str
    accounts: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction.

    Attributes:
        signature: the first one, by which the chain knows it.
        message: the bytes that were signed.
        blockhash: the block hash that it names, by which it expires.
    """

    version: Version
    signature: str
    message: bytes
    blockhash: str
    addresses: tuple[str, ...]
    calls: tuple[Call, ...]

    @property
    def payer(self) -> str:
        """Who pays its fees, and signs first."""
        return self.addresses[0]

    @property
    def bought(self) -> str:
        """The mint that the order buys: ``build.instructions`` puts its account first.

        Raises:
            ValueError: it makes sure of no account.
        """
        for call in self.calls:
            if call.program == ASSOCIATED_TOKEN:
                return call.accounts[_MINT_OF_NEW_ACCOUNT]
        raise ValueError("This transaction buys nothing.")

    @property
    def note(self) -> str:
        """What it says of itself; empty where it says nothing."""
        return next((call.data.decode(errors="replace") for call in self.calls if call.program == MEMO), "")


def parse(raw: bytes) -> Signed:
    """Read a transaction.

    Raises:
        ValueError: these bytes are no transaction of versions 0 or 1, or one with lookup tables.
    """
    try:
        return _version_1(raw) if raw[:1] == bytes((VERSIONED | 1,)) else _version_0(raw)
    except IndexError as error:
        raise ValueError("The transaction is cut off.") from error


def _version_0(raw: bytes) -> Signed:
    reader = _Reader(raw)
    count = reader.compact()
    signatures = reader.take(count * SIGNATURE_BYTES)
    message = raw[reader.at :]
    if reader.byte() != VERSIONED:
        raise ValueError("These bytes are no transaction of version 0 or 1.")
    reader.take(3)
    addresses = reader.addresses(reader.compact())
    blockhash = from_bytes(reader.take(ADDRESS_BYTES))
    calls = []
    for _ in range(reader.compact()):
        program = addresses[reader.byte()]
        accounts = tuple(addresses[place] for place in reader.take(reader.compact()))
        calls.append(Call(program, accounts, reader.take(reader.compact())))
    if reader.compact() != 0:
        raise ValueError("Lookup tables are not read.")
    reader.end()
    return Signed(0, base58.encode(signatures[:SIGNATURE_BYTES]), message, blockhash, addresses, tuple(calls))


def _version_1(raw: bytes) -> Signed:
    reader = _Reader(raw)
    reader.byte()
    count = reader.take(3)[0]
    mask = int.from_bytes(reader.take(4), "little")
    blockhash = from_bytes(reader.take(ADDRESS_BYTES))
    calls, names = reader.byte(), reader.byte()
    addresses = reader.addresses(names)
    reader.take(mask.bit_count() * _SETTING_BYTES)
    heads = [(addresses[reader.byte()], reader.byte(), int.from_bytes(reader.take(2), "little")) for _ in range(calls)]
    found = tuple(
        Call(program, tuple(addresses[place] for place in reader.take(accounts)), reader.take(size))
        for program, accounts, size in heads
    )
    message = raw[: reader.at]
    signatures = reader.take(count * SIGNATURE_BYTES)
    reader.end()
    return Signed(1, base58.encode(signatures[:SIGNATURE_BYTES]), message, blockhash, addresses, found)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        part = self._raw[self.at : self.at + count]
        if len(part) != count:
            raise IndexError
        self.at += count
        return part

    def compact(self) -> int:
        """A length of up to 16 bits, seven bits a byte, the lowest first."""
        number = 0
        for place in range(3):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if not byte & 0x80:
                return number
        raise ValueError("A length has three bytes at most.")

    def addresses(self, count: int) -> tuple[str, ...]:
        return tuple(from_bytes(self.take(ADDRESS_BYTES)) for _ in range(count))

    def end(self) -> None:
        if self.at != len(self._raw):
            raise ValueError("The transaction goes on after its end.")


def programs(calls: Sequence[Call]) -> tuple[str, ...]:
    """The program of each call."""
    return tuple(call.program for call in calls)
