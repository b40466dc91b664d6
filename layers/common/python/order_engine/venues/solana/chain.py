"""Solana as the chain that orders are swapped on.

How a swap comes to be: quote, build, simulate, sign; the engine stores it; broadcast, and the same bytes again while
nothing is known; statuses; and either the ledger says what was received, or the block height has passed beyond what the
transaction allows and its history says that it never landed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from order_engine.domain import base58
from order_engine.domain.errors import BuildFailed, QuoteRefused, SwapRefused
from order_engine.domain.order import Order, SignedTransaction
from order_engine.engine.ports import Clock, Height, Known, Swapped, TransactionStatus
from order_engine.venues.solana.build import SwapPlan, instructions, message_of, note_of, plan_swaps
from order_engine.venues.solana.disagree import Accusation, Case, Suspect, blame, suspect
from order_engine.venues.solana.history import swaps_since
from order_engine.venues.solana.ledger import Ledger
from order_engine.venues.solana.looks import Looks
from order_engine.venues.solana.messages import MAX_UNITS, ComputeBudget, Instruction, transaction
from order_engine.venues.solana.node import Landed, Node
from order_engine.venues.solana.parse import Signed, parse, programs
from order_engine.venues.solana.pools import Reading
from order_engine.venues.solana.priority import FeePolicy, PriorityFees
from order_engine.venues.solana.programs.program import LivePool
from order_engine.venues.solana.proof import FORK_SLOTS, agreed_height, look_through
from order_engine.venues.solana.refusals import AGAINST_THE_POOL, FROZEN, FUNDS, REFUSED, Refusal, refusal
from order_engine.venues.solana.rehearse import Rehearsal, rehearse
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable
from order_engine.venues.solana.signer import Signer, verify
from order_engine.venues.solana.validity import Validity

PATH_TOLERANCE_BPS = 5
# What a simulation took, and a little more: the price may have moved to another array when the swap lands.
_UNITS_PERCENT = 115
# A pool that did not keep its quote is heard again some slots later.
_HEARD_AGAIN_MS = 600
_MOST_PLACES = 10_000
# Amounts of tokens are unsigned, of 64 bits.
_MOST_UNITS = 2**64 - 1
# How long a block height is good enough. It goes up every 0.2 to 0.4 s, and matters once in 150 times that.
_HEIGHT_S = 1.5


class Pools(Protocol):
    """The pools that routes go through; see ``pools.PoolSource``."""

    def latest(self, address: str) -> LivePool | None: ...

    def read_at(self, address: str) -> int: ...

    async def read(self, mints: Iterable[str]) -> Reading: ...

    def leave_out(self, address: str, reason: str) -> None: ...


class SolanaChain:
    """Implements ``ports.Chain`` over Solana's nodes.

    SOL is held as wrapped SOL in the wallet's associated account: nothing is wrapped or unwrapped in a swap, so that
    concurrent orders of one wallet do not disturb each other.

    Args:
        signer: of the wallet that all orders are swapped from, and which pays the fees.
        pools: as the routes were found with.
        fees: what is offered for being preferred.
        path_tolerance_bps: by how much a swap into an intermediate token may give less than its quote.
    """

    def __init__(
        self,
        node: Node,
        signer: Signer,
        pools: Pools,
        clock: Clock,
        fees: FeePolicy | None = None,
        *,
        path_tolerance_bps: int = PATH_TOLERANCE_BPS,
    ) -> None:
        self._node = node
        self._signer = signer
        self._pools = pools
        self._fees = PriorityFees(node, fees or FeePolicy())
        self._tolerance = path_tolerance_bps
        self._clock = clock
        self._looks = Looks(node, clock)
        self._validity = Validity(node, clock)
        self._height: tuple[float, Height] | None = None
        # By block height, a slot before it.
        self._places: dict[int, int] = {}
        # Whether the wallet paid for a transaction, by signature.
        self._own: dict[str, bool] = {}

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        """Implements ``Chain.build``: the swaps of the route in one transaction, simulated before it is signed.

        Raises:
            BuildFailed: the pools cannot give the least output any more.
            RouteTooLarge: it does not fit into one transaction.
            SwapRefused: its simulation failed, or no node answered.
        """
        if order.routed is None:
            raise BuildFailed("The order has no route to build.")
        legs = order.routed.decision.chosen.legs
        pools = {leg.pool_id: live for leg in legs if (live := self._pools.latest(leg.pool_id)) is not None}
        read_at = {pool: self._pools.read_at(pool) for pool in pools}
        plan = plan_swaps(legs, pools, order.request.mint_out, min_out=min_out, path_tolerance_bps=self._tolerance)
        calls = self._calls(plan, pools, note_of(order.ref.order_id, order.attempts))
        try:
            price = await self._fees.price(_written(calls, self._signer.address))
            rehearsal = await self._rehearsed(calls, price, plan, pools, read_at)
            # The simulation was of the newest block hash, and tells which it was.
            blockhash = rehearsal.blockhash or await self._node.blockhash()
            last_valid = await self._validity.last_valid(blockhash, rehearsal.slot)
        except (NodeUnavailable, NodeRefused) as error:
            raise SwapRefused("node_unavailable", str(error)) from error
        units = min(MAX_UNITS, rehearsal.units * _UNITS_PERCENT // 100)
        message = message_of(calls, self._signer.address, blockhash.value, ComputeBudget(units, price))
        signature = await self._signer.sign(message)
        if not verify(self._signer.address, message, signature):
            raise BuildFailed("The signer's signature does not belong to the wallet.")
        raw = base64.b64encode(transaction(message, [signature])).decode()
        return SignedTransaction(base58.encode(signature), raw, last_valid)

    def _calls(self, plan: SwapPlan, pools: Mapping[str, LivePool], note: str) -> list[Instruction]:
        try:
            return instructions(plan, pools, self._signer.address, note)
        except QuoteRefused as refused:
            raise BuildFailed(f"A pool cannot fill its part any more: {refused.message}") from refused

    async def _rehearsed(
        self,
        calls: Sequence[Instruction],
        price: int,
        plan: SwapPlan,
        pools: Mapping[str, LivePool],
        read_at: Mapping[str, int],
    ) -> Rehearsal:
        """A simulation that succeeds, by pools that keep their quotes. A pool that does not is heard a second time.

        Args:
            read_at: the slots at which the pools were read.

        Raises:
            SwapRefused: it would fail, or a pool does not keep its quote, which is left out from now on.
            NodeUnavailable, NodeRefused: no node answered.
        """
        case = Case(self._signer.address, len(calls) - len(plan.swaps), plan.swaps, pools)
        first = await rehearse(self._node, calls, case.wallet, price)
        accused = await self._accused(case, first, read_at)
        if accused is None:
            return first
        await self._clock.sleep(_HEARD_AGAIN_MS)
        second = await rehearse(self._node, calls, case.wallet, price)
        again = await self._accused(case, second, read_at)
        if again is None:
            return second
        if again.pool == accused.pool and second.slot > first.slot:
            self._pools.leave_out(again.pool, again.sentence)
        raise SwapRefused(again.code, again.sentence)

    async def _accused(self, case: Case, rehearsal: Rehearsal, read_at: Mapping[str, int]) -> Accusation | None:
        """What a simulation says against a pool; None where nothing is wrong at all.

        Raises:
            SwapRefused: it would fail, and no pool is to blame.
            NodeUnavailable, NodeRefused: no node answered.
        """
        why = await blame(self._node, case, rehearsal.refusal)
        found = suspect(case, replace(rehearsal, refusal=why))
        if found is not None:
            leg = found.swap.leg
            if why is not None and why.code in AGAINST_THE_POOL:
                return Accusation(leg.pool_id, why.code, f"{why.message} The pool is {leg.pool_id}.")
            if await self._misunderstood(found, rehearsal.slot, read_at[leg.pool_id]):
                told = "less than its minimum" if found.gave is None else str(found.gave)
                said = f"The pool {leg.pool_id} is quoted at {leg.amount_out} and would give {told}."
                return Accusation(leg.pool_id, "pool_disagrees", said)
        if why is not None:
            raise SwapRefused(why.code, why.message)
        return None

    async def _misunderstood(self, found: Suspect, slot: int, quoted_at: int) -> bool:
        """Whether nothing but the engine's idea of the pool can be wrong.

        Args:
            slot: of the simulation. Of a node that was behind the quote, or is behind now, it says nothing.
            quoted_at: the slot at which the pool was read for its quote.
        """
        leg = found.swap.leg
        try:
            reading = await self._pools.read((leg.mint_in, leg.mint_out))
        except (NodeUnavailable, NodeRefused):
            return False
        now = next((live for live in reading.pools if live.pool.pool_id == leg.pool_id), None)
        return quoted_at <= slot <= reading.slot and now is not None and not found.explained_by(now)

    async def broadcast(self, tx: SignedTransaction) -> None:
        """Implements ``Chain.broadcast``. From the second time on, every node that is known is given the bytes.

        Raises:
            ValueError: the bytes are not those of the signature.
            NodeUnavailable, NodeRefused: no node took them, or it is unknown whether one did.
        """
        _open(tx)
        again = self._looks.sent(tx.signature)
        await self._node.send(_bytes(tx), everywhere=again)

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        """Implements ``Chain.status``. What was received is what the ledger says.

        Raises:
            NodeUnavailable, NodeRefused: no node answered, or it has landed and the ledger cannot be read yet.
            ValueError: the bytes are not those of the signature.
        """
        signed = _open(tx)
        if search_history:
            if len(self._places) > _MOST_PLACES:
                self._places.clear()
            known = await look_through(await self._node.apart(), signed, tx.last_valid_block_height, self._places)
        else:
            seen = await self._looks.known(tx.signature)
            known = seen if seen.landed is not None else replace(seen, slot=seen.slot - FORK_SLOTS)
        if known.landed is None:
            return Known(known.slot, None)
        return Known(known.slot, await self._landed(tx.signature, signed, known.landed))

    async def _landed(self, signature: str, signed: Signed, landed: Landed) -> TransactionStatus:
        ledger = await self._node.ledger(signature)
        if ledger is None:
            # To say "unknown" here would be to deny a swap.
            raise NodeUnavailable("It has landed, but the node cannot tell what it did yet.")
        if (ledger.signature, ledger.payer) != (signature, signed.payer):
            raise NodeUnavailable("The node told of another transaction than it was asked for.")
        if (ledger.error is None) != (landed.error is None):
            raise NodeUnavailable("Two answers about one transaction contradict each other.")
        if ledger.error is not None:
            await self._failed_for_two(signature, signed)
            why = refusal(ledger.error, ledger.logs, programs(signed.calls))
            if why.code in (FUNDS, FROZEN):
                # Nobody can say any more whose account it was. The next attempt's simulation can.
                why = Refusal(REFUSED, "A token account of the swap was frozen or short when it landed.")
            return TransactionStatus(ledger.slot, None, str(why))
        received = ledger.received(signed.payer, signed.bought)
        if not 0 < received <= _MOST_UNITS:
            raise NodeUnavailable("The ledger tells an amount that nobody can have received.")
        return TransactionStatus(ledger.slot, received)

    async def _failed_for_two(self, signature: str, signed: Signed) -> None:
        """After an error the order is signed anew: where two nodes are configured, two must tell of it.

        Raises:
            NodeUnavailable: they do not.
        """
        nodes = await self._node.apart()
        if len(nodes) < 2:
            return
        told = await asyncio.gather(*(node.ledger(signature) for node in nodes), return_exceptions=True)
        failed = [
            each
            for each in told
            if isinstance(each, Ledger)
            and each.error is not None
            and (each.signature, each.payer) == (signature, signed.payer)
        ]
        if len(failed) < 2:
            raise NodeUnavailable("A node tells that the transaction failed, and no second one does.")

    async def height(self) -> Height:
        """Implements ``Chain.height``, as it was at least when the last fork that may yet die began.

        A slot has one block or none: so many slots ago, the block height was less by so many at most. Only then can an
        answer about statuses, which is counted from there too, come to be as far as it. For a moment a former answer
        stands: one that is old only delays an expiry.
        """
        # By a clock that nobody sets.
        now = asyncio.get_running_loop().time()
        if self._height is None or now - self._height[0] >= _HEIGHT_S:
            newest = await agreed_height(await self._node.apart())
            self._height = (now, Height(newest.blocks - FORK_SLOTS, newest.slot - FORK_SLOTS))
        return self._height[1]

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        """Implements ``Chain.swaps``, from the notes of the wallet's transactions.

        Raises:
            Incomplete: there are more than could be looked at.
            NodeUnavailable, NodeRefused: no node answered.
        """
        return await swaps_since(self._node, self._signer.address, since, self._own)


def _written(calls: Sequence[Instruction], wallet: str) -> list[str]:
    """The accounts that others may want to write at the same time."""
    found = {meta.address for call in calls for meta in call.accounts if meta.writable and not meta.signer}
    return sorted(found - {wallet})


def _bytes(tx: SignedTransaction) -> bytes:
    try:
        return base64.b64decode(tx.raw, validate=True)
    except binascii.Error as error:
        raise ValueError("The stored transaction is not base64.") from error


def _open(tx: SignedTransaction) -> Signed:
    signed = parse(_bytes(tx))
    if signed.signature != tx.signature:
        raise ValueError("The signature does not belong to the transaction.")
    return signed
