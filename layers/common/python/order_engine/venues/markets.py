"""The markets that an engine can trade on, by the name that the setting ``MARKET`` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from order_engine.settings import MARKETS, Settings
from order_engine.venues.paper.tokens import TOKENS

if TYPE_CHECKING:
    from order_engine.domain.token_list import TokenList
    from order_engine.engine.ports import Chain, Clock, Venue
    from order_engine.venues.paper.chain import PaperChain
    from order_engine.venues.paper.market import PaperMarket


class Market(Protocol):
    """Where orders are swapped.

    Attributes:
        venues: are asked for pools.
        chain: takes transactions and knows what became of them.
        tokens: what can be traded, each against each.
        lamports_per_leg: the priority fee that one swap is expected to cost.
    """

    @property
    def venues(self) -> Sequence[Venue]: ...

    @property
    def chain(self) -> Chain: ...

    @property
    def tokens(self) -> TokenList: ...

    @property
    def lamports_per_leg(self) -> int: ...


@dataclass(eq=False)
class Paper:
    """The simulated market, as it is set."""

    settings: Settings
    clock: Clock

    @property
    def tokens(self) -> TokenList:
        return TOKENS

    @property
    def lamports_per_leg(self) -> int:
        from order_engine.engine.routing.fee import LAMPORTS_PER_LEG

        return LAMPORTS_PER_LEG

    @cached_property
    def _pools(self) -> PaperMarket:
        from order_engine.venues.paper.market import PaperMarket

        return PaperMarket(self.settings.paper.market_seed)

    @cached_property
    def venues(self) -> Sequence[Venue]:
        from order_engine.domain.venues import VENUES
        from order_engine.engine.routing.breaker import GuardedVenue
        from order_engine.venues.paper.venue import PaperVenue

        delay, clock = self.settings.paper.quote_delay_ms, self.clock
        return tuple(GuardedVenue(PaperVenue(name, self._pools, clock, delay), clock) for name in VENUES)

    @cached_property
    def chain(self) -> PaperChain:
        from order_engine.venues.paper.chain import PaperChain

        given = self.settings.paper
        return PaperChain(self._pools, self.clock, given.landing_min_ms, given.landing_max_ms, given.failure_rate)


def _paper(settings: Settings, clock: Clock, note: Callable[[str], None], reveal: Callable[[str], str]) -> Market:
    return Paper(settings, clock)


def _solana(settings: Settings, clock: Clock, note: Callable[[str], None], reveal: Callable[[str], str]) -> Market:
    # Imported here: nobody else's start pays for it.
    from order_engine.venues.solana.market import Solana

    return Solana(settings.solana, clock, note, reveal)


_FACTORIES: Mapping[str, Callable[[Settings, Clock, Callable[[str], None], Callable[[str], str]], Market]] = {
    "paper": _paper,
    "solana": _solana,
}
assert set(_FACTORIES) == set(MARKETS)


def market_of(settings: Settings, clock: Clock, note: Callable[[str], None], reveal: Callable[[str], str]) -> Market:
    """The market that is set. Nothing of it is opened or asked before it is used.

    Args:
        note: is told, in a sentence, what the market leaves out.
        reveal: reads a secret by its name.
    """
    return _FACTORIES[settings.market](settings, clock, note, reveal)
