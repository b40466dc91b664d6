"""What makes a repeated request the same request, and what becomes of a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.aws import codec
from order_engine.domain.errors import IdempotencyConflict, SameToken, TooManyOpenOrders
from order_engine.domain.order import OrderRef, OrderRequest, Status
from order_engine.domain.tokens import BONK, SOL, USDC, USDT
from order_engine.engine.observer import Silent
from order_engine.engine.place import Place, fingerprint, order_id_for
from tests.fakes.orders import FakeOrders
from tests.support.clock import TickingClock
from tests.support.orders import LIMIT, MARKET, T0
from tests.support.recorder import Recorder

REQUEST = OrderRequest("limit", SOL, USDC, 10**9, 50, Decimal(150), T0 + 60_000, "a wallet")
# Another value of each field. Whoever adds a field to a request has to say here what makes it another request.
OTHER: dict[str, Sequence[object]] = {
    "type": ("market",),
    "token_in": (BONK, USDC),
    "token_out": (USDT, SOL),
    "amount_in": (10**9 + 1, 50),
    "slippage_bps": (0, 51, 10**9),
    "limit_price": (Decimal("150.000000001"), Decimal("1.5"), None),
    "expires_at": (T0 + 60_001, None),
    "wallet_address": ("A wallet", "", None),
}


class Queue:
    """Remembers what was sent, or refuses everything."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.sent: list[OrderRef] = []
        self._refuses = refuses

    async def send(self, refs: Sequence[OrderRef]) -> None:
        if self._refuses:
            raise ConnectionError("no answer")
        self.sent.extend(refs)

    async def held(self) -> tuple[int, int]:
        return 0, 0

    async def depth(self) -> dict[str, int]:
        raise AssertionError("Nobody asks for this here.")


def test_every_field_of_a_request_is_part_of_what_makes_it_the_same() -> None:
    assert set(OTHER) == {field.name for field in fields(OrderRequest)}
    variants = [REQUEST, *(replace(REQUEST, **{name: value}) for name, values in OTHER.items() for value in values)]  # type: ignore[arg-type]
    prints = [fingerprint(request) for request in variants]
    assert len(set(prints)) == len(variants)


# What the source of 0.1.0 made of these: stored orders carry it, and a replay of theirs is compared with it.
OF_0_1_0 = {
    "42e8f4dfaf0fd86076c4d06f64834cca": OrderRequest("market", SOL, USDC, 1_500_000_000, 50),
    "cb929c4dda6cc28e895445924bde88a4": OrderRequest(
        "limit",
        USDC,
        SOL,
        10**6,
        100,
        Decimal("152.30"),
        1_790_000_000_000,
        "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
    ),
}


@dataclass(frozen=True, slots=True)
class _Later(OrderRequest):
    """A request of a later release."""

    trail_bps: int | None = None
    stop_price: Decimal | None = None


def test_a_fingerprint_of_the_first_release_still_fits_and_goes_on_to_with_further_fields() -> None:
    for known, request in OF_0_1_0.items():
        assert fingerprint(request) == known
        values = {field.name: getattr(request, field.name) for field in fields(request)}
        assert fingerprint(_Later(**values)) == known
        further = {fingerprint(_Later(**values, trail_bps=bps)) for bps in (0, 1, 50)}
        assert len(further | {known}) == 4


def test_a_further_field_is_stored_and_read_back_and_passed_over_by_who_does_not_have_it() -> None:
    request = next(iter(OF_0_1_0.values()))
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    for bps, price in ((None, None), (0, Decimal("0.10")), (50, Decimal(7))):
        later = _Later(**values, trail_bps=bps, stop_price=price)
        text = codec.encode_request(later)
        assert codec.decode_request(text, _Later) == later
        assert codec.decode_request(text, OrderRequest) == request
        assert (text == codec.encode_request(request)) is (bps is None)


def test_a_renamed_token_is_the_same_and_another_mint_is_not() -> None:
    assert fingerprint(replace(REQUEST, token_in=replace(SOL, symbol="wSOL"))) == fingerprint(REQUEST)


@given(st.decimals(min_value="0.000000001", max_value="1e12", places=9))
def test_the_same_price_written_otherwise_is_the_same_request(price: Decimal) -> None:
    plain = replace(REQUEST, limit_price=price)
    same = [price.normalize(), Decimal(f"{price:f}000"), Decimal(f"{price:e}")]
    assert {fingerprint(replace(REQUEST, limit_price=other)) for other in same} == {fingerprint(plain)}


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_key_names_one_order_of_one_user(user: str, key: str, other_user: str, other_key: str) -> None:
    assert order_id_for(user, key) == order_id_for(user, key)
    same = (user, key) == (other_user, other_key)
    assert (order_id_for(user, key) == order_id_for(other_user, other_key)) == same


