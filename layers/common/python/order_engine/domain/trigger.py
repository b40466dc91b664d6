"""What sets an order going. All that the engine has to know of an order's type is its trigger.

An order of another type is another trigger here, its data in ``OrderRequest`` and on the wire, and its tests: placing,
resting, sweeping, firing, retrying and counting ask the trigger.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from order_engine.domain.amounts import limit_min_out
from order_engine.domain.tokens import Token


class Trigger(Protocol):
    """When an order may be executed, and for how much at least."""

    @property
    def rests(self) -> bool:
        """Whether the order waits, and goes back to waiting when it has missed its price; else it is due at once."""

    @property
    def price(self) -> Decimal | None:
        """Under which price it rests in its pair's index (whole output per whole input); None where it never rests.

        The market has crossed it where the pair's best marginal price is at or above it.
        """

    @property
    def floor(self) -> int:
        """The least output for the whole amount, base units, whatever the slippage tolerance; 0 for none."""

    def met_by(self, output: int | None) -> bool:
        """Whether an order that would get ``output`` base units for its full size, or nothing, may be executed."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """A market order's: whatever the price."""

    rests: bool = False
    price: Decimal | None = None
    floor: int = 0

    def met_by(self, output: int | None) -> bool:
        return output is not None


@dataclass(frozen=True, slots=True)
class AtLimit:
    """A limit order's: its price or a better one, at its full size and after fees."""

    price: Decimal
    floor: int
    rests: bool = True

    @classmethod
    def of(cls, amount_in: int, price: Decimal, token_in: Token, token_out: Token) -> AtLimit:
        """Of an amount in base units and a price in whole tokens."""
        return cls(price, limit_min_out(amount_in, price, token_in, token_out))

    def met_by(self, output: int | None) -> bool:
        return output is not None and output >= self.floor
