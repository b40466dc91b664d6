"""How a worker follows a transaction whose fate it does not know, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef, SignedTransaction, Status
from order_engine.engine.execute import Done, Execute, ExecutionPolicy, Later, Silent, Verdict
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from order_engine.engine.retry import RetryPolicy
from order_engine.engine.routing.router import Router
from tests.fakes.orders import FakeOrders
from tests.simulation.loop import VirtualLoop, run
from tests.unit.test_lifecycle import MARKET, ROUTED, T0

POLICY = RetryPolicy()
LEASE_MS, DEADLINE_MS, BEAT_MS = 20_000, 14_000, 2_000
BYTES = SignedTransaction("signature", "cmF3", last_valid_block_height=100)
LANDED = TransactionStatus(slot=7, amount_out=149_500_000)


@dataclass
class LoopClock:
    """The time of the virtual loop, milliseconds since the epoch."""

    loop: VirtualLoop

    def now_ms(self) -> int:
        return T0 + round(self.loop.time() * 1000)

    async def sleep(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)


@dataclass
class ScriptedChain:
    """A chain whose answers depend on the time alone, in milliseconds since the beginning.

    Attributes:
        landed: what a look-up finds; None where it finds nothing.
        blocks: the block height; a slot is ten more.
        behind: by how many slots a look-up lags behind the height.
        mute: calls that are never answered.
        sent, asked: when the bytes were sent, and when a look-up began; with what.
    """

    clock: LoopClock
    landed: Callable[[int], TransactionStatus | None] = lambda ms: None
    blocks: Callable[[int], int] = lambda ms: 0
    behind: Callable[[int], int] = lambda ms: 0
    mute: frozenset[str] = frozenset()
    sent: list[tuple[int, SignedTransaction]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def now(self) -> int:
        return self.clock.now_ms() - T0

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        raise AssertionError("Nothing is to be built here.")

    async def broadcast(self, tx: SignedTransaction) -> None:
        self.sent.append((self.now, tx))
        await self._answer("broadcast")

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        self.asked.append(self.now)
        await self._answer("status")
        return Known(self._slot() - self.behind(self.now), self.landed(self.now))

    async def height(self) -> Height:
        await self._answer("height")
        return Height(self.blocks(self.now), self._slot())

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        raise AssertionError("Nobody is to look at the ledger here.")

    def _slot(self) -> int:
        return self.blocks(self.now) + 10

    async def _answer(self, call: str) -> None:
        if call in self.mute:
            await asyncio.get_running_loop().create_future()


def routing() -> Order:
    """Claimed just now, and about to be built."""
    order = lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0)
    return lifecycle.claim(order, Lease("me", T0 + LEASE_MS), T0)


def submitted() -> Order:
    """Left behind by a worker whose lease has just run out."""
    order = lifecycle.submit(lifecycle.route(routing(), ROUTED, T0), BYTES, T0)
    return replace(order, lease=Lease("gone", T0))


@dataclass
class Followed:
    """What came of it: the worker's verdict, the order as stored, and when the worker was done."""

    verdict: Verdict
    order: Order
    ended: int
    chain: ScriptedChain


def follow(order: Order, *, deadline_ms: int = DEADLINE_MS, retry: RetryPolicy = POLICY, **chain: object) -> Followed:
    """Hand the order to a worker."""
    loop = VirtualLoop()
    clock = LoopClock(loop)
    scripted = ScriptedChain(clock, **chain)  # type: ignore[arg-type]

    async def work() -> Followed:
        store = FakeOrders()
        await store.create(order)
        policy = ExecutionPolicy(retry, lease_ms=LEASE_MS, rebroadcast_ms=BEAT_MS)
        execute = Execute(store, Router((), clock), scripted, clock, policy, Silent())
        async with asyncio.timeout(600):
            verdict = await execute(order.ref, worker="me", deadline=T0 + deadline_ms)
        stored = await store.get(order.ref)
        assert stored is not None
        return Followed(verdict, stored, clock.now_ms() - T0, scripted)

    return run(loop, work())


