"""What the engine asks of a Solana node, in types.

Source: solana.com/docs/rpc. Everything is read at the commitment ``confirmed``; a status at ``processed`` counts as
none. Where two answers are compared, each carries the slot at which it was given.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from order_engine.engine.ports import Height
from order_engine.venues.solana.accounts import Account
from order_engine.venues.solana.ledger import Ledger, read_ledger
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable

COMMITMENT = "confirmed"
# How many accounts one call of getMultipleAccounts takes.
MAX_ACCOUNTS = 100
# How many signatures one call of getSignatureStatuses takes, and one of getSignaturesForAddress tells.
MAX_STATUSES, MAX_SIGNATURES = 256, 1000
_LANDED = ("confirmed", "finalized")
_VERSIONS = 1
_NOTE = re.compile(rb"\[(\d{1,5})\] ")


class Caller(Protocol):
    """Calls a method of a node; see ``rpc.JsonRpc``."""

    async def call(self, method: str, *params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Blockhash:
    """What makes a message new.

    Attributes:
        last_valid_block_height: after this block height no transaction that names it can land.
    """

    value: str
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class Landed:
    """A signature that the chain knows. ``error`` is the program's or the runtime's, as the node writes it."""

    slot: int
    error: Any


@dataclass(frozen=True, slots=True)
class Known:
    """What a node knows of a signature.

    Attributes:
        slot: how far the node was when it answered.
        landed: None where it does not know the signature.
    """

    slot: int
    landed: Landed | None


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a transaction would do now.

    Attributes:
        slot: at which it was tried.
        error: None if it would succeed.
        accounts: of the addresses asked for, after it; None where nothing is.
        inner: the instructions that programs called, by the message's instruction, as the node writes them.
        blockhash: the newest one, with which it was tried; None where the node does not tell (before Agave 2.0).
    """

    slot: int
    error: Any
    logs: tuple[str, ...]
    units: int
    accounts: Mapping[str, Account | None]
    inner: tuple[Any, ...] = ()
    blockhash: Blockhash | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """A transaction in the list of an address.

    Attributes:
        unix_time: of its block, seconds; None where the node does not know.
        notes: of the Memo program.
    """

    signature: str
    slot: int
    failed: bool
    unix_time: int | None
    notes: tuple[str, ...]


