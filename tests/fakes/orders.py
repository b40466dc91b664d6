"""The orders table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from order_engine.aws import indexes
from order_engine.aws.codec import Corrupt
from order_engine.domain import lifecycle
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.engine.listing import examined
from order_engine.engine.ports import Conflict, Listing, OrderExists, Page, SetAside
from tests.fakes.wire import Direct, Wire

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
        # The order as the indexes know it, and its place in each.
        self._index: dict[OrderRef, tuple[Order, dict[str, str]]] = {}
        self._created: dict[OrderRef, object] = {}
        self.stored: dict[OrderRef, Order] = {}
        self.corrupt: set[OrderRef] = set()

    async def create(self, order: Order) -> None:
        mark = object()
        await self._wire.call("orders.create", lambda: self._create(order, mark), again=True)

    def _create(self, order: Order, mark: object) -> None:
        current = self.stored.get(order.ref)
        if current is None:
            self._created[order.ref] = mark
            self._put(None, order)
        elif self._created.get(order.ref) is not mark:
            raise OrderExists(current)

    async def get(self, ref: OrderRef) -> Order | None:
        return await self._wire.call("orders.get", lambda: self._read(ref))

    def _read(self, ref: OrderRef) -> Order | None:
        if ref in self.corrupt:
            raise Corrupt("not an order")
        return self.stored.get(ref)

    def spoil(self, order: Order) -> None:
        """An order whose item nobody can read, though the indexes list it."""
        self._index[order.ref] = (order, indexes.index_keys(order))
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
            known, _ = self._index.get(new.ref, (None, {}))
            if known is None or (known.seq, known.version) <= (new.seq, new.version):
                self._index[new.ref] = (new, indexes.index_keys(new))

        self._wire.later("orders.index", update_index)

    async def page(self, user_id: str, *, limit: int, after: str | None, status: Status | None) -> Page:
        return await self._wire.call("orders.page", lambda: self._page(user_id, limit, after, status))

    def _page(self, user_id: str, limit: int, after: str | None, status: Status | None) -> Page:
        most = examined(status, limit)
        places = sorted((key for key in self._places(user_id, status) if after is None or key < after), reverse=True)
        orders = [self.stored[OrderRef(user_id, key.partition("#")[2])] for key in places[:most]]
        found = [order for order in orders if status in (None, order.status)]
        if len(found) > limit:
            return Page(tuple(found[:limit]), _time_key(found[limit - 1]))
        return Page(tuple(found), places[most - 1] if len(places) > most else None)

    def _places(self, user_id: str, status: Status | None) -> list[str]:
        """The time keys of a user's orders in the index that lists this status."""
        if status is None or status is Status.CONFIRMED:
            return [_time_key(order) for ref, (order, _) in self._index.items() if ref.user_id == user_id]
        if status in lifecycle.UNDER_WAY:
            partition = indexes.active_partition(user_id)
            return [key for key, ref in self._entries("work", partition) if ref.user_id == user_id]
        prefix = indexes.status_key(status)
        entries = [key for key, ref in self._entries("by_status", None) if ref.user_id == user_id]
        return [key.removeprefix(prefix) for key in entries if key.startswith(prefix)]

    async def count_active(self, user_id: str) -> int:
        return await self._wire.call("orders.count_active", lambda: len(self._places(user_id, Status.PENDING)))

    async def any_waiting(self) -> bool:
        return await self._wire.call(
            "orders.any_waiting", lambda: any("work_pk" in keys for _, keys in self._index.values())
        )

    async def get_many(self, refs: Sequence[OrderRef]) -> Mapping[OrderRef, Order | Exception]:
        def read() -> dict[OrderRef, Order | Exception]:
            found: dict[OrderRef, Order | Exception] = {}
            for ref in refs:
                if ref in self.corrupt:
                    found[ref] = Corrupt("not an order")
                elif ref in self.stored:
                    found[ref] = self.stored[ref]
            return found

        return await self._wire.call("orders.get_many", read)

    async def count_living(self, user_id: str, *, limit: int) -> int:
        def counted() -> int:
            return min(limit, len(self._places(user_id, Status.OPEN)))

        return await self._wire.call("orders.count_living", counted)

    async def active(self, *, created_before: int, after: str | None, limit: int) -> Listing[OrderRef]:
        partitions = [f"active#{number}" for number in range(indexes.ACTIVE_SHARDS)]

        def listed() -> Listing[OrderRef]:
            return self._sharded("work", partitions, indexes.time_key(created_before), after, limit)

        return await self._wire.call("orders.active", listed)

    async def expiring(self, *, now: int, after: str | None, limit: int) -> Listing[OrderRef]:
        partitions = [f"expiry#{number}" for number in range(indexes.EXPIRY_SHARDS)]

        def listed() -> Listing[OrderRef]:
            return self._sharded("expiry", partitions, indexes.time_key(now) + "~", after, limit)

        return await self._wire.call("orders.expiring", listed)

    async def rests(self, mint_in: str, mint_out: str) -> bool:
        partition = indexes.trigger_partition(mint_in, mint_out)
        return await self._wire.call("orders.rests", lambda: bool(self._entries("work", partition)))

    async def crossed(
        self, mint_in: str, mint_out: str, price: Decimal, *, after: str | None, limit: int
    ) -> Listing[OrderRef]:
        partition, upto = indexes.trigger_partition(mint_in, mint_out), indexes.price_key(price) + "~"

        def listed() -> Listing[OrderRef]:
            page, last = self._part("work", partition, after or "", upto, limit)
            return Listing(tuple(ref for _, ref in page), last)

        return await self._wire.call("orders.crossed", listed)

    async def set_aside(self, mint_in: str, mint_out: str, *, after: str | None, limit: int) -> Listing[SetAside]:
        partition = indexes.trigger_partition(mint_in, mint_out)
        first, end = indexes.ASIDE_BOUNDS

        def listed() -> Listing[SetAside]:
            page, last = self._part("work", partition, after or first, end, limit)
            prices = ((ref, indexes.aside_price(key)) for key, ref in page)
            return Listing(tuple(SetAside(ref, price) for ref, price in prices if price is not None), last)

        return await self._wire.call("orders.set_aside", listed)

    # --- indexes -----------------------------------------------------------------------------------------------

    def _entries(self, index: str, partition: str | None) -> list[tuple[str, OrderRef]]:
        """What an index holds, in its order: sort key and the order's own."""
        sort_key = f"{index}_sk" if partition is not None else index
        found: list[tuple[str, OrderRef]] = []
        for ref, (_, keys) in self._index.items():
            if sort_key in keys and (partition is None or keys[f"{index}_pk"] == partition):
                found.append((keys[sort_key], ref))
        return sorted(found, key=lambda entry: (entry[0], entry[1].user_id))

    def _part(
        self, index: str, partition: str, after: str, upto: str, limit: int
    ) -> tuple[list[tuple[str, OrderRef]], str | None]:
        entries = [entry for entry in self._entries(index, partition) if after < entry[0] <= upto]
        page = entries[:limit]
        return page, page[-1][0] if len(entries) > limit else None

    def _sharded(
        self, index: str, partitions: Sequence[str], upto: str, after: str | None, limit: int
    ) -> Listing[OrderRef]:
        refs: list[OrderRef] = []
        places: list[str | None] = []
        for partition, place in zip(partitions, indexes.split_places(after, len(partitions)), strict=True):
            page, last = ([], None) if place is None else self._part(index, partition, place, upto, limit)
            refs += [ref for _, ref in page]
            places.append(last)
        return Listing(tuple(refs), indexes.join_places(places))


def _time_key(order: Order) -> str:
    return indexes.time_key(order.created_at, order.ref.order_id)