def test_the_same_bytes_are_sent_again_at_every_beat_while_nothing_is_known() -> None:
    done = follow(submitted())
    assert [tx for _, tx in done.chain.sent] == [BYTES] * 7
    assert [ms for ms, _ in done.chain.sent] == [beat * BEAT_MS for beat in range(7)]


def test_a_landing_is_seen_within_a_poll_and_nothing_is_sent_after_it() -> None:
    done = follow(submitted(), landed=lambda ms: LANDED if ms >= 5_030 else None)
    assert done.verdict == Done("confirmed")
    assert done.order.status is Status.CONFIRMED
    assert 5_030 <= done.ended <= 5_130
    assert [ms for ms, _ in done.chain.sent] == [0, 2_000, 4_000]


def test_whoever_takes_over_asks_before_it_sends() -> None:
    done = follow(submitted(), landed=lambda ms: LANDED)
    assert done.verdict == Done("confirmed")
    assert done.chain.sent == []


def test_a_transaction_that_expires_while_it_is_followed_is_tried_again_within_a_beat() -> None:
    """The worker that sees it does not leave this to the next one."""
    done = follow(submitted(), blocks=lambda ms: 100 if ms < 5_000 else 101)
    assert isinstance(done.verdict, Later)
    assert done.order.status is Status.PENDING
    assert done.order.intent is None
    assert 5_000 <= done.ended <= 5_000 + BEAT_MS


def test_a_node_that_is_behind_the_height_proves_no_expiry() -> None:
    """It may lack the very block in which the transaction landed; one that has come as far would know."""
    landed_late = follow(
        submitted(), blocks=lambda ms: 101, behind=lambda ms: 1 if ms < 5_000 else 0, landed=lambda ms: None
    )
    assert landed_late.order.status is Status.PENDING
    assert landed_late.ended >= 5_000
    found = follow(
        submitted(),
        blocks=lambda ms: 101,
        behind=lambda ms: 1 if ms < 5_000 else 0,
        landed=lambda ms: LANDED if ms >= 5_000 else None,
    )
    assert found.verdict == Done("confirmed")
    never = follow(submitted(), blocks=lambda ms: 101, behind=lambda ms: 1)
    assert never.order.status is Status.SUBMITTED
    assert never.verdict == Later(LEASE_MS - never.ended, "the chain has not answered yet")


@pytest.mark.parametrize("mute", [{"broadcast"}, {"status"}, {"height"}, {"broadcast", "status"}], ids=sorted)
def test_a_chain_that_does_not_answer_keeps_no_worker_beyond_its_deadline(mute: set[str]) -> None:
    done = follow(submitted(), mute=frozenset(mute))
    assert done.ended <= DEADLINE_MS
    assert done.verdict == Later(LEASE_MS - done.ended, "the chain has not answered yet")
    assert done.order.status is Status.SUBMITTED


def test_a_call_without_an_answer_costs_one_beat() -> None:
    done = follow(submitted(), mute=frozenset({"status"}), landed=lambda ms: LANDED)
    assert done.chain.asked[:3] == [0, BEAT_MS, 2 * BEAT_MS + 100]


@pytest.mark.parametrize("deadline_ms", [0, 50, 150, 3_000, 9_990])
def test_a_worker_returns_by_its_deadline_and_says_when_its_lease_is_over(deadline_ms: int) -> None:
    done = follow(submitted(), deadline_ms=deadline_ms)
    assert done.ended <= deadline_ms
    assert done.verdict == Later(LEASE_MS - done.ended, "the chain has not answered yet")


def test_the_last_call_of_a_worker_is_not_waited_for_beyond_its_deadline() -> None:
    done = follow(submitted(), deadline_ms=500, mute=frozenset({"broadcast"}))
    assert done.ended <= 510


def test_a_short_wait_is_left_to_the_queue_where_the_deadline_comes_first() -> None:
    held = replace(submitted(), lease=Lease("other", T0 + 900))
    done = follow(held, deadline_ms=800)
    assert done.verdict == Later(900, "held by another worker")
    assert done.ended == 0
