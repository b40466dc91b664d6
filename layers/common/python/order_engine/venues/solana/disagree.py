"""Whether a pool keeps what its quote promises: a simulation is held against it.

Between the quote and the simulation others may have traded. So a pool that gives less is read again: where its new
quote is less too, the market has moved; where it is not, the engine does not understand this pool (a fee that is not
modelled, bytes of another layout), and the pool is left out for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.amounts import BPS
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.solana.addresses import token_account
from order_engine.venues.solana.build import PlannedSwap
from order_engine.venues.solana.programs.program import LivePool
from order_engine.venues.solana.refusals import AGAINST_THE_POOL, MOVED, SLIPPAGE
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
        return now < self.swap.min_out if self.gave is None else not _short(self.gave, now)


def suspect(
    rehearsal: Rehearsal, first: int, swaps: Sequence[PlannedSwap], pools: Mapping[str, LivePool], user: str
) -> Suspect | None:
    """The first pool whose swap does not keep its quote.

    Args:
        first: which of the rehearsed instructions is the first swap; the others follow it.
        pools: as the quotes were made with.
    """
    why = rehearsal.refusal
    if why is not None:
        place = -1 if why.call is None else why.call - first
        blamed = why.code in AGAINST_THE_POOL or why.code in (SLIPPAGE, MOVED)
        return Suspect(swaps[place], None) if blamed and 0 <= place < len(swaps) else None
    for place, swap in enumerate(swaps):
        gave = _received(rehearsal, first + place, swap, pools[swap.leg.pool_id], user)
        if gave is not None and _short(gave, swap.leg.amount_out):
            return Suspect(swap, gave)
    return None


def _short(gave: int, quoted: int) -> bool:
    return gave * BPS < quoted * (BPS - TOLERANCE_BPS)


def _received(rehearsal: Rehearsal, call: int, swap: PlannedSwap, live: LivePool, user: str) -> int | None:
    """Base units that a swap brings, less what the mint withholds; None where the node does not tell."""
    side = live.accounts.mints.index(swap.leg.mint_out)
    account = token_account(user, swap.leg.mint_out, live.accounts.token_programs[side])
    sent = rehearsal.sent.get((call, account))
    if sent is None or not isinstance(live.pool, TransferFeePool):
        return sent
    return live.pool.transfer_fees[side].after(sent)
