"""What counts against the limit of new orders: new orders, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from order_engine.domain.errors import IdempotencyConflict, InvalidInput, TooManyOpenOrders
from order_engine.domain.order import OrderRequest
from order_engine.engine import accept
from order_engine.engine.accept import Accept, Accepted
from order_engine.engine.observer import Silent
from order_engine.engine.place import Place
from order_engine.engine.rates import Meter, Rate, RateLimited
from tests.fakes.accounts import FakeRateLimiter
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.support.clock import StandingClock
from tests.support.orders import LIMIT, MARKET, T0

ORDERS, READS = Rate(60, 3), Rate(600, 10, "reads")


class _World:
    def __init__(self) -> None:
        self.clock, self.limiter, self.orders = StandingClock(T0), FakeRateLimiter(), FakeOrders()
        place = Place(self.orders, FakeQueue(self.clock.now_ms), self.clock, Silent())
        # Units are bought one by one, so that what was spent can be seen.
        self._accept = Accept(place, self.limiter, Meter(self.limiter, most=1), self.clock)

    async def post(self, request: OrderRequest = MARKET, key: str | None = None, max_open: int = 10) -> Accepted:
        return await self._accept("user", request, key, rate=ORDERS, reads=READS, max_open=max_open)

    def counted(self) -> tuple[int, int]:
        """New orders, and units of reads."""
        return self.limiter.charged["user", "orders"], self.limiter.charged["user", "reads"]


async def test_a_new_order_is_counted_and_told_what_is_left() -> None:
    world = _World()
    accepted = await world.post()
    assert not accepted.replayed
    assert accepted.allowance is not None
    assert accepted.allowance.remaining == 2
    assert world.counted() == (1, 0)


async def test_a_market_with_a_ceiling_refuses_more_slippage() -> None:
    world = _World()
    world._accept = replace(world._accept, max_slippage_bps=MARKET.slippage_bps)
    await world.post()
    with pytest.raises(InvalidInput, match="at most on this market") as refused:
        await world.post(replace(MARKET, slippage_bps=MARKET.slippage_bps + 1))
    assert refused.value.field == "slippageBps"
    assert world.counted() == (1, 0)


async def test_a_replay_is_a_read_and_no_order() -> None:
    world = _World()
    first = await world.post(key="once")
    again = await world.post(key="once")
    assert (again.replayed, again.allowance, again.order) == (True, None, first.order)
    assert world.counted() == (1, 1)


async def test_what_is_refused_by_what_is_stored_is_given_back() -> None:
    world = _World()
    await world.post(key="once")
    with pytest.raises(IdempotencyConflict):
        await world.post(replace(MARKET, amount_in=MARKET.amount_in + 1), key="once")
    assert world.counted() == (1, 1)
    with pytest.raises(TooManyOpenOrders):
        await world.post(replace(LIMIT, expires_at=None), max_open=0)
    assert world.counted() == (1, 4)


async def test_beyond_the_limit_only_a_replay_is_answered() -> None:
    world = _World()
    first = await world.post(key="once")
    for _ in range(2):
        await world.post()
    with pytest.raises(RateLimited):
        await world.post()
    assert (await world.post(key="once")).order == first.order
    assert len(world.orders.stored) == 3
    assert world.counted() == (3, 1)


async def test_what_has_expired_since_is_still_a_replay_and_never_a_new_order() -> None:
    world = _World()
    request = replace(LIMIT, expires_at=T0 + 1000)
    first = await world.post(request, key="once")
    world.clock.now += 1000
    assert (await world.post(request, key="once")).order == first.order
    with pytest.raises(InvalidInput):
        await world.post(request)
    assert world.counted() == (1, 1)


async def test_a_flood_of_replays_is_counted_before_anything_is_done_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was an order counted, refused by the table and given back before its read was counted: three writes."""
    world, done = _World(), Counter[str]()
    for store, names in ((world.orders, ("create", "get")), (world.limiter, ("admit", "give_back"))):
        for name in names:
            monkeypatch.setattr(store, name, _noted(getattr(store, name), name, done))
    first = await world.post(key="once")
    answers: Counter[str] = Counter()
    for n in range(200):
        body = MARKET if n % 2 else replace(MARKET, amount_in=MARKET.amount_in + 1)
        try:
            answers["same" if (await world.post(body, key="once")).order == first.order else "other"] += 1
        except (IdempotencyConflict, RateLimited) as refused:
            answers[refused.code] += 1
    assert answers == {"same": 5, "idempotency_conflict": 5, "rate_limited": 190}
    # Ten reads, each bought by a write; from then on nothing leaves this process.
    assert done == {"admit": 1 + 10, "create": 1, "get": 10}
    assert world.counted() == (1, 10)


def _noted[**P, R](call: Callable[P, R], name: str, done: Counter[str]) -> Callable[P, R]:
    def noted(*arguments: P.args, **named: P.kwargs) -> R:
        done[name] += 1
        return call(*arguments, **named)

    return noted


async def test_what_is_known_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "_REMEMBERED", 2)
    world = _World()
    firsts = [await world.post(key=f"{n}") for n in range(3)]
    assert len(world._accept._known) <= 2
    assert [(await world.post(key=f"{n}")).order for n in range(3)] == [first.order for first in firsts]