class Node:
    """A chain, as its nodes tell it.

    Every method may raise ``NodeUnavailable`` (no answer, or none that can be read) and ``NodeRefused``.

    Args:
        rpc: whom to ask.
        sender: whom to give transactions; ``rpc`` where None.
        apart: tells each of the nodes behind ``rpc`` by itself; there is one where None.
    """

    def __init__(
        self,
        rpc: Caller,
        sender: Caller | None = None,
        apart: Callable[[], Awaitable[Sequence[Caller]]] | None = None,
    ) -> None:
        self._rpc = rpc
        self._sender = sender or rpc
        self._apart = apart

    async def apart(self) -> list[Node]:
        """Each of the configured nodes by itself."""
        return [self] if self._apart is None else [Node(each) for each in await self._apart()]

    async def accounts(self, addresses: Sequence[str]) -> tuple[int, dict[str, Account | None]]:
        """What lies at the addresses, and the least slot at which that was read.

        Up to 100 are read in one call and so belong to one moment.
        """
        wanted = list(dict.fromkeys(addresses))
        parts = [wanted[start : start + MAX_ACCOUNTS] for start in range(0, len(wanted), MAX_ACCOUNTS)]
        answers = await asyncio.gather(*(self._accounts(part) for part in parts))
        found: dict[str, Account | None] = {}
        for part, (_, accounts) in zip(parts, answers, strict=True):
            found.update(zip(part, accounts, strict=True))
        return min((slot for slot, _ in answers), default=0), found

    async def _accounts(self, addresses: Sequence[str]) -> tuple[int, list[Account | None]]:
        options = {"encoding": "base64", "commitment": COMMITMENT}
        said = await self._rpc.call("getMultipleAccounts", list(addresses), options)
        with _Reading("getMultipleAccounts"):
            accounts = [_account(given) for given in said["value"]]
            if len(accounts) != len(addresses):
                raise ValueError("another number of accounts")
            return _slot(said), accounts

    async def executable(self, addresses: Sequence[str]) -> dict[str, bool]:
        """Whether a program lies at each of up to 100 addresses."""
        nothing = {"offset": 0, "length": 0}
        options = {"encoding": "base64", "commitment": COMMITMENT, "dataSlice": nothing}
        said = await self._rpc.call("getMultipleAccounts", list(addresses), options)
        with _Reading("getMultipleAccounts"):
            found = [each is not None and each["executable"] is True for each in _list(said["value"])]
            return dict(zip(addresses, found, strict=True))

    async def lamports(self, address: str) -> int:
        """What an address holds of SOL, wrapped SOL not counted."""
        said = await self._rpc.call("getBalance", address, {"commitment": COMMITMENT})
        with _Reading("getBalance"):
            return _int(said["value"])

    async def blockhash(self) -> Blockhash:
        """The newest block hash at ``confirmed``."""
        said = await self._rpc.call("getLatestBlockhash", {"commitment": COMMITMENT})
        with _Reading("getLatestBlockhash"):
            return Blockhash(str(said["value"]["blockhash"]), _int(said["value"]["lastValidBlockHeight"]))

    async def height(self) -> Height:
        """Block height and slot, of one moment of one node."""
        said = await self._rpc.call("getEpochInfo", {"commitment": COMMITMENT})
        with _Reading("getEpochInfo"):
            return Height(_int(said["blockHeight"]), _int(said["absoluteSlot"]))

    async def knows_blockhash(self, blockhash: str) -> tuple[int, bool]:
        """A slot, and whether transactions that name the block hash may still land after it."""
        said = await self._rpc.call("isBlockhashValid", blockhash, {"commitment": COMMITMENT})
        with _Reading("isBlockhashValid"):
            if not isinstance(said["value"], bool):
                raise TypeError("neither yes nor no")
            return _slot(said), said["value"]

    async def first_slot(self) -> int:
        """The oldest slot that the node has in its own ledger."""
        said = await self._rpc.call("minimumLedgerSlot")
        with _Reading("minimumLedgerSlot"):
            return _int(said)

    async def blocks(self, first: int, most: int) -> list[int]:
        """The slots of the blocks that the node has, from a slot on."""
        said = await self._rpc.call("getBlocksWithLimit", first, most, {"commitment": COMMITMENT})
        with _Reading("getBlocksWithLimit"):
            return [_int(each) for each in _list(said)]

    async def height_of(self, slot: int) -> int:
        """The block height of a slot's block."""
        options = {
            "commitment": COMMITMENT,
            "transactionDetails": "none",
            "rewards": False,
            "maxSupportedTransactionVersion": _VERSIONS,
        }
        said = await self._rpc.call("getBlock", slot, options)
        with _Reading("getBlock"):
            return _int(said["blockHeight"])

    async def status(self, signature: str, *, search_history: bool) -> Known:
        """What is known of one signature; see ``statuses``."""
        return (await self.statuses([signature], search_history=search_history))[signature]

    async def statuses(self, signatures: Sequence[str], *, search_history: bool) -> dict[str, Known]:
        """What is known of up to 256 signatures; what is only ``processed`` may still vanish and counts as unknown.

        The slot of such an answer is before the one that it is in: of that slot the node knows less than others may.
        """
        options = {"searchTransactionHistory": search_history}
        said = await self._rpc.call("getSignatureStatuses", list(signatures), options)
        with _Reading("getSignatureStatuses"):
            slot = _slot(said)
            return {name: _known(slot, given) for name, given in zip(signatures, said["value"], strict=True)}

    async def simulate(self, transaction: bytes, addresses: Sequence[str]) -> Simulated:
        """Run a transaction against the newest state without signatures and without a lasting effect."""
        options = {
            "encoding": "base64",
            "commitment": COMMITMENT,
            "sigVerify": False,
            "replaceRecentBlockhash": True,
            "innerInstructions": True,
            "accounts": {"encoding": "base64", "addresses": list(addresses)},
        }
        said = await self._rpc.call("simulateTransaction", base64.b64encode(transaction).decode(), options)
        with _Reading("simulateTransaction"):
            value = said["value"]
            given = value.get("accounts") or [None] * len(addresses)
            return Simulated(
                slot=_slot(said),
                error=value["err"],
                logs=tuple(str(line) for line in value.get("logs") or ()),
                units=_int(value.get("unitsConsumed") or 0),
                accounts={name: _account(each) for name, each in zip(addresses, given, strict=True)},
                inner=tuple(_list(value.get("innerInstructions") or [])),
                blockhash=_replacement(value.get("replacementBlockhash")),
            )

    async def send(self, transaction: bytes, *, everywhere: bool = False) -> None:
        """Give a signed transaction to the network. The same bytes may be sent any number of times.

        The node neither simulates it first nor sends it again by itself: both are the engine's own to decide.

        Args:
            everywhere: through the reading addresses too, for a sender that takes bytes and does nothing with them.
        """
        options = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
        text = base64.b64encode(transaction).decode()
        if self._sender is self._rpc:
            await self._rpc.call("sendTransaction", text, options)
            return
        ways = [self._sender, self._rpc] if everywhere else [self._sender]
        answers = await asyncio.gather(
            *(way.call("sendTransaction", text, options) for way in ways), return_exceptions=True
        )
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(errors) < len(answers):
            return
        if everywhere or not isinstance(errors[0], (NodeUnavailable, NodeRefused)):
            raise errors[0]
        await self._rpc.call("sendTransaction", text, options)

    async def signatures(self, address: str, *, before: str | None, limit: int = MAX_SIGNATURES) -> list[Mention]:
        """Transactions that name an address, newest first; those before a signature, or from the newest one on."""
        options: dict[str, Any] = {"commitment": COMMITMENT, "limit": limit}
        if before is not None:
            options["before"] = before
        said = await self._rpc.call("getSignaturesForAddress", address, options)
        with _Reading("getSignaturesForAddress"):
            return [
                Mention(
                    signature=str(each["signature"]),
                    slot=_int(each["slot"]),
                    failed=each["err"] is not None,
                    unix_time=None if each.get("blockTime") is None else _int(each["blockTime"]),
                    notes=_notes(each.get("memo")),
                )
                for each in _list(said)
            ]

    async def ledger(self, signature: str) -> Ledger | None:
        """What a landed transaction did. A status can come a moment before this does: ask again."""
        options = {
            "encoding": "json",
            "commitment": COMMITMENT,
            "maxSupportedTransactionVersion": _VERSIONS,
        }
        said = await self._rpc.call("getTransaction", signature, options)
        if said is None:
            return None
        with _Reading("getTransaction"):
            return read_ledger(said)

    async def priority_fees(self, addresses: Sequence[str]) -> list[int]:
        """Micro-lamports per compute unit that recent blocks took at least to write these accounts."""
        said = await self._rpc.call("getRecentPrioritizationFees", list(addresses)[:128])
        with _Reading("getRecentPrioritizationFees"):
            return [_int(each["prioritizationFee"]) for each in _list(said)]

    async def pools(self, program: str, size: int, filters: Mapping[int, str]) -> list[str]:
        """Addresses of a program's accounts of one size that hold the given addresses at the given offsets."""
        wanted: list[dict[str, Any]] = [{"dataSize": size}]
        wanted += [{"memcmp": {"offset": offset, "bytes": address}} for offset, address in filters.items()]
        # No bytes of their data: the addresses are enough, and popular tokens have thousands of pools.
        options = {
            "encoding": "base64",
            "commitment": COMMITMENT,
            "filters": wanted,
            "dataSlice": {"offset": 0, "length": 0},
        }
        said = await self._rpc.call("getProgramAccounts", program, options)
        with _Reading("getProgramAccounts"):
            return [str(each["pubkey"]) for each in _list(said)]


