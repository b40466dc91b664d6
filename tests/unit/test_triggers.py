"""Which resting orders fire, and that none stands in the way of another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_engine.clock import SystemClock
from order_engine.domain import lifecycle
from order_engine.domain.errors import AttemptFailed
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.domain.quote import Pool
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import JUP, RAY, SOL, USDC, Token
from order_engine.engine.observer import Silent
from order_engine.engine.rounds import Rounds
from order_engine.engine.routing import decide as routing
from order_engine.engine.routing.router import Gathered, Router
from order_engine.engine.sweep import STRANDED_MS, Sweep
from order_engine.engine.triggers import (
    MAX_ENTRIES,
    MAX_LOOKS,
    MAX_PAIRS,
    MAX_SECOND_LOOKS,
    Triggers,
    best_output,
    best_price,
)
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.raydium.cpmm import CpmmPool
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.support.clock import StandingClock
from tests.support.orders import LIMIT, MARKET, T0

# 1000 SOL against 150,000 USDC, with a fee of 25 basis points.
POOL = CpmmPool("pool", (SOL.mint, USDC.mint), (1_000 * SOL.unit, 150_000 * USDC.unit), 2_500, 0, 0)
BEAT_MS = 2_000


@dataclass(slots=True)
class _Venue:
    """A venue of one pool for SOL and USDC, which tests exchange."""

    pool: CpmmPool = POOL
    name: str = "raydium"

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        return [self.pool] if {mint_in, mint_out} == set(self.pool.mints) else []


class _Counting(FakeOrders):
    """Counts what the triggers read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = self.reads = self.writes = 0

    async def crossed(self, *pair: Any, **bounds: Any) -> Any:
        listing = await super().crossed(*pair, **bounds)
        self.entries += len(listing.entries)
        return listing

    async def get_many(self, refs: Sequence[OrderRef]) -> Any:
        self.reads += len(refs)
        return await super().get_many(refs)

    async def replace(self, old: Order, new: Order) -> None:
        self.writes += 1
        await super().replace(old, new)


@dataclass(slots=True)
class _World:
    """The triggers over fakes; time stands while they work."""

    clock: StandingClock = field(default_factory=lambda: StandingClock(T0))
    orders: _Counting = field(default_factory=_Counting)
    venue: _Venue = field(default_factory=_Venue)
    triggers: Triggers = field(init=False)
    queue: FakeQueue = field(init=False)

    def __post_init__(self) -> None:
        self.queue = FakeQueue(self.clock.now_ms)
        router = Router((self.venue,), self.clock)
        self.triggers = Triggers(self.orders, self.queue, router, self.clock, Silent(), lambda: TOKENS)

    def rest(self, user: str, name: str, price: str, amount: int = SOL.unit, **more: Any) -> OrderRef:
        """A limit order in the table, past the API and its bounds."""
        request = replace(LIMIT, limit_price=Decimal(price), amount_in=amount, expires_at=None, **more)
        order = lifecycle.place(OrderRef(user, name), request, "print", T0)
        asyncio.run(self.orders.create(order))
        return order.ref

    def status(self, ref: OrderRef) -> Status:
        return self.orders.stored[ref].status

    async def beat(self) -> int:
        self.clock.now += BEAT_MS
        return await self.triggers.beat(self.clock.now + BEAT_MS)

    def beats(self, number: int) -> list[int]:
        """How many orders fired in each of so many beats."""

        async def run() -> list[int]:
            await self.triggers.find_pairs()
            return [await self.beat() for _ in range(number)]

        return asyncio.run(run())

    def queued(self) -> int:
        return len(self.queue.messages)


def unfillable(
    world: _World, number: int, users: int = 1, *, price: str = "0.000000001", name: str = "junk"
) -> list[OrderRef]:
    """Orders far larger than the pool at a price that the market has met long ago, each a little different."""
    amount = 9_000_000_000 * SOL.unit
    return [
        world.rest(
            f"attacker{n % users}", f"{name}{n:05}", format(Decimal(price) + Decimal(n) / 10**15, "f"), amount + n
        )
        for n in range(number)
    ]


