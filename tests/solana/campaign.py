"""Many orders at once on a chain and a line that go wrong in every way, with workers that end at any moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from local.solana.ledger import Landed, Weather
from order_engine.domain.lifecycle import TERMINAL
from order_engine.domain.order import Order, OrderRef, Status
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT
from order_engine.engine.execute import Done
from order_engine.venues.solana.build import order_of
from order_engine.venues.solana.parse import parse
from tests.solana.desk import (
    COINS,
    INVOCATION_MS,
    LEASE_MS,
    START_LAMPORTS,
    START_UNITS,
    Desk,
    Process,
    place,
    with_desk,
)

PAIRS = [(SOL, USDC), (USDC, SOL), (USDC, BONK), (SOL, BONK), (JUP, SOL), (USDC, USDT), (BONK, USDC)]
STORM = Weather(lost=0.2, doomed=0.12, late=0.1, vanishing=0.05, lags=(0, 2, 0, 7, 0, 45), forks=(0, 0, 0, 5, 20))
# Where nearly everything lands at the last moment, and most nodes know less than others.
TYPHOON = Weather(
    lost=0.3, doomed=0.1, late=0.98, lags=(0, 60, 0, 120, 0, 0, 90), forks=(0, 25, 0, 30, 12), forgets_after=100
)


@dataclass
class Campaign:
    """What to do.

    Attributes:
        killed: the share of a worker's turns that end in the middle.
        doubled: the share of messages that are delivered twice at once.
    """

    orders: int
    seed: int = 1
    weather: Weather = STORM
    broken: float = 0.05
    killed: float = 0.2
    doubled: float = 0.1
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def run(self) -> Result:
        return with_desk(self._play, weather=self.weather, seed=self.seed, broken=self.broken)

    async def _play(self, desk: Desk) -> Result:
        processes = [desk.process() for _ in range(4)]
        began = desk.clock.now_ms()
        await asyncio.gather(*(self._serve(desk, processes, number) for number in range(self.orders)))
        # What is on its way still lands, and is confirmed for everybody.
        await desk.clock.sleep(120_000)
        desk.line.broken = 0.0
        desk.chain.set_weather(lags=(0,), forks=(0,))
        told = {(swap.order_id, swap.signature) for swap in await desk.process().chain.swaps(since=began)}
        return Result(desk.signer.address, desk.orders.stored, desk.chain.landed, desk.held(), desk.lamports(), told)

    async def _serve(self, desk: Desk, processes: list[Process], number: int) -> None:
        """One order from its acceptance to its end, as the queue and the sweeper would bring it."""
        dice = self.dice
        await desk.clock.sleep(dice.randint(0, 400 * self.orders))
        sell, buy = PAIRS[dice.randrange(len(PAIRS))]
        amount = dice.randint(1, 50) * sell.unit
        order = await place(desk, f"order-{number}", sell, buy, amount, dice.choice((10, 50, 300)))
        if dice.random() < self.doubled:
            twin = asyncio.create_task(self._deliver(desk, processes, order.ref, 1000 + number))
            await self._deliver(desk, processes, order.ref, number)
            await twin
        else:
            await self._deliver(desk, processes, order.ref, number)

    async def _deliver(self, desk: Desk, processes: list[Process], ref: OrderRef, number: int) -> None:
        dice = self.dice
        for turn in range(200):
            if desk.orders.stored[ref].status in TERMINAL:
                return
            place_of = dice.randrange(len(processes))
            process = processes[place_of]
            now = desk.clock.now_ms()
            work = asyncio.create_task(process.execute(ref, worker=f"{number}-{turn}", deadline=now + INVOCATION_MS))
            if dice.random() < self.killed:
                await asyncio.wait([work], timeout=dice.uniform(0, 4))
                work.cancel()
                await asyncio.wait([work])
                # A process that ends takes its memory with it. The message comes again when nobody has it any more.
                processes[place_of] = desk.process()
                await desk.clock.sleep(dice.randint(1000, LEASE_MS))
                continue
            try:
                verdict = await work
            except Exception:  # noqa: BLE001 - a worker that breaks leaves its message to come again
                await desk.clock.sleep(LEASE_MS)
                continue
            if isinstance(verdict, Done):
                return
            await desk.clock.sleep(verdict.delay_ms)
        raise AssertionError(f"{ref} comes to no end.")


@dataclass
class Result:
    """What was left at the end, and what of it does not fit."""

    wallet: str
    orders: dict[OrderRef, Order]
    landed: dict[str, Landed]
    held: dict[str, int]
    lamports: int
    told: set[tuple[str, str]]

    @property
    def statuses(self) -> Counter[Status]:
        return Counter(order.status for order in self.orders.values())

    def swapped(self) -> dict[str, list[str]]:
        """Signatures of the swaps on the chain, by order."""
        found: dict[str, list[str]] = {}
        for signature, landed in self.landed.items():
            if landed.error is None:
                note = parse(bytes(landed.transaction)).note
                found.setdefault(order_of(note) or note, []).append(signature)
        return found

    def violations(self) -> list[str]:
        """Which promises are broken, in sentences. The chain's own books are what everything is held against."""
        wrong: list[str] = []
        swapped = self.swapped()
        for ref, order in self.orders.items():
            mine = swapped.pop(ref.order_id, [])
            if len(mine) > 1:
                wrong.append(f"{ref.order_id} was swapped {len(mine)} times")
            if order.status not in TERMINAL:
                wrong.append(f"{ref.order_id} has not ended: {order.status}")
            if (order.status is Status.CONFIRMED) != bool(mine):
                wrong.append(f"{ref.order_id} is {order.status} with {len(mine)} swaps")
            if order.fill is not None and mine:
                wrong += self._filled(order, mine[0])
        wrong += [f"{name} was swapped, and is no order" for name in swapped]
        confirmed = {(ref.order_id, order.fill.signature) for ref, order in self.orders.items() if order.fill}
        if self.told != confirmed:
            wrong.append(f"the ledger tells {len(self.told)} swaps of {len(confirmed)} confirmed orders")
        return wrong + self._wallet()

    def _filled(self, order: Order, signature: str) -> list[str]:
        assert order.fill is not None
        change = _change(self.landed[signature], self.wallet)
        wrong = []
        if order.fill.signature != signature:
            wrong.append(f"{order.ref.order_id} names another signature")
        if change[order.request.mint_out] != order.fill.amount_out:
            got, said = change[order.request.mint_out], order.fill.amount_out
            wrong.append(f"{order.ref.order_id} says {said} and the wallet got {got}")
        if change[order.request.mint_in] != -order.request.amount_in:
            wrong.append(f"{order.ref.order_id} paid {-change[order.request.mint_in]} of {order.request.amount_in}")
        return wrong

    def _wallet(self) -> list[str]:
        """Every unit of every token, and every lamport, explained by swaps and fees."""
        explained: Counter[str] = Counter()
        for landed in self.landed.values():
            explained.update(_change(landed, self.wallet))
        wrong = [
            f"{mint}: {self.held[mint] - START_UNITS} units, of which {explained[mint]} are explained"
            for mint in (each.mint for each in COINS)
            if self.held[mint] - START_UNITS != explained[mint]
        ]
        fees = sum(landed.fee for landed in self.landed.values())
        if self.lamports != START_LAMPORTS - fees:
            wrong.append(f"{START_LAMPORTS - self.lamports} lamports are gone, and {fees} were fees")
        return wrong


def _change(landed: Landed, wallet: str) -> Counter[str]:
    change: Counter[str] = Counter()
    for held, sign in ((landed.after.tokens, 1), (landed.before.tokens, -1)):
        for each in held:
            if each.owner == wallet:
                change[each.mint] += sign * each.amount
    return change
