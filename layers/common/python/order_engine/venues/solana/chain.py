"""Solana as the chain that orders are swapped on.

How a swap comes to be: quote, build, simulate, sign; the engine stores it; broadcast, and the same bytes again while
nothing is known; statuses; and either the ledger says what was received, or the block height has passed beyond what the
transaction allows and its history says that it never landed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Protocol

from order_engine.domain import base58
from order_engine.domain.errors import BuildFailed, QuoteRefused, SwapRefused
from order_engine.domain.order import Order, SignedTransaction
from order_engine.engine.ports import Clock, Height, Known, Swapped, TransactionStatus
from order_engine.venues.solana.build import SwapPlan, instructions, message_of, note_of, plan_swaps
from order_engine.venues.solana.history import swaps_since
from order_engine.venues.solana.looks import Looks
from order_engine.venues.solana.messages import ComputeBudget, Instruction, transaction
from order_engine.venues.solana.node import Landed, Node
from order_engine.venues.solana.parse import Signed, parse, programs
from order_engine.venues.solana.priority import FeePolicy, PriorityFees
from order_engine.venues.solana.programs.program import LivePool
from order_engine.venues.solana.refusals import refusal
from order_engine.venues.solana.rehearse import Rehearsal, rehearse
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable
from order_engine.venues.solana.signer import Signer, verify

PATH_TOLERANCE_BPS = 5
# What a simulation took, and a little more: the price may have moved to another array when the swap lands.
_UNITS_PERCENT = 115
_MAX_UNITS = 1_400_000
# A node's answer about statuses is of its ``processed`` slot, which may lie on a fork that dies. A fork does not come
# to be longer than this before the network's votes have decided.
_FORK_SLOTS = 32
# How long a block height is good enough. It goes up every 0.2 to 0.4 s, and matters once in 150 times that.
_HEIGHT_MS = 1500


class Pools(Protocol):
    """The pools that routes go through; see ``pools.PoolSource``."""

    def latest(self, address: str) -> LivePool | None: ...


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
        self._height: tuple[int, Height] | None = None

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        """Implements ``Chain.build``: the swaps of the route in one transaction, simulated before it is signed.

        Raises:
            BuildFailed: the pools cannot give the least output any more, or the transaction would be too large.
            SwapRefused: its simulation failed, or no node answered.
        """
        if order.routed is None:
            raise BuildFailed("The order has no route to build.")
        legs = order.routed.decision.chosen.legs
        pools = {leg.pool_id: live for leg in legs if (live := self._pools.latest(leg.pool_id)) is not None}
        plan = plan_swaps(legs, pools, order.request.mint_out, min_out=min_out, path_tolerance_bps=self._tolerance)
        calls = self._calls(plan, pools, note_of(order.ref.order_id, order.attempts))
        try:
            price = await self._fees.price(_written(calls, self._signer.address))
            rehearsal, blockhash = await asyncio.gather(
                rehearse(self._node, calls, self._signer.address, price), self._node.blockhash()
            )
        except (NodeUnavailable, NodeRefused) as error:
            raise SwapRefused("node_unavailable", str(error)) from error
        self._judge(rehearsal, plan)
        units = min(_MAX_UNITS, rehearsal.units * _UNITS_PERCENT // 100)
        message = message_of(calls, self._signer.address, blockhash.value, ComputeBudget(units, price))
        signature = await self._signer.sign(message)
        if not verify(self._signer.address, message, signature):
            raise BuildFailed("The signer's signature does not belong to the wallet.")
        raw = base64.b64encode(transaction(message, [signature])).decode()
        return SignedTransaction(base58.encode(signature), raw, blockhash.last_valid_block_height)

    def _calls(self, plan: SwapPlan, pools: Mapping[str, LivePool], note: str) -> list[Instruction]:
        try:
            return instructions(plan, pools, self._signer.address, note)
        except QuoteRefused as refused:
            raise BuildFailed(f"A pool cannot fill its part any more: {refused.message}") from refused

    def _judge(self, rehearsal: Rehearsal, plan: SwapPlan) -> None:
        why = rehearsal.refusal
        if why is None:
            return
        raise SwapRefused(why.code, why.message)

    async def broadcast(self, tx: SignedTransaction) -> None:
        """Implements ``Chain.broadcast``. From the second time on, every node that is known is given the bytes.

        Raises:
            ValueError: the bytes are not those of the signature.
            NodeUnavailable, NodeRefused: no node took them, or it is unknown whether one did.
        """
        raw = _bytes(tx)
        again = self._looks.sent(tx.signature)
        await self._node.send(raw, everywhere=again)

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        """Implements ``Chain.status``. What was received is what the ledger says.

        Raises:
            NodeUnavailable, NodeRefused: no node answered, or it has landed and the ledger cannot be read yet.
            ValueError: the bytes are not those of the signature.
        """
        if search_history:
            known = await self._node.status(tx.signature, search_history=True)
        else:
            known = await self._looks.known(tx.signature)
        if known.landed is None:
            return Known(known.slot - _FORK_SLOTS, None)
        return Known(known.slot, await self._landed(tx.signature, _open(tx), known.landed))

    async def _landed(self, signature: str, signed: Signed, landed: Landed) -> TransactionStatus:
        ledger = await self._node.ledger(signature)
        if ledger is None:
            # To say "unknown" here would be to deny a swap.
            raise NodeUnavailable("It has landed, but the node cannot tell what it did yet.")
        if ledger.error is not None:
            why = refusal(ledger.error, ledger.logs, programs(signed.calls))
            return TransactionStatus(ledger.slot, None, str(why))
        if landed.error is not None:
            raise NodeUnavailable("Two answers about one transaction contradict each other.")
        return TransactionStatus(ledger.slot, ledger.received(signed.payer, signed.bought))

    async def height(self) -> Height:
        """Implements ``Chain.height``, as it was at least when the last fork that may yet die began.

        A slot has one block or none: so many slots ago, the block height was less by so many at most. Only then can an
        answer about statuses, which is counted from there too, come to be as far as it. For a moment a former answer
        stands: one that is old only delays an expiry.
        """
        now = self._clock.now_ms()
        if self._height is None or now - self._height[0] >= _HEIGHT_MS:
            newest = await self._node.height()
            self._height = (now, Height(newest.blocks - _FORK_SLOTS, newest.slot - _FORK_SLOTS))
        return self._height[1]

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        """Implements ``Chain.swaps``, from the notes of the wallet's transactions.

        Raises:
            NodeUnavailable, NodeRefused: no node answered.
        """
        return await swaps_since(self._node, self._signer.address, since)


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
