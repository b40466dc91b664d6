"""What invokes the functions: the queues' and the stream's event sources, and the schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from order_engine.aws import codec
from order_engine.domain.order import Order
from tests.fakes.queue import FakeQueue, Message, record_of
from tests.simulation.world import Invocation, World

_LOOKS_AGAIN_S = 5

type Handler = Callable[[Any, Invocation], Coroutine[Any, Any, Any]]


@dataclass(slots=True, eq=False)
class QueueSource:
    """Hands a queue's messages to a function in batches, and deletes those that were not reported as failed."""

    world: World
    queue: FakeQueue
    name: str
    handler: Handler
    timeout_ms: int
    concurrency: int = 10
    batch: int = 10
    running: int = 0
    _planned: asyncio.TimerHandle | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        self.queue.wake = self.wake
        self.wake()

    def wake(self) -> None:
        """Plan the next poll for when there is something to receive."""
        at = self.queue.next_visible()
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        if at is None or self.running >= self.concurrency:
            return
        wait = max(0, at - self.world.now) + self.world.rng.randint(1, 60)
        self._planned = self.world.loop.call_later(wait / 1000, self._poll)

    def _poll(self) -> None:
        self._planned = None
        world = self.world
        if f"{self.name} source" in world.paused:
            # The mapping is disabled: nothing is received.
            self._planned = world.loop.call_later(_LOOKS_AGAIN_S, self._poll)
            return

        def choose(visible: list[Message]) -> list[Message]:
            if len(visible) > 1 and world.happens("shuffled"):
                world.rng.shuffle(visible)
                return visible[: world.rng.randint(1, len(visible))]
            return visible

        taken = self.queue.receive(self.batch, choose)
        if taken:
            self._spawn(taken)
            if world.happens("doubled"):
                self._spawn(taken)
        self.wake()

    def _spawn(self, taken: list[Message]) -> None:
        self.running += 1
        task = self.world.loop.create_task(self._deliver([record_of(message) for message in taken]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, records: list[dict[str, object]]) -> None:
        try:
            done, answer = await self.world.invoke(
                self.name, lambda invocation: self.handler({"Records": records}, invocation), timeout_ms=self.timeout_ms
            )
        finally:
            self.running -= 1
        if done:
            assert answer is not None
            failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
            for record in records:
                if record["messageId"] not in failed and not self.world.happens("redelivered"):
                    self.queue.delete(str(record["receiptHandle"]))
        self.wake()


@dataclass(slots=True)
class Shard:
    records: list[dict[str, Any]] = field(default_factory=list)
    checkpoint: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class StreamSource:
    """The orders table's stream and its event source mapping, as ``infra.workers`` configures it.

    A user's records come from all shards: DynamoDB keeps the order of each item's records, and may split what belongs
    to one user by size or heat. The shards have their own pace, and their own failures.

    Attributes:
        given_up: sequence numbers of the records that went to the failure destination.
        delays: by sequence number, milliseconds from the write until the record was done with.
        placed: what the stream's second reader does with the record of a new order.
    """

    world: World
    handler: Handler
    shards: list[Shard]
    timeout_ms: int = 30_000
    batch: int = 100
    retries: int = 5
    sequence: int = 0
    given_up: list[str] = field(default_factory=list)
    delays: dict[str, int] = field(default_factory=dict)
    placed: Callable[[dict[str, Any]], None] = lambda record: None

    def written(self, old: Order | None, new: Order) -> None:
        """One write of the table: one record."""
        images = {"NewImage": codec.to_item(new)}
        if old is not None:
            images["OldImage"] = codec.to_item(old)
        self.put(new.ref.order_id, "INSERT" if old is None else "MODIFY", images)

    def put(self, key: str, kind: str, images: dict[str, Any]) -> str:
        """A record of one item. All records of an item are in one shard."""
        self.sequence += self.world.rng.randint(1, 5)
        number = str(100_000 + self.sequence)
        shard = self.shards[sum(key.encode()) % len(self.shards)]
        shard.records.append(
            {
                "eventID": number,
                "eventName": kind,
                "dynamodb": {
                    "SequenceNumber": number,
                    "ApproximateCreationDateTime": self.world.now // 1000,
                    **images,
                },
                "at": self.world.now,
            }
        )
        if kind == "INSERT":
            self.placed(shard.records[-1])
        shard.arrived.set()
        return number

    def drained(self) -> bool:
        return all(shard.checkpoint == len(shard.records) for shard in self.shards)

    def start(self) -> list[asyncio.Task[None]]:
        return [self.world.loop.create_task(self._follow(shard)) for shard in self.shards]

    async def _follow(self, shard: Shard) -> None:
        size, tries = self.batch, 0
        while True:
            if shard.checkpoint == len(shard.records):
                shard.arrived.clear()
                await shard.arrived.wait()
            await asyncio.sleep(self.world.rng.randint(5, 250) / 1000)
            start = shard.checkpoint
            records = shard.records[start : start + size]
            failed_at = await self._deliver(records)
            if failed_at is None:
                self._advance(shard, start + len(records))
                size, tries = self.batch, 0
            elif failed_at > 0:
                self._advance(shard, start + failed_at)
                size, tries = max(1, (len(records) - failed_at) // 2), 0
            elif len(records) > 1:
                size = (len(records) + 1) // 2
            elif tries < self.retries:
                tries += 1
                await asyncio.sleep(self.world.rng.randint(100, 800) / 1000)
            else:
                self.world.counted["stream record given up"] += 1
                self.given_up.append(records[0]["dynamodb"]["SequenceNumber"])
                self._advance(shard, start + 1)
                size, tries = self.batch, 0

    def _advance(self, shard: Shard, checkpoint: int) -> None:
        for record in shard.records[shard.checkpoint : checkpoint]:
            self.delays[record["dynamodb"]["SequenceNumber"]] = self.world.now - record["at"]
        shard.checkpoint = checkpoint

    async def _deliver(self, records: list[dict[str, Any]]) -> int | None:
        """The place of the first record that must come again, or None."""

        async def handle(invocation: Invocation) -> Any:
            return await self.handler({"Records": records}, invocation)

        done, answer = await self.world.invoke("notify", handle, timeout_ms=self.timeout_ms)
        if not done:
            return 0
        assert answer is not None
        failed = {entry["itemIdentifier"] for entry in answer["batchItemFailures"]}
        places = [place for place, record in enumerate(records) if record["dynamodb"]["SequenceNumber"] in failed]
        if places:
            return places[0]
        if self.world.happens("redelivered"):
            await self.world.invoke("notify", handle, timeout_ms=self.timeout_ms)
        return None


@dataclass(slots=True, eq=False)
class WakeSource:
    """The stream's second reader: hands the orders placed within a window to the sweeper, unless that runs already."""

    world: World
    handler: Handler
    window_ms: int = 5_000
    oldest_ms: int = 60_000
    timeout_ms: int = 60_000
    _gathered: list[dict[str, Any]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def placed(self, record: dict[str, Any]) -> None:
        self._gathered.append(record)
        if len(self._gathered) == 1:
            task = self.world.loop.create_task(self._wake())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _wake(self) -> None:
        await asyncio.sleep((self.window_ms + self.world.rng.randint(5, 250)) / 1000)
        records, self._gathered = self._gathered, []
        while self.world.running["sweep"]:
            await asyncio.sleep(self.world.rng.randint(200, 2_000) / 1000)
            if self.world.now - records[-1]["at"] > self.oldest_ms:
                return
        await self.world.invoke(
            "sweep", lambda run: self.handler({"Records": records}, run), timeout_ms=self.timeout_ms
        )


@dataclass(slots=True, eq=False)
class Schedule:
    """Runs a function every minute, and now and then twice at once: schedules deliver at least once."""

    world: World
    name: str
    handler: Handler
    timeout_ms: int = 60_000
    every_ms: int = 60_000
    offset_ms: int = 0

    async def run(self) -> None:
        await asyncio.sleep(self.offset_ms / 1000)
        while True:
            next_at = self.world.now + self.every_ms
            runs = 2 if self.world.happens("doubled") else 1
            await asyncio.gather(*(self._once() for _ in range(runs)))
            await asyncio.sleep(max(0, next_at + self.world.rng.randint(0, 1500) - self.world.now) / 1000)

    async def _once(self) -> None:
        await self.world.invoke(self.name, lambda run: self.handler({}, run), timeout_ms=self.timeout_ms)
