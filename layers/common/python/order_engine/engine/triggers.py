"""Fires resting orders when the market meets their trigger.

The ``work`` index answers which limits the marginal price has crossed. Whether an order would get its limit at its
full size, after fees, only the router can say. One that would not is *set aside*: it moves behind all others of its
pair, to the marginal price at which it would be filled if the pools kept their shape. So what cannot be filled costs
one look, and never stands between the market and another order. It comes back when that price is reached; and since
liquidity may also come without the price moving, a few of those set aside are looked at in each beat, in turns.

Every beat has a bound of entries, orders, router's decisions and time. What it cannot do, the next one goes on with,
and users have turns: nobody waits for more than one round of all users, however many orders another has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import batched, permutations

from order_engine.domain import lifecycle
from order_engine.domain.errors import AttemptFailed
from order_engine.domain.order import Order, OrderRef, OrderRequest, Status
from order_engine.domain.quote import Pool
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import Token
from order_engine.engine.beats import readable, survive
from order_engine.engine.fairness import fair_share
from order_engine.engine.observer import Note, Observer
from order_engine.engine.ports import Clock, Conflict, OrderQueue, OrderStore
from order_engine.engine.routing.network import INTERMEDIATES
from order_engine.engine.routing.router import Gathered, Router

type Pair = tuple[str, str]

# Of one beat: entries of the index that are read, and orders that are looked at. One that runs out of time does less.
MAX_ENTRIES = 6_000
MAX_LOOKS = 200
# Pairs that are asked for resting orders at once: all of eleven tokens.
MAX_PAIRS = 120
# Of these, orders that were set aside and whose price has not come: only new liquidity could fill them.
MAX_SECOND_LOOKS = 10
# Every pair's first page, and further ones of pairs that have more.
_PAGE, _LARGE_PAGE = 250, 3_000
# So many orders are read, decided and written together; fired ones are queued before the next are read.
_CHUNK = 20
_PAIRS_AT_ONCE = 8
# The shares of a beat in which a page may be begun, and anything at all: the next beat should not begin late.
_READING, _WORKING = 0.4, 0.75
# Another place for an order that was set aside is worth a write if it is nearer by this much.
_NEARER = Decimal("0.999")
# Where the router finds no way at all, no price is known: behind all others.
_NOWHERE = Decimal(10**20 - 1)
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Market:
    """A pair's pools at one moment, and the best marginal price among them."""

    pair: Pair
    gathered: Gathered
    price: Decimal


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An order to look at. ``aside``: the price to which it was set aside, if it was."""

    ref: OrderRef
    market: Market
    aside: Decimal | None = None

    @property
    def due(self) -> bool:
        return self.aside is None or self.aside <= self.market.price


@dataclass(slots=True)
class Triggers:
    """The use case. What it remembers from beat to beat decides whose turn it is, and nothing else.

    Attributes:
        tokens: tells what the market trades, each time anew: a market that cannot tell now costs a look, not the run.
    """

    orders: OrderStore
    queue: OrderQueue
    router: Router
    clock: Clock
    observer: Observer
    tokens: Callable[[], TokenList]
    _pairs: list[Pair] = field(default_factory=list, init=False)
    # Where among all pairs the next look for resting orders begins.
    _asked_to: int = field(default=0, init=False)
    # Where each pair's next page begins, among the crossed and among those set aside.
    _crossed_after: dict[Pair, str | None] = field(default_factory=dict, init=False)
    _aside_after: dict[Pair, str | None] = field(default_factory=dict, init=False)
    # Pairs that have no order set aside, as far as is known.
    _none_aside: set[Pair] = field(default_factory=set, init=False)
    # In which beat a user or an order had its turn last.
    _beat: int = field(default=0, init=False)
    _served: dict[str, int] = field(default_factory=dict, init=False)
    _looked: dict[OrderRef, int] = field(default_factory=dict, init=False)

    async def find_pairs(self) -> None:
        """Find out which pairs have resting orders at all: the others need no price.

        Of a long list of tokens some pairs each time, in turns; what is known of the others stays.
        """
        pairs = [(a.mint, b.mint) for a, b in permutations(self.tokens(), 2)]
        begin = self._asked_to % max(1, len(pairs))
        every = (pairs[begin:] + pairs[:begin])[:MAX_PAIRS]
        self._asked_to = begin + len(every)
        kept = set(self._pairs).intersection(pairs).difference(every)
        some = await asyncio.gather(*(self.orders.rests(*pair) for pair in every))
        resting = [pair for pair, rests in zip(every, some, strict=True) if rests]
        # Whose turn it is stays as it is.
        known = [pair for pair in self._pairs if pair in resting or pair in kept]
        self._pairs = [*known, *(pair for pair in resting if pair not in known)]
        # Another process may have set some aside.
        self._none_aside.clear()

    async def beat(self, until: int) -> int:
        """Work until a time (milliseconds since the epoch) at most. Returns how many orders fired."""
        now = self.clock.now_ms()
        self._beat += 1
        found = await self._everything(now + int((until - now) * _READING))
        return await self._look_at(self._in_turns(found), now + int((until - now) * _WORKING))

    # --- what there is to look at --------------------------------------------------------------------------------

    async def _everything(self, stop: int) -> list[_Wanted]:
        found: list[_Wanted] = []
        more: list[Market] = []
        reached = 0
        for some in batched(self._pairs, _PAIRS_AT_ONCE, strict=False):
            if self.clock.now_ms() >= stop or len(found) >= MAX_ENTRIES:
                break
            works = (survive(self.observer, Note.WATCH_FAILED, partial(self._first_look, pair, more)) for pair in some)
            for part in await asyncio.gather(*works):
                found += part or []
            reached += len(some)
        # The pairs that were not reached begin the next beat.
        self._pairs = self._pairs[reached:] + self._pairs[:reached]
        while more and len(found) < MAX_ENTRIES and self.clock.now_ms() < stop:
            market = more.pop(0)
            found += await self._crossed(market, min(_LARGE_PAGE, MAX_ENTRIES - len(found)))
            if self._crossed_after[market.pair] is not None:
                more.append(market)
        return found

    async def _first_look(self, pair: Pair, more: list[Market]) -> list[_Wanted]:
        """A page of the pair's crossed orders and of those set aside; adds to ``more`` if there are more crossed."""
        gathered = await self.router.gather(*pair)
        source, target = (self.tokens().named(mint) for mint in pair)
        price = best_price(gathered.pools, source, target)
        if price is None:
            return []
        market = Market(pair, gathered, price)
        crossed, aside = await asyncio.gather(self._crossed(market, _PAGE), self._aside(market))
        if self._crossed_after[pair] is not None:
            more.append(market)
        return [*crossed, *aside]

    async def _crossed(self, market: Market, limit: int) -> list[_Wanted]:
        """From where the last page ended, beginning again at the end: all come up, also where none of them leaves."""
        listing = await self.orders.crossed(
            *market.pair, market.price, after=self._crossed_after.get(market.pair), limit=limit
        )
        self._crossed_after[market.pair] = listing.after
        return [_Wanted(ref, market) for ref in listing.entries]

    async def _aside(self, market: Market) -> list[_Wanted]:
        """Those whose price comes first, which are due if any is; and a page of the others, going round."""
        pair = market.pair
        if pair in self._none_aside:
            return []
        listing = await self.orders.set_aside(*pair, after=None, limit=_PAGE)
        entries = listing.entries
        if not entries:
            self._none_aside.add(pair)
        if listing.after is not None:
            after = self._aside_after.get(pair) or listing.after
            further = await self.orders.set_aside(*pair, after=after, limit=_PAGE)
            self._aside_after[pair] = further.after
            entries += further.entries
        return [_Wanted(entry.ref, market, entry.price) for entry in entries]

    def _in_turns(self, found: Sequence[_Wanted]) -> list[_Wanted]:
        """Whom to look at, and in which order: users in turns, and of each user what has waited longest."""

        def share(wanted: Iterable[_Wanted], limit: int) -> list[_Wanted]:
            return fair_share(wanted, lambda one: one.ref.user_id, self._served, limit)

        once = {one.ref: one for one in found}.values()
        waited = sorted(once, key=lambda one: self._looked.get(one.ref, -1))
        due = [one for one in waited if one.due]
        second = share((one for one in waited if not one.due), MAX_SECOND_LOOKS)
        return share([*due, *second], MAX_LOOKS)

    # --- the looks -----------------------------------------------------------------------------------------------

    async def _look_at(self, turns: Sequence[_Wanted], stop: int) -> int:
        """Until ``stop``, but at least one: however slow everything is, somebody has a turn in every beat."""
        outputs: dict[tuple[Pair, int], int | None] = {}
        fired = looked = 0
        for chunk in batched(turns, _CHUNK, strict=False):
            if looked and self.clock.now_ms() >= stop:
                break
            found = await survive(
                self.observer, Note.READ_FAILED, partial(self.orders.get_many, [one.ref for one in chunk])
            )
            orders = {order.ref: order for order in readable(self.observer, found or {})}
            changes: list[tuple[Order, Order]] = []
            for one in chunk:
                if looked and self.clock.now_ms() >= stop:
                    break
                looked += 1
                self._remember(one.ref)
                order = orders.get(one.ref)
                new = None if order is None else self._decide(order, one.market, outputs)
                if order is not None and new is not None:
                    changes.append((order, new))
                # A decision takes processor time: whatever else this process does must not wait for all of them.
                await asyncio.sleep(0)
            fired += await self._write(changes)
        return fired

    def _remember(self, ref: OrderRef) -> None:
        if len(self._looked) >= _REMEMBERED:
            self._looked.clear()
            self._served.clear()
        self._looked[ref] = self._served[ref.user_id] = self._beat

    def _decide(self, order: Order, market: Market, outputs: dict[tuple[Pair, int], int | None]) -> Order | None:
        """The order as it should become; None where it stays as it is."""
        now, request, trigger = self.clock.now_ms(), order.request, order.request.trigger
        if order.status is not Status.OPEN or not trigger.rests:
            return None
        if order.retry_at is not None and now < order.retry_at:
            return None
        if request.expires_at is not None and request.expires_at <= now:
            return None
        key = market.pair, request.amount_in
        if key not in outputs:
            outputs[key] = best_output(request, self.router, market.gathered)
        output = outputs[key]
        if trigger.met_by(output):
            return lifecycle.fire(order, now)
        price = min(_NOWHERE, market.price * trigger.floor / output) if output else _NOWHERE
        if order.aside is None or order.aside <= market.price or price < order.aside * _NEARER:
            self._none_aside.discard(market.pair)
            return lifecycle.set_aside(order, price)
        return None

    async def _write(self, changes: Sequence[tuple[Order, Order]]) -> int:
        done = await asyncio.gather(
            *(
                survive(self.observer, Note.FIRE_FAILED, partial(self._change, *change), change[0].ref.order_id)
                for change in changes
            )
        )
        fired = [
            new.ref
            for (_, new), written in zip(changes, done, strict=True)
            if written and new.status is not Status.OPEN
        ]
        if fired:
            # A send that fails costs time, not the orders: fired ones are active, and the sweeper sends them.
            await survive(self.observer, Note.SEND_FAILED, partial(self.queue.send, fired))
        return len(fired)

    async def _change(self, old: Order, new: Order) -> bool:
        try:
            await self.orders.replace(old, new)
        except Conflict:
            return False
        if new.seq != old.seq:
            self.observer.changed(new)
        return True


