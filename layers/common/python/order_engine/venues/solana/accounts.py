"""Accounts as a node gives them, and the parts that all programs share: tokens, mints, the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import Struct

from order_engine.domain.errors import MalformedAccount
from order_engine.venues.solana.addresses import CLOCK, TOKEN, TOKEN_2022
from order_engine.venues.transfer_fee import TransferFee, decode_transfer_fee

_CLOCK = Struct("<Q8xQ8xq")
_U64 = Struct("<Q")
_TOKEN_ACCOUNT_BYTES, _TOKEN_AMOUNT, _TOKEN_STATE = 165, 64, 108
_FROZEN = b"\x02"
_MINT_BYTES, _MINT_DECIMALS = 82, 44
# Extensions of a Token-2022 mint follow the type of the account at byte 165, each with its type and length.
_EXTENSIONS = 166
_EXTENSION = Struct("<HH")
_TRANSFER_HOOK = 14
_HOOK_PROGRAM = slice(32, 64)


@dataclass(frozen=True, slots=True)
class Account:
    """What lies at an address: who owns it, and its bytes."""

    owner: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ChainClock:
    """The chain's own time: it decides on fees and openings, and belongs to the same moment as the accounts."""

    slot: int
    epoch: int
    unix_time: int


@dataclass(frozen=True, slots=True)
class Mint:
    """A token.

    Attributes:
        program: Token or Token-2022, the owner of the mint and of all its token accounts.
        transfer_fee: what is withheld from each transfer in this epoch.
    """

    decimals: int
    program: str
    transfer_fee: TransferFee


class Missing(Exception):
    """A pool cannot be read without accounts that were not asked for yet."""

    def __init__(self, addresses: frozenset[str]) -> None:
        super().__init__(f"{len(addresses)} accounts are missing.")
        self.addresses = addresses


@dataclass(frozen=True, slots=True)
class View:
    """Accounts of one moment.

    Attributes:
        accounts: an address that was asked for and holds nothing maps to None.
        used: which of them were looked at.
    """

    accounts: Mapping[str, Account | None]
    used: set[str] = field(default_factory=set)

    def demand(self, addresses: Iterable[str]) -> list[Account | None]:
        """What lies at the addresses, None where nothing does.

        Raises:
            Missing: some were not asked for; all of those are named.
        """
        wanted = list(addresses)
        self.used.update(wanted)
        missing = frozenset(address for address in wanted if address not in self.accounts)
        if missing:
            raise Missing(missing)
        return [self.accounts[address] for address in wanted]

    def of(self, address: str, owner: str, what: str) -> bytes:
        """The bytes of an account that must be there.

        Args:
            owner: the program that must own it.
            what: how to name it to a person.

        Raises:
            Missing: it was not asked for.
            MalformedAccount: nothing is there, or it belongs to another program.
        """
        (account,) = self.demand((address,))
        if account is None:
            raise MalformedAccount(f"There is no {what} at {address}.")
        if account.owner != owner:
            raise MalformedAccount(f"The account {address} belongs to {account.owner}; a {what} belongs to {owner}.")
        return account.data

    def clock(self) -> ChainClock:
        """The chain's clock.

        Raises:
            Missing: it was not asked for.
            MalformedAccount: these bytes are no clock.
        """
        (account,) = self.demand((CLOCK,))
        if account is None or len(account.data) < _CLOCK.size:
            raise MalformedAccount("These bytes are not the clock.")
        slot, epoch, unix_time = _CLOCK.unpack_from(account.data)
        return ChainClock(slot, epoch, unix_time)

    def mint(self, address: str) -> Mint:
        """A token's mint.

        Raises:
            Missing: it, or the clock, was not asked for.
            MalformedAccount: it is no mint, or transfers of it call a program of their own, which is not modelled.
        """
        (account,) = self.demand((address,))
        clock = self.clock()
        if account is None or account.owner not in (TOKEN, TOKEN_2022) or len(account.data) < _MINT_BYTES:
            raise MalformedAccount(f"There is no mint at {address}.")
        fee = decode_transfer_fee(account.data, clock.epoch)
        if _has_hook(account.data):
            raise MalformedAccount(f"Transfers of {address} call a hook, which is not supported.")
        return Mint(account.data[_MINT_DECIMALS], account.owner, fee)

    def balance(self, address: str, owner: str) -> int:
        """Base units in a token account.

        Args:
            owner: its token program.

        Raises:
            Missing: it was not asked for.
            MalformedAccount: it is no token account of that program.
        """
        data = self.of(address, owner, "token account")
        if len(data) < _TOKEN_ACCOUNT_BYTES:
            raise MalformedAccount(f"There is no token account at {address}.")
        return int(_U64.unpack_from(data, _TOKEN_AMOUNT)[0])


def held(account: Account | None) -> int:
    """Base units in a token account; 0 where there is none."""
    if account is None or len(account.data) < _TOKEN_ACCOUNT_BYTES:
        return 0
    return int(_U64.unpack_from(account.data, _TOKEN_AMOUNT)[0])


def is_frozen(account: Account | None) -> bool:
    """Whether the issuer has frozen a token account."""
    return account is not None and account.data[_TOKEN_STATE : _TOKEN_STATE + 1] == _FROZEN


def check(data: bytes, discriminator: bytes, length: int, name: str) -> None:
    """Insist on an account's type and length.

    Raises:
        MalformedAccount: it is another account, or too short.
    """
    if data[: len(discriminator)] != discriminator:
        raise MalformedAccount(f"These bytes are not a {name} account.")
    if len(data) < length:
        raise MalformedAccount(f"A {name} account has {length} bytes; these are {len(data)}.")


def _has_hook(mint: bytes) -> bool:
    at = _EXTENSIONS
    while at + _EXTENSION.size <= len(mint):
        kind, length = _EXTENSION.unpack_from(mint, at)
        if kind == 0:
            return False
        at += _EXTENSION.size
        if kind == _TRANSFER_HOOK:
            return any(mint[at : at + length][_HOOK_PROGRAM])
        at += length
    return False
