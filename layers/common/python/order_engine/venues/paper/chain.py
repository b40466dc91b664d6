"""The paper chain: the port over the paper market.

The chain keeps no state, so that every worker process sees the same chain: all that will become of a transaction
follows from its bytes, the seed and the time. It therefore lands after its delay whether or not it was broadcast,
and its fill does not move the market.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from order_engine.domain import base58
from order_engine.domain.errors import BuildFailed, QuoteRefused
from order_engine.domain.order import Order, SignedTransaction
from order_engine.domain.quote import Leg
from order_engine.engine.ports import Clock, Height, Known, Swapped, TransactionStatus
from order_engine.venues.paper.market import PaperMarket

# 2020-03-16T14:29:00Z, Solana's genesis; one block each 400 ms since.
GENESIS_MS = 1_584_368_940_000
BLOCK_MS = 400
# How many blocks a transaction stays valid, as on Solana.
VALID_BLOCKS = 150

# What a transaction may land with for no economic reason.
_MISFORTUNES = (
    "transaction_failed: The program exceeded its compute budget.",
    "transaction_failed: A pool account was changed by an earlier transaction of the block.",
    "transaction_failed: The fee payer cannot pay the rent of a new token account.",
    "transaction_failed: The pool's oracle price is stale (custom program error 0x1786).",
)


@dataclass(frozen=True, slots=True)
class _Swap:
    """What a paper transaction says. Times in milliseconds, amounts in base units."""

    order_id: str
    attempt: int
    nonce: str
    built_at: int
    min_out: int
    mint_in: str
    mint_out: str
    legs: tuple[Leg, ...]

    def encode(self) -> bytes:
        legs = [[x.venue, x.pool_id, x.mint_in, x.mint_out, x.amount_in, x.amount_out] for x in self.legs]
        content = {
            "order": self.order_id,
            "attempt": self.attempt,
            "nonce": self.nonce,
            "built": self.built_at,
            "min": self.min_out,
            "in": self.mint_in,
            "out": self.mint_out,
            "legs": legs,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse of ``encode``.

        Raises:
            ValueError: these bytes say something else.
        """
        try:
            said = json.loads(data)
            legs = tuple(Leg(str(v), str(p), str(i), str(o), int(a), int(b)) for v, p, i, o, a, b in said["legs"])
            return cls(
                str(said["order"]),
                int(said["attempt"]),
                str(said["nonce"]),
                int(said["built"]),
                int(said["min"]),
                str(said["in"]),
                str(said["out"]),
                legs,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("These bytes are no paper transaction.") from error


class PaperChain:
    """The chain of the paper market. Implements ``ports.Chain``.

    Args:
        landing_min_ms, landing_max_ms: how long after it was built a transaction lands.
        failure_rate: the share, 0 to 1, that lands with an error for no economic reason.
    """

    def __init__(
        self, market: PaperMarket, clock: Clock, landing_min_ms: int, landing_max_ms: int, failure_rate: float
    ) -> None:
        self._market = market
        self._clock = clock
        self._min_ms = landing_min_ms
        self._max_ms = landing_max_ms
        self._failure_rate = failure_rate

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        """Build the swap of the order's chosen route. Two builds never give the same signature.

        Raises:
            BuildFailed: the order has no route.
        """
        routed = order.routed
        if routed is None:
            raise BuildFailed("The order has no route to build.")
        now = self._clock.now_ms()
        swap = _Swap(
            order.ref.order_id,
            order.attempts,
            secrets.token_hex(8),
            now,
            min_out,
            order.request.mint_in,
            order.request.mint_out,
            routed.decision.chosen.legs,
        )
        data = swap.encode()
        # It may never land after its expiry, however slow the landing is set to be.
        blocks = max(VALID_BLOCKS, self._max_ms // BLOCK_MS + 2)
        return SignedTransaction(
            base58.encode(hashlib.sha512(data).digest()), base64.b64encode(data).decode(), _height(now) + blocks
        )

    async def broadcast(self, tx: SignedTransaction) -> None:
        """Accept the bytes, any number of times.

        Raises:
            ValueError: the bytes or the signature were tampered with.
        """
        _open(tx)

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        """What became of a transaction: unknown before it lands. ``search_history`` makes no difference here.

        Raises:
            ValueError: the bytes or the signature were tampered with.
        """
        swap = _open(tx)
        return Known(_height(self._clock.now_ms()), self._landed(swap, tx.signature))

    def _landed(self, swap: _Swap, signature: str) -> TransactionStatus | None:
        dice = hashlib.sha256(f"{self._market.seed}/{signature}".encode()).digest()
        delay = self._min_ms + int.from_bytes(dice[:8]) % (self._max_ms - self._min_ms + 1)
        lands_at = swap.built_at + delay
        if self._clock.now_ms() < lands_at:
            return None
        slot = _height(lands_at)
        # 53 bits make an exact float below one: a rate of 1 fails always, a rate of 0 never.
        if (int.from_bytes(dice[8:16]) >> 11) / (1 << 53) < self._failure_rate:
            return TransactionStatus(slot, None, _MISFORTUNES[dice[16] % len(_MISFORTUNES)])
        try:
            amount_out = fill(self._market, swap.legs, swap.mint_in, swap.mint_out, lands_at)
        except QuoteRefused as refused:
            return TransactionStatus(slot, None, f"InsufficientLiquidity: {refused.message}")
        if amount_out < swap.min_out:
            return TransactionStatus(
                slot,
                None,
                f"slippage_tolerance_exceeded: The swap would have given {amount_out} base units, "
                f"at least {swap.min_out} were asked for.",
            )
        return TransactionStatus(slot, amount_out)

    async def height(self) -> Height:
        """Implements ``Chain.height``: here every slot has its block."""
        now = _height(self._clock.now_ms())
        return Height(now, now)

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        """None: nothing is shared between those who look at this chain, so it has no ledger."""
        return ()


def fill(market: PaperMarket, legs: Sequence[Leg], mint_in: str, mint_out: str, at_ms: int) -> int:
    """Run all legs against the market at a time, all or none: base units of ``mint_out``.

    A leg out of an intermediate token takes its planned share of what really arrived there, the last one all that
    is left.

    Raises:
        QuoteRefused: a pool cannot fill its leg, or is gone.
    """
    planned: dict[str, int] = {}
    for leg in legs:
        planned[leg.mint_in] = planned.get(leg.mint_in, 0) + leg.amount_in
    held = {mint_in: planned.get(mint_in, 0)}
    for leg in legs:
        pool = market.pool(leg.pool_id, at_ms)
        if pool is None or {leg.mint_in, leg.mint_out} != set(pool.mints):
            raise QuoteRefused("A pool of the route does not exist.")
        have, still = held.get(leg.mint_in, 0), planned[leg.mint_in]
        amount = have if leg.amount_in == still else have * leg.amount_in // still
        held[leg.mint_in] = have - amount
        planned[leg.mint_in] = still - leg.amount_in
        if amount <= 0:
            raise QuoteRefused("Nothing arrived for a leg of the route.")
        held[leg.mint_out] = held.get(leg.mint_out, 0) + pool.quote(leg.mint_in, amount)
    return held.get(mint_out, 0)


def _height(at_ms: int) -> int:
    return (at_ms - GENESIS_MS) // BLOCK_MS


def _open(tx: SignedTransaction) -> _Swap:
    """Check the signature and read the bytes.

    Raises:
        ValueError: either is not as it was built.
    """
    try:
        data = base64.b64decode(tx.raw, validate=True)
    except binascii.Error as error:
        raise ValueError("The transaction is not base64.") from error
    if base58.encode(hashlib.sha512(data).digest()) != tx.signature:
        raise ValueError("The signature does not belong to the transaction.")
    return _Swap.decode(data)