async def test_a_long_list_of_tokens_is_asked_about_in_turns_and_no_pair_is_forgotten() -> None:
    class Asked(FakeOrders):
        pairs: ClassVar[list[tuple[str, str]]] = []

        async def rests(self, mint_in: str, mint_out: str) -> bool:
            self.pairs.append((mint_in, mint_out))
            return await super().rests(mint_in, mint_out)

    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    tokens = TokenList(tuple(Token(f"T{n}", letters[n] * 40, 6) for n in range(20)))
    orders, clock = Asked(), StandingClock(T0)
    resting = {(tokens.tokens[a].mint, tokens.tokens[b].mint) for a, b in ((0, 1), (7, 3), (19, 18))}
    for n, (source, target) in enumerate(sorted(resting)):
        pair = tokens.named(source), tokens.named(target)
        request = replace(LIMIT, token_in=pair[0], token_out=pair[1], expires_at=None)
        await orders.create(lifecycle.place(OrderRef("user", f"o{n}"), request, "f", T0))
    triggers = Triggers(orders, FakeQueue(clock.now_ms), Router((), clock), clock, Silent(), lambda: tokens)
    for _ in range(4):
        asked = len(orders.pairs)
        await triggers.find_pairs()
        assert 0 < len(orders.pairs) - asked <= MAX_PAIRS
    assert set(triggers._pairs) == resting
    assert len(set(orders.pairs)) == 20 * 19
    # One that rests no more is forgotten when its turn comes again.
    for order in list(orders.stored.values()):
        await orders.replace(order, lifecycle.cancel(order, T0 + 1))
    for _ in range(4):
        await triggers.find_pairs()
    assert triggers._pairs == []


# --- what fires --------------------------------------------------------------------------------------------------


def test_the_best_marginal_price_of_the_pair_counts() -> None:
    dearer = replace(POOL, pool_id="dearer", reserves=(1_000 * SOL.unit, 151_000 * USDC.unit))
    other = replace(POOL, pool_id="other", mints=(SOL.mint, "another"), reserves=(1, 10**18))
    assert best_price([POOL, dearer, other], SOL, USDC) == 151
    assert best_price([other], SOL, USDC) is None


def test_a_path_counts_where_no_pool_trades_the_pair_and_where_it_is_the_better_way() -> None:
    """No way gives more per token than the best marginal price of a pool or of a path over two."""
    into = CpmmPool("into", (JUP.mint, SOL.mint), (200_000 * JUP.unit, 1_000 * SOL.unit), 2_500, 0, 0)
    out_of = CpmmPool("out of", (SOL.mint, RAY.mint), (1_000 * SOL.unit, 50_000 * RAY.unit), 2_500, 0, 0)
    worse = replace(out_of, pool_id="worse", reserves=(1_000 * SOL.unit, 40_000 * RAY.unit))
    direct = CpmmPool("direct", (JUP.mint, RAY.mint), (1_000 * JUP.unit, 200 * RAY.unit), 2_500, 0, 0)
    assert best_price([worse, into, out_of], JUP, RAY) == Decimal("0.25")
    assert best_price([direct, worse, into, out_of], JUP, RAY) == Decimal("0.25")
    assert best_price([direct, worse, into], JUP, RAY) == Decimal("0.2")
    assert best_price([into], JUP, RAY) is None


def test_a_pool_that_has_no_price_hides_no_other() -> None:
    class Broken(CpmmPool):
        def spot(self, mint_in: str) -> tuple[int, int]:
            return 1, 0

    broken = Broken("broken", POOL.mints, POOL.reserves, 2_500, 0, 0)
    assert best_price([broken, POOL], SOL, USDC) == best_price([POOL], SOL, USDC)
    assert best_price([broken], SOL, USDC) is None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5_000), st.decimals(140, 155, places=3))
