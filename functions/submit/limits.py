"""What a caller may ask for in a time, and the headers that say so."""

from __future__ import annotations

from collections.abc import Mapping

from order_engine.compose import Engine
from order_engine.engine.accounts import Identity
from order_engine.engine.rates import MAX_PER_MINUTE, Allowance, Rate, RateLimited
from order_engine.settings import Settings

# A route says what it costs, in units of one order's read. Dear is what asks venues, queues, or for many orders.
_ORDERS_PER_UNIT = 10


def listing(orders: int) -> int:
    """The units of a list that reads so many orders."""
    return 1 + -(-orders // _ORDERS_PER_UNIT)


def orders(engine: Engine, caller: Identity) -> Rate:
    """The caller's limit of new orders. A key with a rate of its own has a burst in the same proportion."""
    settings = engine.settings
    return _rate(settings, "orders", caller, settings.limits.orders_per_minute, settings.limits.orders_burst)


def reads(engine: Engine, caller: Identity) -> Rate:
    """The caller's limit of reads. Who may place more orders than others may read about more, and never about fewer."""
    return _reads(engine.settings, "reads", caller)


def open_orders(engine: Engine, caller: Identity) -> int:
    """How many limit orders that have not ended the caller's user may have."""
    return caller.max_open_orders or max(1, engine.settings.limits.open_orders_per_user)


def cancellations(engine: Engine, caller: Identity) -> Rate:
    """As many as reads, but counted apart: who has read too much can still cancel."""
    return _reads(engine.settings, "cancellations", caller)


def _reads(settings: Settings, name: str, caller: Identity) -> Rate:
    rate = _rate(settings, name, caller, settings.limits.reads_per_minute, settings.limits.reads_burst)
    default = Rate(max(1, settings.limits.reads_per_minute), max(1, settings.limits.reads_burst), name)
    return rate if rate.per_minute > default.per_minute else default


def _rate(settings: Settings, name: str, caller: Identity, per_minute: int, burst: int) -> Rate:
    default = max(1, settings.limits.orders_per_minute)
    own = caller.orders_per_minute or default
    return Rate(
        min(max(1, per_minute * own // default), MAX_PER_MINUTE),
        min(max(1, burst * own // default), MAX_PER_MINUTE),
        name,
        own=caller.orders_per_minute is not None,
    )


async def spend(engine: Engine, caller: Identity, rate: Rate, units: int) -> None:
    """Count a request that is not a new order, before anything is done for it.

    Raises:
        RateLimited: too many.
    """
    await engine.meter.spend(caller.user_id, rate, engine.clock.now_ms(), units=units)


def policy(rate: Rate) -> dict[str, str]:
    """RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers: a quota ``q``, whole again after ``w`` seconds."""
    return {"RateLimit-Policy": f'"{rate.name}";q={rate.burst};w={rate.window_s}'}


def state(rate: Rate, found: Allowance | RateLimited) -> Mapping[str, str]:
    """RateLimit of the same draft: ``r`` remain now, and in ``t`` seconds the whole quota is there again."""
    return {**policy(rate), "RateLimit": f'"{rate.name}";r={found.remaining};t={-(-found.full_after_ms // 1000)}'}
