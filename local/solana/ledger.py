"""The chain behind the node: slots, blocks, transactions on their way, and what became of them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.litesvm import LiteSVM
from solders.message import MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import (
    FailedTransactionMetadata,
    SimulateResult,
    TransactionMetadata,
    TransactionResult,
)

from local.solana.balances import Holdings, holdings_of
from order_engine.venues.solana.addresses import SYSTEM

# How many blocks a block hash stays good, and how many slots it takes to reach each commitment.
VALID_BLOCKS = 150
CONFIRMED_AFTER, FINALIZED_AFTER = 2, 32
SLOTS_PER_EPOCH = 432_000
# For how long a block is seen that will not stay.
_DYING_SLOTS = 8
# Blocks are fewer than slots on the real network, since some leaders miss theirs.
_SKIPPED_BEFORE = 20_000_000
_RENT_EPOCH = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to transactions and to those who ask about them.

    Attributes:
        slot_ms: milliseconds a slot takes.
        lost: the share of sends, 0 to 1, that reach no leader.
        doomed: the share of transactions that never arrive, however often they are sent.
        late: the share of sends that land as late as their block hash allows, if nothing sends them again.
        landing_slots: how many slots a transaction takes to land otherwise, from and to.
        vanishing: the share of sends that land on a fork which dies: for a moment they are ``processed``.
        forks: of how many slots each node has blocks that will die, instead of the chain's own; as ``lags``.
        lags: how many slots behind the head each node is; each request meets the next of them in turn.
        lacks: from which slot to which each node has no part of the ledger; as ``lags``.
        forgets_after: slots after which a look-up without history does not find a signature any more.
        priority_fee: micro-lamports per unit that recent blocks took.
    """

    slot_ms: int = 230
    lost: float = 0.0
    doomed: float = 0.0
    late: float = 0.0
    vanishing: float = 0.0
    landing_slots: tuple[int, int] = (1, 3)
    lags: tuple[int, ...] = (0,)
    forks: tuple[int, ...] = (0,)
    lacks: tuple[tuple[int, int], ...] = ((0, 0),)
    forgets_after: int = 150
    priority_fee: int = 1000


