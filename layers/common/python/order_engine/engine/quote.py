"""What an order would get now."""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain.quote import Decision
from order_engine.domain.tokens import Token
from order_engine.engine.routing.router import Router


@dataclass(frozen=True, slots=True)
class Quote:
    """The use case: the very route that an order would take."""

    router: Router

    async def __call__(self, token_in: Token, token_out: Token, amount_in: int) -> Decision:
        """The decision on an amount in base units.

        Raises:
            AttemptFailed: an order would fail so.
        """
        return await self.router.route(token_in, token_out, amount_in)
