"""An engine of which a test has only some parts: whatever else it touches fails loudly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from order_engine.compose import Engine, Stores, compose
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Clock
from order_engine.settings import Settings
from order_engine.venues.markets import Market

_NOTHING = SimpleNamespace()


def engine_with(
    *, clock: Clock | None = None, settings: Settings | None = None, market: Any = _NOTHING, **stores: Any
) -> Engine:
    """An engine with these stores, by name. Its use cases can be replaced by setting them."""
    return compose(
        settings or Settings(),
        clock=cast(Clock, clock),
        market=cast(Market, market),
        stores=cast(Stores, SimpleNamespace(**stores)),
        observer=Silent(),
    )
