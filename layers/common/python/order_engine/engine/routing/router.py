"""From a pair and an amount to a decision: ask the venues, then decide. Whoever routes anything goes this way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from order_engine.domain.quote import Decision, LeftOut, Pool
from order_engine.domain.tokens import Token
from order_engine.engine.ports import Clock, Venue
from order_engine.engine.routing import decide as routing
from order_engine.engine.routing.fee import LAMPORTS_PER_LEG
from order_engine.engine.routing.gather import gather_pools


class Decide(Protocol):
    """What ``routing.decide.decide`` is, for a router to be given another."""

    def __call__(
        self,
        pools: Sequence[Pool],
        *,
        mint_in: str,
        mint_out: str,
        amount_in: int,
        left_out: Sequence[LeftOut] = (),
        max_price_impact_bps: int,
        lamports_per_leg: int = LAMPORTS_PER_LEG,
        tokens: Sequence[Token] = (),
        most_legs: int | None = None,
    ) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """A pair's pools at one moment, and who gave none and why."""

    pools: Sequence[Pool]
    left_out: Sequence[LeftOut]


@dataclass(slots=True)
class Router:
    """Routes over some venues.

    Attributes:
        deadline_ms: a venue that is later is left out.
        max_price_impact_bps: a route that moves the price more is refused.
        lamports_per_leg: the priority fee of one swap.
        decide: chooses among what was gathered.
    """

    venues: Sequence[Venue]
    clock: Clock
    deadline_ms: int = 1500
    max_price_impact_bps: int = 1000
    lamports_per_leg: int = LAMPORTS_PER_LEG
    decide: Decide = routing.decide

    async def gather(self, mint_in: str, mint_out: str) -> Gathered:
        """The pools that a trade of the pair may go through, from all venues at once. Raises nothing of theirs."""
        found = await gather_pools(self.venues, mint_in, mint_out, deadline_ms=self.deadline_ms, clock=self.clock)
        return Gathered(*found)

    def choose(
        self, gathered: Gathered, token_in: Token, token_out: Token, amount_in: int, *, most_legs: int | None = None
    ) -> Decision:
        """The best way to fill an amount (base units) through pools that were gathered for the pair.

        Args:
            most_legs: see ``decide``.

        Raises:
            AttemptFailed: there is none, or none that is allowed.
        """
        return self.decide(
            gathered.pools,
            mint_in=token_in.mint,
            mint_out=token_out.mint,
            amount_in=amount_in,
            left_out=gathered.left_out,
            max_price_impact_bps=self.max_price_impact_bps,
            lamports_per_leg=self.lamports_per_leg,
            tokens=(token_in, token_out),
            most_legs=most_legs,
        )

    async def route(
        self, token_in: Token, token_out: Token, amount_in: int, *, most_legs: int | None = None
    ) -> Decision:
        """The best way to fill an amount (base units) now.

        Args:
            most_legs: see ``decide``.

        Raises:
            AttemptFailed: there is none, or none that is allowed.
        """
        gathered = await self.gather(token_in.mint, token_out.mint)
        return self.choose(gathered, token_in, token_out, amount_in, most_legs=most_legs)