def test_an_order_fires_exactly_when_its_whole_amount_would_get_its_limit(tokens: int, price: Decimal) -> None:
    world = _World()
    world.triggers.router.max_price_impact_bps = 10_000
    ref = world.rest("user", "order", str(price), tokens * SOL.unit)
    met = POOL.quote(SOL.mint, tokens * SOL.unit) >= tokens * price * USDC.unit
    assert world.beats(1) == [int(met)]
    assert (world.status(ref), world.queued()) == ((Status.PENDING, 1) if met else (Status.OPEN, 0))


def test_an_order_rests_while_no_venue_answers_or_the_impact_is_too_high() -> None:
    cheap = replace(LIMIT, limit_price=Decimal(1))
    router, pools = Router((), StandingClock()), Gathered([POOL], ())
    assert best_output(cheap, router, pools) is not None
    assert best_output(cheap, router, Gathered([], ())) is None
    assert best_output(replace(cheap, amount_in=2_000 * SOL.unit), router, pools) is None


def test_an_order_past_its_time_limit_does_not_fire() -> None:
    world = _World()
    order = lifecycle.place(OrderRef("user", "late"), replace(LIMIT, limit_price=Decimal(1)), "print", T0)
    asyncio.run(world.orders.create(order))
    world.clock.now = (order.request.expires_at or 0) - BEAT_MS
    assert world.beats(1) == [0]
    world.clock.now -= BEAT_MS + 1
    assert world.beats(1) == [1]


def test_an_order_that_missed_its_limit_at_the_worker_rests_a_while() -> None:
    world = _World()
    ref = world.rest("user", "order", "1")
    resting = world.orders.stored[ref]
    world.orders.stored[ref] = replace(resting, retry_at=T0 + BEAT_MS + 1)
    assert world.beats(2) == [0, 1]


# --- nobody stands in the way ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "price",
    [
        pytest.param("0.0000000001", marks=pytest.mark.long, id="in front"),
        pytest.param("50", marks=pytest.mark.long, id="in the middle"),
        pytest.param("149", id="behind"),
    ],
)
def test_a_neighbours_order_fires_within_two_beats_beside_ten_thousand_that_cannot_be_filled(price: str) -> None:
    world = _World()
    # Some below the neighbour's price, some above it, all met by the market.
    unfillable(world, 5_000, price="0.000000001")
    unfillable(world, 5_000, price="149.5", name="dear")
    neighbour = world.rest("neighbour", "order", price)
    assert sum(world.beats(2)) == 1
    assert world.status(neighbour) is Status.PENDING


def test_it_fires_within_two_beats_also_when_it_comes_while_the_others_are_being_looked_at() -> None:
    world = _World()
    unfillable(world, 10_000)
    world.beats(3)
    neighbour = world.rest("neighbour", "order", "0.0000000001")
    world.beats(2)
    assert world.status(neighbour) is Status.PENDING


def test_many_users_with_the_most_orders_each_delay_nobody_by_more_than_one_round() -> None:
    world = _World()
    unfillable(world, 50 * 200, users=50)
    neighbours = [world.rest(f"neighbour{n}", "order", "149") for n in range(5)]
    world.beats(2)
    assert {world.status(ref) for ref in neighbours} == {Status.PENDING}


def test_orders_that_cannot_be_read_stand_in_nobodys_way() -> None:
    world = _World()
    world.orders.corrupt |= {world.rest("user", f"spoilt{n:03}", "1") for n in range(300)}
    good = world.rest("user", "zgood", "149")
    world.beats(3)
    assert world.status(good) is Status.PENDING


def test_a_beat_has_bounds_however_many_orders_there_are() -> None:
    world = _World()
    unfillable(world, 7_500)
    world.orders.entries = world.orders.reads = world.orders.writes = 0
    world.beats(1)
    assert world.orders.entries <= MAX_ENTRIES
    assert world.orders.reads <= MAX_LOOKS
    assert world.orders.writes <= MAX_LOOKS


