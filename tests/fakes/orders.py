"""The orders table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal

from order_engine.aws.codec import ACTIVE_SHARDS, EXPIRY_SHARDS, Corrupt, shard
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.ports import Conflict, OrderExists, Page
from tests.fakes.wire import Direct, Wire

_ENDED = frozenset({Status.CONFIRMED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
_FIELDS = tuple(field.name for field in dataclasses.fields(Order) if field.name != "events")

type Written = Callable[[Order | None, Order], None]


def merged(stored: Order, old: Order, new: Order) -> Order:
    """What an update makes of the stored item: it writes only what differs, and all marks of a claim."""
    always = {"resent_at", "resends"} if new.version != old.version else set()
    changed = {name: value for name in _FIELDS if (value := getattr(new, name)) != getattr(old, name) or name in always}
    added = new.events[len(old.events) :]
    return dataclasses.replace(stored, **changed, events=stored.events + added)


class FakeOrders:
    """``OrderStore`` in memory: linearizable, conditional as the table is, with indexes that may lag.

    Attributes:
        conditions: what a write compares; the planted bugs leave some out.
        corrupt: keys whose item can no longer be read.

    Args:
        written, refused: told of every write, in order, and of every write whose condition failed.
    """

    conditions = frozenset({"seq", "version", "owner"})

    def __init__(
        self,
        wire: Wire | None = None,
        written: Written = lambda old, new: None,
        refused: Callable[[OrderRef], None] = lambda ref: None,
    ) -> None:
        self._wire = wire or Direct()
        self._written = written
        self._refused = refused
        self._index: dict[OrderRef, Order] = {}
        self.stored: dict[OrderRef, Order] = {}
        self.corrupt: set[OrderRef] = set()

    async def create(self, order: Order) -> None:
        await self._wire.call("orders.create", lambda: self._create(order), again=True)

    def _create(self, order: Order) -> None:
        current = self.stored.get(order.ref)
        if current is None:
            self._put(None, order)
        elif current != order:
            raise OrderExists(current)

    async def get(self, ref: OrderRef) -> Order | None:
        return await self._wire.call("orders.get", lambda: self._read(ref))

    def _read(self, ref: OrderRef) -> Order | None:
        if ref in self.corrupt:
            raise Corrupt("not an order")
        return self.stored.get(ref)

    def spoil(self, order: Order) -> None:
        """An order whose item nobody can read, though the indexes list it."""
        self._index[order.ref] = order
        self.corrupt.add(order.ref)

    async def replace(self, old: Order, new: Order) -> None:
        await self._wire.call(
            "orders.replace", lambda: self._update(old, new, lambda now: self.own_write(now, new)), again=True
        )

    async def mark_resent(self, order: Order, now: int) -> None:
        new = dataclasses.replace(order, resent_at=now, resends=order.resends + 1)

        def own(stored: Order) -> bool:
            return stored.resent_at == now and stored.seq == order.seq

        await self._wire.call("orders.mark_resent", lambda: self._update(order, new, own), again=True)

    def _update(self, old: Order, new: Order, own_write: Callable[[Order], bool]) -> None:
        stored = self.stored.get(old.ref)
        if stored is None:
            raise Conflict(None)
        if self.unchanged(stored, old):
            self._put(stored, merged(stored, old, new))
        elif not own_write(stored):
            self._refused(old.ref)
            raise Conflict(stored)

    def unchanged(self, stored: Order, old: Order) -> bool:
        """Whether a conditional write on ``old`` goes through."""
        same_owner = (stored.lease.owner if stored.lease else None) == (old.lease.owner if old.lease else None)
        return (
            ("seq" not in self.conditions or stored.seq == old.seq)
            and ("version" not in self.conditions or stored.version == old.version)
            and ("owner" not in self.conditions or same_owner)
        )

    def own_write(self, stored: Order, new: Order) -> bool:
        """Whether a write that failed its condition had been made by an earlier try of the same call."""
        return (
            stored.seq == new.seq
            and stored.version == new.version
            and stored.lease == new.lease
            and stored.events[-1] == new.events[-1]
        )

    def _put(self, old: Order | None, new: Order) -> None:
        self.stored[new.ref] = new
        self._written(old, new)

        def update_index() -> None:
            known = self._index.get(new.ref)
            if known is None or (known.seq, known.version) <= (new.seq, new.version):
                self._index[new.ref] = new

        self._wire.later("orders.index", update_index)

    async def page(self, user_id: str, *, limit: int, after: str | None, status: Status | None) -> Page:
        return await self._wire.call("orders.page", lambda: self._page(user_id, limit, after, status))

    def _page(self, user_id: str, limit: int, after: str | None, status: Status | None) -> Page:
        mine = sorted(((_time_key(o), o) for o in self._index.values() if o.ref.user_id == user_id), reverse=True)
        current = [(key, self.stored[listed.ref]) for key, listed in mine if after is None or key < after]
        found = [(key, order) for key, order in current if status in (None, order.status)]
        more = len(found) > limit
        return Page(tuple(order for _, order in found[:limit]), found[limit - 1][0] if more else None)

    async def any_waiting(self) -> bool:
        return await self._wire.call(
            "orders.any_waiting", lambda: any(order.status not in _ENDED for order in self._index.values())
        )

    async def active(self, *, created_before: int, limit: int) -> Sequence[OrderRef]:
        def listed() -> list[OrderRef]:
            # The index's key ends with the order's id, and an order of the very millisecond sorts behind the bound.
            found = [
                (o.created_at, o.ref.order_id, o.ref)
                for o in self._index.values()
                if o.status not in _ENDED and o.status is not Status.OPEN and o.created_at < created_before
            ]
            return _first_of_each_shard(found, limit, ACTIVE_SHARDS)

        return await self._wire.call("orders.active", listed)

    async def crossed(self, mint_in: str, mint_out: str, price: Decimal, *, limit: int) -> Sequence[OrderRef]:
        def listed() -> list[OrderRef]:
            found = [
                (o.request.limit_price, o.ref.order_id, o.ref)
                for o in self._index.values()
                if o.status is Status.OPEN
                and (o.request.mint_in, o.request.mint_out) == (mint_in, mint_out)
                and o.request.limit_price is not None
                and o.request.limit_price <= price
            ]
            return [ref for _, _, ref in sorted(found, key=lambda entry: entry[:2])[:limit]]

        return await self._wire.call("orders.crossed", listed)

    async def expiring(self, *, now: int, limit: int) -> Sequence[OrderRef]:
        def listed() -> list[OrderRef]:
            found = [
                (o.request.expires_at, o.ref.order_id, o.ref)
                for o in self._index.values()
                if o.status not in _ENDED and o.request.expires_at is not None and o.request.expires_at <= now
            ]
            return _first_of_each_shard(found, limit, EXPIRY_SHARDS)

        return await self._wire.call("orders.expiring", listed)


def _time_key(order: Order) -> str:
    return f"{order.created_at:013d}#{order.ref.order_id}"


def _first_of_each_shard(found: list[tuple[int, str, OrderRef]], limit: int, shards: int) -> list[OrderRef]:
    ordered = sorted(found, key=lambda entry: entry[:2])
    return [
        ref
        for number in range(shards)
        for ref in [ref for _, order_id, ref in ordered if shard(order_id, shards) == number][:limit]
    ]