@dataclass(frozen=True, slots=True)
class Landed:
    """A transaction in a block.

    Attributes:
        before, after: what its accounts held.
    """

    slot: int
    transaction: VersionedTransaction
    error: object
    fee: int
    units: int
    logs: tuple[str, ...]
    before: Holdings
    after: Holdings
    block_time: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a transaction would do.

    Attributes:
        accounts: that it would leave.
        inner: what programs called, by the message's instruction.
    """

    error: object
    logs: tuple[str, ...]
    units: int
    accounts: Mapping[str, Account]
    inner: tuple[tuple[CompiledInstruction, ...], ...]


@dataclass(frozen=True, slots=True)
class _OnItsWay:
    transaction: VersionedTransaction
    lands_at: int


@dataclass(slots=True)
class Chain:
    """One chain, moved on by its clock whenever it is looked at.

    Args:
        now_ms: the wall clock.
        seed: of everything that is left to chance.
    """

    now_ms: Callable[[], int]
    weather: Weather = field(default_factory=Weather)
    seed: int = 1
    first_slot: int = 460_000_000
    slot: int = field(init=False)
    landed: dict[str, Landed] = field(init=False, default_factory=dict)
    sent: int = field(init=False, default=0)
    # By signature, from which slot to which a transaction is seen that is on a dying fork.
    vanishing: dict[str, tuple[int, int]] = field(init=False, default_factory=dict)
    _began: int = field(init=False)
    _svm: LiteSVM = field(init=False)
    _on_its_way: list[_OnItsWay] = field(init=False, default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.now_ms()
        self.slot = self.first_slot
        self._random = random.Random(self.seed)  # noqa: S311 - weather, not a secret
        # Signatures and block hashes are checked here, where there is more than one of the latter.
        self._svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self._set_clock()

    def load_program(self, address: str, path: Path) -> None:
        """Put a program of the chain at its address."""
        self._svm.add_program_from_file(Pubkey.from_string(address), path)

    def rent(self, size: int) -> int:
        """Lamports that an account of so many bytes needs in order to stay."""
        return self._svm.minimum_balance_for_rent_exemption(size)

    def put(self, address: str, owner: str, data: bytes, lamports: int | None = None) -> None:
        """Put an account at an address, whatever was there."""
        enough = self.rent(len(data)) if lamports is None else lamports
        account = Account(enough, data, Pubkey.from_string(owner), False, _RENT_EPOCH)
        self._svm.set_account(Pubkey.from_string(address), account)

    def account(self, address: str) -> Account | None:
        """What lies at an address now."""
        self.advance()
        return self._svm.get_account(Pubkey.from_string(address))

    def program_accounts(self, program: str) -> list[tuple[str, Account]]:
        """All accounts of a program."""
        self.advance()
        return [(str(key), account) for key, account in self._svm.get_program_accounts(Pubkey.from_string(program))]

    def height(self, slot: int) -> int:
        """The block height at a slot."""
        return slot - _SKIPPED_BEFORE

    @staticmethod
    def blockhash(slot: int) -> Hash:
        """The hash of a slot's block."""
        return Hash(hashlib.sha256(f"block {slot}".encode()).digest())

    def unix_time(self, slot: int) -> int:
        """The chain's own clock at a slot, seconds."""
        return (self._began + (slot - self.first_slot) * self.weather.slot_ms) // 1000

    def set_weather(self, **changes: object) -> None:
        """Change what happens from now on; a slot's length cannot be changed."""
        self.advance()
        changed = replace(self.weather, **changes)  # type: ignore[arg-type]
        if changed.slot_ms != self.weather.slot_ms:
            raise ValueError("A slot's length is fixed from the beginning.")
        self.weather = changed

    def advance(self) -> int:
        """Come to the present, with all that has landed on the way. Returns the slot."""
        target = self.first_slot + (self.now_ms() - self._began) // self.weather.slot_ms
        due = sorted((t for t in self._on_its_way if t.lands_at <= target), key=lambda t: t.lands_at)
        self._on_its_way = [t for t in self._on_its_way if t.lands_at > target]
        for each in due:
            self.slot = max(self.slot, each.lands_at)
            self._land(each.transaction)
        if target > self.slot:
            self.slot = target
            self._set_clock()
        return self.slot

    def send(self, transaction: VersionedTransaction) -> None:
        """Give a transaction to the network: it may be lost, land late, or land soon."""
        self.advance()
        self.sent += 1
        fate = int.from_bytes(hashlib.sha256(bytes(transaction.signatures[0])).digest()[:4]) / 2**32
        if self._random.random() < self.weather.lost or fate < self.weather.doomed:
            return
        delay = self._random.randint(*self.weather.landing_slots)
        expires = self._expires_at(transaction)
        if expires is None:
            return
        if self._random.random() < self.weather.vanishing:
            self.vanishing[str(transaction.signatures[0])] = (self.slot + delay, self.slot + delay + _DYING_SLOTS)
            return
        late = self._random.random() < self.weather.late
        lands_at = max(self.slot + 1, expires - self._random.randint(0, 3)) if late else self.slot + delay
        self._on_its_way.append(_OnItsWay(transaction, lands_at))

    def simulate(self, transaction: VersionedTransaction) -> Simulated:
        """What a transaction would do now."""
        self.advance()
        done = self._svm.simulate_transaction(transaction)
        meta = done.meta()
        left = {} if isinstance(done, FailedTransactionMetadata) else dict(done.post_accounts())
        return Simulated(
            error=_error(done),
            logs=tuple(meta.logs()),
            units=meta.compute_units_consumed(),
            accounts={str(key): value for key, value in left.items()},
            inner=tuple(tuple(each.instruction() for each in group) for group in meta.inner_instructions()),
        )

    def airdrop(self, address: str, lamports: int) -> None:
        """Give SOL to an address."""
        held = self._svm.get_account(Pubkey.from_string(address))
        had = (held.owner, held.data, held.lamports) if held else (Pubkey.from_string(SYSTEM), b"", 0)
        self.put(address, str(had[0]), had[1], had[2] + lamports)

    def _expires_at(self, transaction: VersionedTransaction) -> int | None:
        """The last slot in which a transaction can land; None if its block hash is not of the last 150 blocks."""
        wanted = _lifetime(transaction)
        for slot in range(self.slot, self.slot - VALID_BLOCKS - 1, -1):
            if self.blockhash(slot) == wanted:
                return slot + VALID_BLOCKS
        return None

    def _land(self, transaction: VersionedTransaction) -> None:
        signature = str(transaction.signatures[0])
        expires = self._expires_at(transaction)
        if signature in self.landed or expires is None or self.slot > expires:
            return
        self._set_clock()
        keys = [str(key) for key in transaction.message.account_keys]
        before = holdings_of(self._svm, keys)
        done = self._svm.send_transaction(transaction)
        meta: TransactionMetadata = done.meta() if isinstance(done, FailedTransactionMetadata) else done
        error = _error(done)
        after = holdings_of(self._svm, keys)
        fee = before.lamports[0] - after.lamports[0] if error is not None else meta.fee()
        if error is not None and before == after:
            # The runtime refused it without a fee: it is in no block.
            return
        self.landed[signature] = Landed(
            slot=self.slot,
            transaction=transaction,
            error=error,
            fee=fee,
            units=meta.compute_units_consumed(),
            logs=tuple(meta.logs()),
            before=before,
            after=after,
            block_time=self.unix_time(self.slot),
        )

    def _set_clock(self) -> None:
        now = self.unix_time(self.slot)
        epoch = self.slot // SLOTS_PER_EPOCH
        self._svm.set_clock(Clock(self.slot, now, epoch, epoch + 1, now))


def _error(done: SimulateResult | TransactionResult) -> object:
    """A transaction's error as nodes write it; None for a success."""
    return json.loads(done.to_json())["err"] if isinstance(done, FailedTransactionMetadata) else None


def _lifetime(transaction: VersionedTransaction) -> Hash:
    message = transaction.message
    if isinstance(message, (MessageV0, MessageV1)):
        return message.lifetime_specifier if isinstance(message, MessageV1) else message.recent_blockhash
    return message.recent_blockhash