def test_a_beat_stops_when_its_time_is_over_and_the_next_goes_on() -> None:
    world, decide = _World(), routing.decide

    def slow(*arguments: Any, **named: Any) -> Any:
        world.clock.now += 100
        return decide(*arguments, **named)

    world.triggers.router.decide = slow
    refs = unfillable(world, 60)
    began = world.clock.now
    world.beats(1)
    assert world.clock.now - began <= 2 * BEAT_MS
    looked_at = [ref for ref in refs if world.orders.stored[ref].aside is not None]
    assert 10 <= len(looked_at) <= 20
    world.beats(3)
    assert all(world.orders.stored[ref].aside is not None for ref in refs)


def test_somebody_has_a_turn_in_every_beat_however_slow_the_table_is() -> None:
    world = _World()
    crossed = world.orders.crossed

    async def slow(*pair: Any, **bounds: Any) -> Any:
        world.clock.now += 10 * BEAT_MS
        return await crossed(*pair, **bounds)

    world.orders.crossed = slow  # type: ignore[method-assign]
    unfillable(world, 500)
    neighbour = world.rest("neighbour", "order", "149")
    world.beats(4)
    assert world.status(neighbour) is Status.PENDING


def test_equal_amounts_are_decided_once() -> None:
    world, decided, decide = _World(), [], routing.decide

    def counted(*arguments: Any, **named: Any) -> Any:
        decided.append(named["amount_in"])
        return decide(*arguments, **named)

    world.triggers.router.decide = counted
    for number in range(50):
        world.rest(f"user{number % 3}", f"order{number}", f"1{number:02}")
    world.beats(1)
    assert decided == [SOL.unit]


# --- what is set aside comes back --------------------------------------------------------------------------------


def moved(pool: CpmmPool, price: Decimal) -> CpmmPool:
    """The pool as deep as before, at another price of SOL in USDC."""
    sol, _ = pool.reserves
    return replace(pool, reserves=(sol, int(sol * price * USDC.unit / SOL.unit)))


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 90), st.decimals(100, 149, places=2))
def test_what_misses_its_limit_at_its_full_size_fires_when_the_price_has_come_that_makes_up_for_it(
    tokens: int, limit: Decimal
) -> None:
    world = _World()
    amount = tokens * SOL.unit
    ref = world.rest("user", "order", str(limit), amount)
    # The limit is met by the marginal price, and missed after fees and impact.
    world.venue.pool = moved(POOL, limit * Decimal("1.0001"))
    assert world.beats(1) == [0]
    order = world.orders.stored[ref]
    assert order.aside is not None
    assert order.aside > limit
    # Aside means that it costs nothing while the price stays below.
    world.orders.entries = 0
    assert world.beats(1) == [0]
    assert world.orders.entries == 0
    world.venue.pool = moved(POOL, order.aside * Decimal("1.000001"))
    assert world.beats(1) == [1]
    fired = world.orders.stored[ref]
    assert (fired.status, fired.aside) == (Status.PENDING, None)


def test_what_no_pool_could_take_fires_when_liquidity_comes_though_the_price_stays() -> None:
    world = _World()
    amount = 20_000 * SOL.unit
    ref = world.rest("user", "large", "149", amount)
    assert world.beats(2) == [0, 0]
    order = world.orders.stored[ref]
    assert order.aside == Decimal(10**20 - 1)
    world.venue.pool = replace(POOL, reserves=tuple(10_000 * amount for amount in POOL.reserves))  # type: ignore[arg-type]
    assert world.beats(1) == [1]
    assert world.status(ref) is Status.PENDING


def test_new_liquidity_is_found_in_turns_also_beside_ten_thousand_that_were_set_aside() -> None:
    world = _World()
    for ref in unfillable(world, 2_000):
        order = world.orders.stored[ref]
        asyncio.run(world.orders.replace(order, lifecycle.set_aside(order, Decimal(10**20 - 1))))
    ref = world.rest("neighbour", "large", "149", 20_000 * SOL.unit)
    world.beats(2)
    assert world.orders.stored[ref].aside is not None
    world.venue.pool = replace(POOL, reserves=tuple(10_000 * amount for amount in POOL.reserves))  # type: ignore[arg-type]
    rounds = 0
    while world.status(ref) is Status.OPEN:
        world.beats(1)
        rounds += 1
        assert rounds <= 2_000 // 250 + 2