def test_no_user_and_key_can_be_shifted_into_anothers() -> None:
    assert order_id_for("a", "1:b:c") != order_id_for("a:1", "b:c")
    assert order_id_for("a:b", "c") != order_id_for("a", "b:c")


async def test_a_market_order_is_stored_and_queued_and_a_resting_one_is_stored_only() -> None:
    orders, queue, notes = FakeOrders(), Queue(), Recorder()
    place = Place(orders, queue, TickingClock(), notes)
    market, limit = await place("user", MARKET), await place("user", LIMIT)
    assert not market.replayed
    assert (market.order.status, limit.order.status) == (Status.PENDING, Status.OPEN)
    assert await orders.get(market.order.ref) == market.order
    assert await orders.get(limit.order.ref) == limit.order
    assert market.order.created_at == T0
    assert queue.sent == [market.order.ref]
    assert [what for _, what in notes.seen] == ["pending", "open"]
    assert market.order.ref != limit.order.ref


@pytest.mark.parametrize("request_", [MARKET, LIMIT], ids=["market", "limit"])
async def test_an_order_keeps_which_key_asked_for_it(request_: OrderRequest) -> None:
    orders = FakeOrders()
    placed = await Place(orders, Queue(), TickingClock(), Recorder())("user", request_, key_id="0123456789ab")
    stored = await orders.get(placed.order.ref)
    assert stored is not None
    assert [event.key_id for event in stored.events] == ["0123456789ab"]


async def test_an_order_that_could_not_be_queued_is_accepted_all_the_same() -> None:
    orders, notes = FakeOrders(), Recorder()
    placed = await Place(orders, Queue(refuses=True), TickingClock(), notes)("user", MARKET)
    assert await orders.get(placed.order.ref) == placed.order
    assert notes.seen == [(placed.order.ref.order_id, "pending"), (placed.order.ref.order_id, "send_failed")]


async def test_the_same_key_again_answers_what_is_stored_and_queues_nothing() -> None:
    queue, notes = Queue(), Recorder()
    place = Place(FakeOrders(), queue, TickingClock(), notes)
    assert await place.replay("user", MARKET, "key") is None
    first = await place("user", MARKET, "key")
    again = await place("user", MARKET, "key")
    assert (again.order, again.replayed) == (first.order, True)
    seen_before = await place.replay("user", MARKET, "key")
    assert seen_before is not None
    assert (seen_before.order, seen_before.replayed) == (first.order, True)
    assert queue.sent == [first.order.ref]
    assert len(notes.seen) == 1
    assert (await place("another", MARKET, "key")).order.ref != first.order.ref


async def test_the_same_key_for_something_else_is_a_conflict_that_names_the_header() -> None:
    place = Place(FakeOrders(), Queue(), TickingClock(), Silent())
    await place("user", MARKET, "key")
    other = replace(MARKET, slippage_bps=51)
    for attempt in (place("user", other, "key"), place.replay("user", other, "key")):
        with pytest.raises(IdempotencyConflict) as refused:
            await attempt
        assert refused.value.field == "Idempotency-Key"


async def test_two_sides_of_one_token_are_refused_before_anything_is_stored() -> None:
    orders = FakeOrders()
    with pytest.raises(SameToken) as refused:
        await Place(orders, Queue(), TickingClock(), Silent())("user", replace(MARKET, token_out=SOL))
    assert refused.value.field == "tokenOut"
    assert orders.stored == {}


async def test_a_limit_order_beyond_the_most_is_not_stored() -> None:
    orders, queue = FakeOrders(), Queue()
    place = Place(orders, queue, TickingClock(), Silent())
    for _ in range(2):
        await place("user", LIMIT, max_open=2)
    with pytest.raises(TooManyOpenOrders):
        await place("user", LIMIT, max_open=2)
    with pytest.raises(TooManyOpenOrders):
        await place("user", LIMIT, "a new key", max_open=2)
    assert len(orders.stored) == 2
    await place("user", MARKET, max_open=2)
    await place("another", LIMIT, max_open=2)
    await place("user", LIMIT)
    assert len(orders.stored) == 5
