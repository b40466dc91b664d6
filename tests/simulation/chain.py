"""The chain: a ledger that alone says what was swapped, behind nodes that lose, delay, deny and forget."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from order_engine.domain.order import Order, OrderRef, SignedTransaction
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from tests.simulation.market import SwingMarket
from tests.simulation.world import EPOCH_MS, World

BLOCK_MS = 400
# An order of this wallet ends every worker that builds its transaction.
DEADLY = "deadly"


@dataclass(slots=True)
class Landing:
    """What the ledger holds for one signature. ``amount_out`` in base units; None if it landed with an error."""

    at: int
    slot: int
    amount_out: int | None
    error: str | None


@dataclass(slots=True)
class Transaction:
    """A signed transaction as the chain sees it. Amounts in base units."""

    signature: str
    ref: OrderRef
    venue: str
    mint_in: str
    amount_in: int
    min_out: int
    last_valid: int
    fate: str | None = None
    lands_at: int | None = None
    landing: Landing | None = None


@dataclass(slots=True)
class SimChain:
    """``Chain`` and its ledger.

    Args:
        validity: for how many blocks a transaction may land.
        confirm_ms: how long after landing a transaction is seen by look-ups; the height answered lags as much.
        on_broadcast, on_landing: told of each, for the checks.
        script: what becomes of the n-th transaction signed (from 1), whatever the dice say: lost or rejected.
    """

    world: World
    market: SwingMarket
    validity: int
    confirm_ms: int
    on_broadcast: Callable[[Transaction], None]
    on_landing: Callable[[Transaction], None]
    script: dict[int, str] = field(default_factory=dict)
    signed: dict[str, Transaction] = field(default_factory=dict)

    def tip(self) -> int:
        """The true block height."""
        return (self.world.now - EPOCH_MS) // BLOCK_MS

    def can_still_land(self, signature: str) -> bool:
        known = self.signed[signature]
        return known.landing is None and self.tip() <= known.last_valid

    # --- the port ------------------------------------------------------------------------------------------------

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        if order.request.wallet_address == DEADLY:
            await self.world.die("chain.build")
        return await self.world.call("chain.build", lambda: self._build(order, min_out))

    def _build(self, order: Order, min_out: int) -> SignedTransaction:
        assert order.routed is not None
        chosen = order.routed.decision.chosen
        number = len(self.signed) + 1
        signature = f"{order.ref.order_id}-s{number}"
        last_valid = self.tip() + self.validity
        self.signed[signature] = Transaction(
            signature,
            order.ref,
            chosen.venue,
            order.request.mint_in,
            order.request.amount_in,
            min_out,
            last_valid,
            self.script.get(number),
        )
        return SignedTransaction(signature, json.dumps([signature, min_out]), last_valid)

    async def broadcast(self, tx: SignedTransaction) -> None:
        await self.world.call("chain.broadcast", lambda: self._broadcast(tx))

    def _broadcast(self, tx: SignedTransaction) -> None:
        world, rng = self.world, self.world.rng
        known = self.signed[tx.signature]
        self.on_broadcast(known)
        if known.landing is not None or known.lands_at is not None:
            return
        if self.tip() > known.last_valid:
            raise ValueError("BlockhashNotFound")
        if known.fate == "lost" or world.happens("lost"):
            return
        delay = rng.randint(300, 2500)
        if world.happens("late"):
            # Around the last block in which it is valid, from where everything is a race.
            end = (known.last_valid + 1) * BLOCK_MS + EPOCH_MS
            delay = max(0, end - world.now - rng.choice((rng.randint(1, BLOCK_MS), rng.randint(-400, 1500))))
        lands_at = world.now + delay
        if (lands_at - EPOCH_MS) // BLOCK_MS > known.last_valid:
            return
        known.lands_at = lands_at
        world.loop.call_later(delay / 1000, self._land, known)

    def _land(self, known: Transaction) -> None:
        out = self.market.pool(known.venue, self.world.now).quote(known.mint_in, known.amount_in)
        landing = Landing(self.world.now, self.tip(), out, None)
        if out < known.min_out:
            landing.amount_out, landing.error = None, "slippage: The price moved too far."
        elif known.fate == "rejected" or self.world.happens("rejected"):
            landing.amount_out, landing.error = None, "rejected: The program refused."
        known.landing = landing
        self.world.note("ledger", f"{known.signature} lands, {landing.error or 'swapped'}")
        self.on_landing(known)

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        return await self.world.call("chain.status", lambda: self._status(tx, search_history))

    def _status(self, tx: SignedTransaction, search_history: bool) -> Known:
        # Behind one address stand nodes of different age, each of which knows what was there when it was there.
        lag_ms = self.world.rng.randint(BLOCK_MS, 30_000) if self.world.happens("behind") else 0
        slot = self._seen_height(lag_ms)
        known = self.signed[tx.signature]
        landing = known.landing
        if landing is None or self.world.now - lag_ms < landing.at + self.confirm_ms:
            return Known(slot, None)
        settled = search_history and slot > known.last_valid
        if not settled and self.world.happens("silent"):
            return Known(slot, None)
        return Known(slot, TransactionStatus(landing.slot, landing.amount_out, landing.error))

    async def height(self) -> Height:
        def answer() -> Height:
            seen = self._seen_height() - max(0, self.world.rng.randint(-3, 2))
            return Height(seen, seen)

        return await self.world.call("chain.height", answer)

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        # Without delays or faults: what the audit learns later it learns all the same.
        return [
            Swapped(each.ref.order_id, each.signature)
            for each in self.signed.values()
            if each.landing is not None and each.landing.amount_out is not None and each.landing.at >= since
        ]

    def _seen_height(self, lag_ms: int = 0) -> int:
        return (self.world.now - self.confirm_ms - lag_ms - EPOCH_MS) // BLOCK_MS