def test_only_a_few_of_those_that_were_set_aside_are_looked_at_again_in_each_beat_and_each_in_its_turn() -> None:
    world = _World()
    unfillable(world, 60, users=3)
    world.beats(1)
    world.orders.reads = world.orders.writes = 0
    seen: set[OrderRef] = set()
    get_many = world.orders.get_many

    async def noted(refs: Sequence[OrderRef]) -> Any:
        seen.update(refs)
        return await get_many(refs)

    world.orders.get_many = noted  # type: ignore[method-assign]
    world.beats(1)
    assert world.orders.reads == MAX_SECOND_LOOKS
    world.beats(60 // MAX_SECOND_LOOKS - 1)
    assert len(seen) == 60
    # Nothing has changed, so nothing is written.
    assert world.orders.writes == 0


def test_an_order_that_was_set_aside_too_far_comes_nearer() -> None:
    world = _World()
    ref = world.rest("user", "order", "149", 50 * SOL.unit)
    order = world.orders.stored[ref]
    asyncio.run(world.orders.replace(order, lifecycle.set_aside(order, Decimal(1_000))))
    world.beats(1)
    aside = world.orders.stored[ref].aside
    assert aside is not None
    assert Decimal(149) < aside < Decimal(170)


def test_a_price_that_jumps_over_thousands_of_limits_fires_them_all_in_bounded_beats() -> None:
    world = _World()
    refs = [world.rest(f"user{n % 40}", f"order{n:04}", f"1{n % 48:02}.{n % 97:02}") for n in range(1_000)]
    counts = world.beats(1_000 // MAX_LOOKS)
    assert counts == [MAX_LOOKS] * (1_000 // MAX_LOOKS)
    assert {world.status(ref) for ref in refs} == {Status.PENDING}
    assert world.queued() == 1_000


# --- beside the sweeper ------------------------------------------------------------------------------------------


async def test_the_sweeper_goes_on_beside_a_router_that_takes_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share one processor: between two of the sweeper's beats there is room for a handful of decisions."""
    clock, decisions = SystemClock(), 0
    gaps: list[int] = []

    def slow(*arguments: Any, **named: Any) -> Any:
        nonlocal decisions
        decisions += 1
        time.sleep(0.02)
        raise AttemptFailed("nothing takes it")

    router = Router((_Venue(),), clock, decide=slow)
    orders, queue = FakeOrders(), FakeQueue(clock.now_ms)
    for number in range(400):
        request = replace(LIMIT, limit_price=Decimal(1), amount_in=SOL.unit + number, expires_at=None)
        await orders.create(lifecycle.place(OrderRef("user", f"order{number}"), request, "print", clock.now_ms()))
    stranded = lifecycle.place(OrderRef("user", "stranded"), MARKET, "print", clock.now_ms() - STRANDED_MS - 1)
    await orders.create(stranded)
    sweep = Sweep(orders, queue, clock, Silent())
    beat = sweep.beat

    async def noted(until: int) -> int:
        gaps.append(decisions)
        return await beat(until)

    monkeypatch.setattr(Sweep, "beat", lambda self, until: noted(until))
    rounds = Rounds(orders, sweep, Triggers(orders, queue, router, clock, Silent(), lambda: TOKENS), clock, Silent())
    await rounds.run(clock.now_ms() + 1_500, sweep_every_ms=100, watch_every_ms=500)
    assert decisions > 10
    assert len(gaps) >= 3
    assert max(after - before for before, after in pairwise(gaps)) <= 100 // 20 + 5
    assert orders.stored[stranded.ref].resends == 1
