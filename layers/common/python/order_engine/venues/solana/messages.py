"""Messages and transactions as bytes, in versions 0 and 1.

Version 0: solana.com/docs/core/transactions (without lookup tables). Version 1: Solana Improvement Document 385: up to
4,096 bytes, and the compute budget in the message itself instead of in instructions. Numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from order_engine.domain import base58
from order_engine.domain.errors import BuildFailed
from order_engine.venues.solana.addresses import COMPUTE_BUDGET, to_bytes

type Version = Literal[0, 1]

SIGNATURE_BYTES = 64
# A whole transaction, signatures included.
MAX_BYTES: dict[Version, int] = {0: 1232, 1: 4096}
MAX_ADDRESSES: dict[Version, int] = {0: 256, 1: 64}
MAX_INSTRUCTIONS: dict[Version, int] = {0: 64, 1: 64}

VERSIONED = 0x80
_MICRO = 10**6
# What a transaction may take of the compute budget, by the runtime's rules.
MAX_UNITS = 1_400_000
# Version 1's mask of the settings that follow: two words of priority fee, one of compute units, and one of the bytes
# that all accounts together may have. Without the last it would be none at all, and no account could be loaded; what
# version 0 has by itself is 64 MiB.
_PRIORITY_FEE, _COMPUTE_UNITS, _LOADED_BYTES = 0b0011, 0b0100, 0b1000
MOST_LOADED_BYTES = 64 * 1024 * 1024
_SET_COMPUTE_UNITS, _SET_UNIT_PRICE = 2, 3


@dataclass(frozen=True, slots=True)
class AccountMeta:
    """An account that an instruction touches, and how."""

    address: str
    signer: bool = False
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Instruction:
    """One call of a program."""

    program: str
    accounts: tuple[AccountMeta, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """What a transaction may compute, and what it offers for being preferred.

    Attributes:
        units: the limit of compute units. One that is exceeded ends the transaction, with its fee paid.
        micro_lamports_per_unit: the priority fee's price for each unit of the limit, used or not.
    """

    units: int
    micro_lamports_per_unit: int = 0

    @property
    def priority_fee(self) -> int:
        """Lamports, rounded up as the runtime does."""
        return -(-self.units * self.micro_lamports_per_unit // _MICRO)


def compile_message(
    version: Version, payer: str, instructions: Sequence[Instruction], blockhash: str, budget: ComputeBudget
) -> bytes:
    """A message, ready to be signed.

    Addresses are sorted as the public libraries do: the payer, then signers before others, writable before read-only,
    and by their bytes among equals. So the same input gives the same bytes, and so the same signature, everywhere.

    Args:
        version: 0, or 1 where 1,232 bytes do not suffice.
        payer: pays the fees and signs first.
        blockhash: base58; the message is valid for 150 blocks after it.
        budget: becomes two instructions in front in version 0, settings of the message in version 1.

    Raises:
        BuildFailed: more addresses or instructions than the version takes.
        MalformedAccount: a text that is no address.
    """
    calls = [*_budget_instructions(budget), *instructions] if version == 0 else list(instructions)
    metas = _merge(payer, calls)
    if len(metas) > MAX_ADDRESSES[version] or len(calls) > MAX_INSTRUCTIONS[version]:
        raise BuildFailed(
            f"The transaction names {len(metas)} addresses in {len(calls)} instructions; a message of version "
            f"{version} takes {MAX_ADDRESSES[version]} and {MAX_INSTRUCTIONS[version]}."
        )
    place = {meta.address: number for number, meta in enumerate(metas)}
    header = bytes(
        (
            sum(meta.signer for meta in metas),
            sum(meta.signer and not meta.writable for meta in metas),
            sum(not meta.signer and not meta.writable for meta in metas),
        )
    )
    addresses = b"".join(to_bytes(meta.address) for meta in metas)
    lifetime = base58.decode(blockhash, 32)
    start = bytes((VERSIONED | version,)) + header
    if version == 0:
        parts = [start, _compact(len(metas)), addresses, lifetime, _compact(len(calls))]
        for call in calls:
            accounts = bytes(place[meta.address] for meta in call.accounts)
            parts += [bytes((place[call.program],)), _compact(len(accounts)), accounts]
            parts += [_compact(len(call.data)), call.data]
        # No lookup tables.
        return b"".join((*parts, _compact(0)))
    mask, settings = _settings(budget)
    parts = [start, mask.to_bytes(4, "little"), lifetime, bytes((len(calls), len(metas))), addresses, settings]
    parts += [bytes((place[call.program], len(call.accounts))) + len(call.data).to_bytes(2, "little") for call in calls]
    for call in calls:
        parts += [bytes(place[meta.address] for meta in call.accounts), call.data]
    return b"".join(parts)


def transaction(message: bytes, signatures: Sequence[bytes]) -> bytes:
    """A message with its signatures: in front of it in version 0, behind it in version 1.

    Raises:
        BuildFailed: more bytes than a transaction of this version may have.
        ValueError: not one signature of 64 bytes for each signer.
    """
    version: Version = 1 if message[0] & ~VERSIONED else 0
    if len(signatures) != message[1] or any(len(signature) != SIGNATURE_BYTES for signature in signatures):
        raise ValueError(f"The message wants {message[1]} signatures of {SIGNATURE_BYTES} bytes.")
    signed = b"".join(signatures)
    raw = _compact(len(signatures)) + signed + message if version == 0 else message + signed
    if len(raw) > MAX_BYTES[version]:
        raise BuildFailed(f"The transaction has {len(raw)} bytes; version {version} takes {MAX_BYTES[version]}.")
    return raw


def fits(message: bytes) -> bool:
    """Whether a message and its signatures fit into one transaction."""
    version: Version = 1 if message[0] & ~VERSIONED else 0
    counted = 0 if version else len(_compact(message[1]))
    return counted + message[1] * SIGNATURE_BYTES + len(message) <= MAX_BYTES[version]


def _merge(payer: str, calls: Sequence[Instruction]) -> list[AccountMeta]:
    """Every address once, with all the rights that some instruction needs, in the order of the message."""
    signers, writable = {payer}, {payer}
    every = {payer}
    for call in calls:
        every.add(call.program)
        for meta in call.accounts:
            every.add(meta.address)
            if meta.signer:
                signers.add(meta.address)
            if meta.writable:
                writable.add(meta.address)
    metas = [AccountMeta(address, address in signers, address in writable) for address in every]
    return sorted(metas, key=lambda m: (m.address != payer, not m.signer, not m.writable, to_bytes(m.address)))


def _budget_instructions(budget: ComputeBudget) -> list[Instruction]:
    units = bytes((_SET_COMPUTE_UNITS,)) + budget.units.to_bytes(4, "little")
    price = bytes((_SET_UNIT_PRICE,)) + budget.micro_lamports_per_unit.to_bytes(8, "little")
    wanted = [units, price] if budget.micro_lamports_per_unit else [units]
    return [Instruction(COMPUTE_BUDGET, (), data) for data in wanted]


def _settings(budget: ComputeBudget) -> tuple[int, bytes]:
    words = budget.units.to_bytes(4, "little") + MOST_LOADED_BYTES.to_bytes(4, "little")
    if not budget.priority_fee:
        return _COMPUTE_UNITS | _LOADED_BYTES, words
    return _PRIORITY_FEE | _COMPUTE_UNITS | _LOADED_BYTES, budget.priority_fee.to_bytes(8, "little") + words


def _compact(number: int) -> bytes:
    """A length of up to 16 bits, seven bits a byte, the lowest first."""
    raw = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        if not number:
            raw.append(low)
            return bytes(raw)
        raw.append(low | 0x80)