def best_output(request: OrderRequest, router: Router, gathered: Gathered) -> int | None:
    """What the whole order would get now, after fees, in base units; None where no route takes it."""
    try:
        decision = router.choose(gathered, request.token_in, request.token_out, request.amount_in)
    except AttemptFailed:
        return None
    return decision.chosen.amount_out


def best_price(pools: Sequence[Pool], token_in: Token, token_out: Token) -> Decimal | None:
    """The best marginal price of a pool of the pair, or of a path over two, whole output per whole input token.

    No route gives more per token: it divides its input among ways, and none of them gives more than at its beginning.
    None where the pools have no way at all.
    """
    source, target = token_in.mint, token_out.mint
    ways = [_best_spot(pools, source, target)]
    for middle in INTERMEDIATES:
        if middle not in (source, target):
            into, out_of = _best_spot(pools, source, middle), _best_spot(pools, middle, target)
            ways.append(None if into is None or out_of is None else into * out_of)
    prices = [way for way in ways if way is not None]
    return max(prices).scaleb(token_in.decimals - token_out.decimals) if prices else None


def _best_spot(pools: Sequence[Pool], mint_in: str, mint_out: str) -> Decimal | None:
    """The best marginal price among the pools of two mints, in base units; None where none of them has one."""
    spots = []
    for pool in pools:
        if set(pool.mints) != {mint_in, mint_out}:
            continue
        try:
            numerator, denominator = pool.spot(mint_in)
            spots.append(Decimal(numerator) / Decimal(denominator))
        except Exception:  # noqa: BLE001, S112 - whatever it is: the router leaves such a pool out, and says so
            continue
    return max(spots, default=None)
