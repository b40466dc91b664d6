"""The configured pools as they are now: read together, of one moment, with what each needs.

A pool names further accounts: its configuration, its vaults, the arrays of bins or ticks around its price. What a pool
needed last time is asked for with it the next time, so that a reading takes one call of the node; it takes more only at
the first time, and when a price has moved to an array that was not asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.solana.accounts import Account, Missing, View
from order_engine.venues.solana.addresses import CLOCK
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.programs.program import LivePool, Program
from order_engine.venues.solana.programs.registry import PROGRAMS

# The first reading asks for the pools, then what they name, then their arrays; one more where a price moved between.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Unusable:
    """A pool that cannot take part, and why."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Pools of one moment.

    Attributes:
        slot: at which they were read; the least one where one call did not suffice.
        pools: ready to quote, in the order asked for.
        unusable: those that are not, each with the reason.
    """

    slot: int
    pools: tuple[LivePool, ...]
    unusable: tuple[Unusable, ...]


class PoolSource:
    """Reads pools from a node.

    Args:
        addresses: the configured pools.
    """

    def __init__(self, node: Node, addresses: Sequence[str], programs: Mapping[str, Program] = PROGRAMS) -> None:
        self._node = node
        self._addresses = tuple(dict.fromkeys(addresses))
        self._programs = programs
        # By pool: the accounts that it needed last time, and its two mints. Both are hints; what is read decides.
        self._needs: dict[str, frozenset[str]] = {}
        self._mints: dict[str, frozenset[str]] = {}
        self._latest: dict[str, LivePool] = {}
        self._under_way: dict[frozenset[str], asyncio.Task[Reading]] = {}

    async def read(self, mints: Iterable[str]) -> Reading:
        """The pools that trade any two of the given mints.

        Readings of the same mints at the same time share one: every venue asks for its own part of it.

        Raises:
            NodeUnavailable, NodeRefused: the node gave no answer.
        """
        wanted = frozenset(mints)
        task = self._under_way.get(wanted)
        if task is None:
            task = asyncio.create_task(self._read(wanted))
            self._under_way[wanted] = task
            task.add_done_callback(lambda _: self._under_way.pop(wanted, None))
        # Whoever stops waiting does not stop it for the others.
        return await asyncio.shield(task)

    def latest(self, address: str) -> LivePool | None:
        """A pool as it was last read."""
        return self._latest.get(address)

    async def _read(self, mints: frozenset[str]) -> Reading:
        unknown = [address for address in self._addresses if address not in self._mints]
        relevant = [address for address in self._addresses if self._mints.get(address, mints) <= mints]
        done: dict[str, LivePool | Unusable] = {}
        slots: list[int] = []
        waiting = relevant
        for _ in range(_ROUNDS):
            if not waiting:
                break
            asked = {CLOCK, *waiting, *(need for address in waiting for need in self._needs.get(address, ()))}
            slot, accounts = await self._node.accounts(sorted(asked))
            slots.append(slot)
            # Those that need more are read again as a whole, so that each pool is of one moment.
            waiting = [address for address in waiting if not self._decode(address, accounts, mints, done)]
        done |= {address: Unusable(address, "Its accounts change faster than they can be read.") for address in waiting}
        found = [each for address in relevant if isinstance(each := done.get(address), LivePool)]
        bad = [each for address in relevant if isinstance(each := done.get(address), Unusable)]
        self._latest |= {pool.pool.pool_id: pool for pool in found}
        still_unknown = {address for address in unknown if address not in self._mints}
        unusable = [each for each in bad if each.address in still_unknown or self._mints[each.address] <= mints]
        return Reading(min(slots, default=0), tuple(found), tuple(unusable))

    def _decode(
        self,
        address: str,
        accounts: Mapping[str, Account | None],
        mints: frozenset[str],
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
            done[address] = Unusable(address, error.message)
            return True
        except Exception as error:  # noqa: BLE001 - one pool's bytes must not end an order; the others still count
            done[address] = Unusable(address, f"It cannot be read ({type(error).__name__}).")
            return True
        # What it needed once and needs no more, such as the arrays of a former price, is not asked for again.
        self._needs[address] = frozenset(view.used)
        self._mints[address] = frozenset(live.accounts.mints)
        if self._mints[address] <= mints:
            done[address] = live
        return True

    def _program_of(self, address: str, account: Account | None) -> Program:
        if account is None:
            raise MalformedAccount(f"There is no account at {address}.")
        program = self._programs.get(account.owner)
        if program is None:
            raise MalformedAccount(f"{address} is no pool of a known program; it belongs to {account.owner}.")
        return program
