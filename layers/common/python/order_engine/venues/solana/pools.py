"""The configured pools as they are now: read together, of one moment, with what each needs.

A pool names further accounts: its configuration, its vaults, the arrays of bins or ticks around its price. What a pool
needed last time is asked for with it the next time, so that a reading takes one call of the node; it takes more only at
the first time, and when a price has moved to an array that was not asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.solana.accounts import Account, Missing, View
from order_engine.venues.solana.addresses import CLOCK
from order_engine.venues.solana.node import MAX_ACCOUNTS, Node
from order_engine.venues.solana.programs.program import LivePool, Program
from order_engine.venues.solana.programs.registry import PROGRAMS

# The first reading asks for the pools, then what they name, then their arrays; one more where a price moved between.
_ROUNDS = 5
_TOO_FAST = "Its accounts change faster than they can be read."
# Who asks within so many seconds of another shares its reading. A later one would be given what is old: a frozen
# process, too, goes on with what it had begun.
_SHARED_S = 0.05
# How long a pool is left out that did not keep its quote.
LEFT_OUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Unusable:
    """A pool that cannot take part, and why.

    Attributes:
        passes: the next reading may well have it.
        foreign: there is no pool at the address at all.
        venue: whose it is, where that is known.
    """

    address: str
    reason: str
    passes: bool = False
    foreign: bool = False
    venue: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Pools of one moment.

    Attributes:
        slot: at which they were read; the least one where one call did not suffice. Each pool is of one moment.
        pools: ready to quote, in the order asked for.
        unusable: those that are not, each with the reason.
    """

    slot: int
    pools: tuple[LivePool, ...]
    unusable: tuple[Unusable, ...]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A reading. ``began`` in seconds of the process's own clock."""

    began: float
    task: asyncio.Task[Reading]


class _NoPool(MalformedAccount):
    """There is nothing at an address, or something of another program."""