class _Reading:
    """Turns an answer of another shape into the statement that there is none."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, IndexError)):
            raise NodeUnavailable(f"The node's answer to {self._method} has another shape than expected.") from error


def _known(slot: int, given: Any) -> Known:
    if given is None:
        return Known(slot, None)
    if given["confirmationStatus"] not in _LANDED:
        return Known(min(slot, _int(given["slot"]) - 1), None)
    return Known(slot, Landed(_int(given["slot"]), given["err"]))


def _replacement(said: Any) -> Blockhash | None:
    if said is None:
        return None
    return Blockhash(str(said["blockhash"]), _int(said["lastValidBlockHeight"]))


def _slot(said: Any) -> int:
    return _int(said["context"]["slot"])


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not a whole number")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _account(given: Any) -> Account | None:
    if given is None:
        return None
    text, encoding = given["data"]
    if encoding != "base64":
        raise ValueError("another encoding")
    try:
        return Account(str(given["owner"]), base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _notes(memo: Any) -> tuple[str, ...]:
    """Notes as nodes list them: ``[5] hello; [3] you``, where the numbers are lengths in bytes."""
    if not isinstance(memo, str):
        return ()
    notes: list[str] = []
    rest = memo.encode()
    while found := _NOTE.match(rest):
        end = found.end() + int(found[1])
        notes.append(rest[found.end() : end].decode(errors="replace"))
        rest = rest[end:].removeprefix(b"; ")
    return tuple(notes)
