"""Whether a pool keeps what its quote promises: a simulation is held against it.

Between the quote and the simulation others may have traded. So a pool that gives less is read again: where its new
quote is less too, the market has moved; where it is not, the engine does not understand this pool (a fee that is not
modelled, bytes of another layout). One such moment may yet be chance, or somebody's doing: a price that goes down and
up again between the readings looks the same. So the pool is left out, for a while and for everybody, only if it is
found so twice, at different slots, and by more than what an order may ask for to the last unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.amounts import BPS
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.solana.accounts import held, is_frozen
from order_engine.venues.solana.addresses import token_account
from order_engine.venues.solana.build import PlannedSwap
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.programs.program import LivePool
from order_engine.venues.solana.refusals import AGAINST_THE_POOL, FROZEN, FUNDS, MOVED, REFUSED, SLIPPAGE, Refusal
from order_engine.venues.solana.rehearse import Rehearsal
from order_engine.venues.transfer_fee import TransferFeePool

# A pool may give so much less than its quote, basis points, before anybody looks again.
TOLERANCE_BPS = 10


@dataclass(frozen=True, slots=True)
class Suspect:
    """A pool that would not give what it was quoted for.

    Attributes:
        gave: base units; None where all that is known is that it is less than the swap's minimum, or nothing.
    """

    swap: PlannedSwap
    gave: int | None

    def explained_by(self, live: LivePool) -> bool:
        """Whether the pool as it is now gives as little, so that its quote only was too old."""
        try:
            now = live.pool.quote(self.swap.leg.mint_in, self.swap.leg.amount_in)
        except QuoteRefused:
            return True
        return not _short(self.swap.min_out if self.gave is None else self.gave, now)


@dataclass(frozen=True, slots=True)
class Accusation:
    """What speaks against a pool, under which code of the catalogue."""

    pool: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated.

    Attributes:
        first: which of the instructions is the first swap; the others follow it.
        pools: as the quotes were made with.
    """

    wallet: str
    first: int
    swaps: Sequence[PlannedSwap]
    pools: Mapping[str, LivePool]

    def swap_of(self, why: Refusal | None) -> PlannedSwap | None:
        """The swap that a refusal is about; None where it is about none."""
        place = -1 if why is None or why.call is None else why.call - self.first
        return self.swaps[place] if 0 <= place < len(self.swaps) else None

    def account(self, swap: PlannedSwap, mint: str) -> str:
        """The wallet's account of one of a swap's tokens."""
        accounts = self.pools[swap.leg.pool_id].accounts
        return token_account(self.wallet, mint, accounts.token_programs[accounts.mints.index(mint)])


async def blame(node: Node, case: Case, why: Refusal | None) -> Refusal | None:
    """Why a swap is refused, where a frozen or an empty account may be the wallet's or the pool's.

    The token program does not say whose account it was. So the wallet's own are looked at: only if one of them is
    frozen, or holds too little, is it the wallet's matter, which no other route mends.

    Raises:
        NodeUnavailable, NodeRefused: the node does not tell.
    """
    swap = case.swap_of(why)
    if why is None or swap is None or why.code not in (FUNDS, FROZEN):
        return why
    sold, bought = (case.account(swap, mint) for mint in (swap.leg.mint_in, swap.leg.mint_out))
    _, found = await node.accounts([sold, bought])
    if why.code == FROZEN and any(is_frozen(account) for account in found.values()):
        return why
    spent = sum(each.leg.amount_in for each in case.swaps if each.leg.mint_in == swap.leg.mint_in)
    arrives = any(each.leg.mint_out == swap.leg.mint_in for each in case.swaps)
    if why.code == FUNDS and not arrives and held(found[sold]) < spent:
        return why
    what = "frozen" if why.code == FROZEN else "short of what the swap needs"
    return Refusal(REFUSED, f"A token account of the pool is {what}.", why.call)


def suspect(case: Case, rehearsal: Rehearsal) -> Suspect | None:
    """The first pool whose swap does not keep its quote."""
    why = rehearsal.refusal
    if why is not None:
        swap = case.swap_of(why)
        if swap is None:
            return None
        # Where an order asks for its quote to the last units, the least move of the price refuses it.
        asks_for_less = _short(swap.min_out, swap.leg.amount_out)
        blamed = why.code in AGAINST_THE_POOL or (why.code in (SLIPPAGE, MOVED) and asks_for_less)
        return Suspect(swap, None) if blamed else None
    for place, swap in enumerate(case.swaps):
        gave = _received(case, rehearsal, case.first + place, swap)
        if gave is not None and _short(gave, swap.leg.amount_out):
            return Suspect(swap, gave)
    return None


def _short(gave: int, quoted: int) -> bool:
    return gave * BPS < quoted * (BPS - TOLERANCE_BPS)


def _received(case: Case, rehearsal: Rehearsal, call: int, swap: PlannedSwap) -> int | None:
    """Base units that a swap brings, less what the mint withholds; None where the node does not tell."""
    live = case.pools[swap.leg.pool_id]
    sent = rehearsal.sent.get((call, case.account(swap, swap.leg.mint_out)))
    if sent is None or not isinstance(live.pool, TransferFeePool):
        return sent
    return live.pool.transfer_fees[live.accounts.mints.index(swap.leg.mint_out)].after(sent)