class PoolSource:
    """Reads pools from a node.

    Args:
        addresses: the configured pools.
        fresh_s: how long after it began a reading is good enough, seconds, for whoever only looks and signs nothing.
    """

    def __init__(
        self,
        node: Node,
        addresses: Sequence[str],
        programs: Mapping[str, Program] = PROGRAMS,
        *,
        fresh_s: float = 0.0,
    ) -> None:
        self._node = node
        self._fresh_s = fresh_s
        self._addresses = tuple(dict.fromkeys(addresses))
        self._programs = programs
        # By pool: the accounts that it needed last time, and its two mints. Both are hints; what is read decides.
        self._needs: dict[str, frozenset[str]] = {}
        self._mints: dict[str, frozenset[str]] = {}
        self._latest: dict[str, LivePool] = {}
        self._read_at: dict[str, int] = {}
        # Until when, in seconds of the process's own clock, and why.
        self._left_out: dict[str, tuple[float, str]] = {}
        # By event loop, since a process may have several, and by what is read.
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, frozenset[str]], _UnderWay] = {}

    async def read(self, mints: Iterable[str]) -> Reading:
        """The pools that trade any two of the given mints.

        Readings of the same mints at the same time share one: every venue asks for its own part of it.

        Raises:
            NodeUnavailable, NodeRefused: the node gave no answer.
        """
        wanted, loop = frozenset(mints), asyncio.get_running_loop()
        key, now = (loop, wanted), time.monotonic()
        found = self._under_way.get(key)
        if found is None or now - found.began > (self._fresh_s or _SHARED_S):
            found = _UnderWay(now, asyncio.create_task(self._read(wanted)))
            self._under_way[key] = found
            found.task.add_done_callback(lambda task: self._forget(key, task))
        # Whoever stops waiting does not stop it for the others.
        return await asyncio.shield(found.task)

    def _forget(self, key: tuple[asyncio.AbstractEventLoop, frozenset[str]], task: asyncio.Task[Reading]) -> None:
        # Everybody may have stopped waiting: its error is then nobody's.
        broken = task.cancelled() or task.exception() is not None
        under_way = self._under_way.get(key)
        if under_way is not None and under_way.task is task and (broken or not self._fresh_s):
            del self._under_way[key]

    async def read_all(self) -> Reading:
        """All configured pools.

        Raises:
            NodeUnavailable, NodeRefused: the node gave no answer.
        """
        return await self._read(None)

    def read_at(self, address: str) -> int:
        """The slot at which a pool was last read; 0 if it never was."""
        return self._read_at.get(address, 0)

    def leave_out(self, address: str, reason: str) -> None:
        """Let a pool take no part for a while: it does not do what it is read to do."""
        self._left_out[address] = (time.monotonic() + LEFT_OUT_S, reason)

    def latest(self, address: str) -> LivePool | None:
        """A pool as it was last read."""
        return self._latest.get(address)

    def needs(self, address: str) -> frozenset[str]:
        """The accounts that a pool needed when it was last read."""
        return self._needs.get(address, frozenset())

    async def _read(self, mints: frozenset[str] | None) -> Reading:
        """The pools that trade any two of the mints; all of them for None."""
        unknown = [address for address in self._addresses if address not in self._mints]
        relevant = [address for address in self._addresses if self._trades(address, mints)]
        done: dict[str, LivePool | Unusable] = {}
        slots: list[int] = []
        waiting = relevant
        for _ in range(_ROUNDS):
            if not waiting:
                break
            batches = self._batches(waiting)
            answers = await asyncio.gather(*(self._node.accounts(sorted(asked)) for _, asked in batches))
            slots += [slot for slot, _ in answers]
            # Those that need more are read again as a whole, so that each pool is of one moment.
            waiting = [
                address
                for (pools, _), (_, accounts) in zip(batches, answers, strict=True)
                for address in pools
                if not self._decode(address, accounts, mints, done)
            ]
        done |= {address: Unusable(address, _TOO_FAST, passes=True, venue=self._venue(address)) for address in waiting}
        read = [each for address in relevant if isinstance(each := done.get(address), LivePool)]
        self._latest |= {live.pool.pool_id: live for live in read}
        self._read_at |= dict.fromkeys((live.pool.pool_id for live in read), min(slots, default=0))
        done |= self._out({live.pool.pool_id for live in read})
        found = [each for address in relevant if isinstance(each := done.get(address), LivePool)]
        bad = [each for address in relevant if isinstance(each := done.get(address), Unusable)]
        still_unknown = {address for address in unknown if address not in self._mints}
        unusable = [each for each in bad if each.address in still_unknown or self._trades(each.address, mints)]
        return Reading(min(slots, default=0), tuple(found), tuple(unusable))

    def _out(self, pools: Collection[str]) -> dict[str, Unusable]:
        """Which pools are left out for now."""
        now = time.monotonic()
        self._left_out = {address: entry for address, entry in self._left_out.items() if entry[0] > now}
        return {
            address: Unusable(address, self._left_out[address][1], passes=True, venue=self._venue(address))
            for address in pools
            if address in self._left_out
        }

    def _venue(self, address: str) -> str | None:
        live = self._latest.get(address)
        return None if live is None else live.pool.venue

    def _trades(self, address: str, mints: frozenset[str] | None) -> bool:
        """Whether a pool trades two of the mints, or might: of one that was never read, nothing is known."""
        own = self._mints.get(address)
        return mints is None or own is None or own <= mints

    def _batches(self, pools: Sequence[str]) -> list[tuple[list[str], set[str]]]:
        """Pools with all that each is known to need, as many together as one call takes: a call is of one moment."""
        batches: list[tuple[list[str], set[str]]] = []
        for address in pools:
            needs = {CLOCK, address, *self._needs.get(address, ())}
            if not batches or len(batches[-1][1] | needs) > MAX_ACCOUNTS:
                batches.append(([], set()))
            batches[-1][0].append(address)
            batches[-1][1].update(needs)
        return batches

    def _decode(
        self,
        address: str,
        accounts: Mapping[str, Account | None],
        mints: frozenset[str] | None,
        done: dict[str, LivePool | Unusable],
    ) -> bool:
        """Decode one pool into ``done``. False if it needs accounts that were not asked for."""
        view = View(accounts)
        try:
            program = self._program_of(address, accounts.get(address))
            live = program.read(address, view)
        except Missing as missing:
            self._needs[address] = self._needs.get(address, frozenset()) | missing.addresses
            return False
        except (MalformedAccount, QuoteRefused) as error:
            done[address] = Unusable(address, error.message, foreign=isinstance(error, _NoPool))
            return True
        except Exception as error:  # noqa: BLE001 - one pool's bytes must not end an order; the others still count
            done[address] = Unusable(address, f"It cannot be read ({type(error).__name__}).")
            return True
        # What it needed once and needs no more, such as the arrays of a former price, is not asked for again.
        self._needs[address] = frozenset(view.used)
        self._mints[address] = frozenset(live.accounts.mints)
        if self._trades(address, mints):
            done[address] = live
        return True

    def _program_of(self, address: str, account: Account | None) -> Program:
        if account is None:
            raise _NoPool(f"There is no account at {address}.")
        program = self._programs.get(account.owner)
        if program is None:
            raise _NoPool(f"{address} is no pool of a known program; it belongs to {account.owner}.")
        return program
