"""An update of the functions, one after the other, while orders flow: from the last release to this one, and back.

Both releases run beside each other over the same tables, queues and sockets, each function in processes of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Any

import httpx

from cli.client import Client
from infra.synth import template
from infra.tree import ROOT
from local.stack import Stack
from local.threads import in_thread
from order_engine.engine.accounts import ApiKey, new_key
from tests.e2e.clients import HEADERS, KEY, ORDER
from tests.release import former_key_item, import_roots, unpack, versions

_CALM = {
    "FAILURE_RATE": "0",
    "QUOTE_DELAY_MS": "20",
    "LANDING_MIN_MS": "100",
    "LANDING_MAX_MS": "400",
    "SWEEP_BEAT_MS": "1000",
}
_SURE = {**ORDER, "slippageBps": 1000}
_RESTING = {**ORDER, "type": "limit", "limitPrice": "1000000"}
# Updated and rolled back in this order, every pair of them runs as new beside old and as old beside new.
_FUNCTIONS = ("Submit", "Authorizer", "Process", "DeadLetters", "Sweep", "Notify", "Socket")


def _named(stack: Stack, part: str) -> str:
    (name,) = (name for name in stack.environments if part in name)
    return name


def _key_of_old(stack: Stack) -> ApiKey:
    """A key as 0.1.0 kept them, among the accounts."""
    _, key = new_key("alice", 1_790_000_000_000, key=KEY)
    table = next(name for name in stack.client("dynamodb").list_tables()["TableNames"] if "Accounts" in name)
    stack.client("dynamodb").put_item(TableName=table, Item=former_key_item(key))
    return key


class Flow:
    """Orders that are placed all the time, and what a client of the stream sees of them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.accepted: list[str] = []
        self.resting: list[str] = []
        self.refused: list[str] = []
        self.seen: dict[str, list[int]] = {}
        self.ended: set[str] = set()
        self._grown, self._enough, self._placed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stop(self) -> None:
        """Place no more; what is being placed is."""
        self._enough.set()
        await self._placed.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Flow]:
        async with httpx.AsyncClient(base_url=self._stack.http_url, headers=HEADERS, timeout=20) as http:
            tasks = [asyncio.create_task(work) for work in (self._place(http), self._follow())]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                for error in await asyncio.gather(*tasks, return_exceptions=True):
                    if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                        raise error

    async def _place(self, http: httpx.AsyncClient) -> None:
        for number in itertools.count():
            if self._enough.is_set():
                self._placed.set()
                return
            rests = number % 8 == 0
            reply = await http.post("/api/orders/execute", json=_RESTING if rests else _SURE)
            if reply.status_code == 202:
                (self.resting if rests else self.accepted).append(reply.json()["orderId"])
            else:
                self.refused.append(reply.text)
            if rests and len(self.resting) > 1:
                cancelled = await http.delete(f"/api/orders/{self.resting[-2]}")
                assert cancelled.json()["status"] == "cancelled", cancelled.text
            await asyncio.sleep(0.15)

    async def _follow(self) -> None:
        async with Client(self._stack.http_url, KEY) as client:
            async for event in client.follow_all():
                self.seen.setdefault(event.order_id, []).append(event.seq)
                if event.status in ("confirmed", "failed", "cancelled"):
                    self.ended.add(event.order_id)
                    self._grown.set()

    async def ends(self, order_ids: Sequence[str]) -> None:
        """Wait until the client has seen these end."""
        while not self.ended.issuperset(order_ids):
            self._grown.clear()
            await self._grown.wait()

    async def some_more(self, number: int) -> None:
        """Wait until so many more orders were accepted, and have ended."""
        goal = len(self.accepted) + number
        while len(self.accepted) < goal:  # noqa: ASYNC110 - a list tells nobody that it has grown
            await asyncio.sleep(0.02)
        await self.ends(self.accepted[goal - number : goal])


def _set_aside(stack: Stack) -> dict[str, int]:
    """What lies in the queues of what was given up."""
    sqs, found = stack.client("sqs"), {}
    for url in sqs.list_queues()["QueueUrls"]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        if "QueuesOrders" not in url and (number := sum(map(int, counts.values()))):
            found[url.rpartition("/")[2]] = number
    return found


def _assert_went_well(order: dict[str, Any], seen: Sequence[int], end: str) -> None:
    assert order["status"] == end, order
    assert [event["seq"] for event in order["events"]] == list(range(1, order["seq"] + 1))
    statuses = Counter(event["status"] for event in order["events"])
    signed = 1 if end == "confirmed" else 0
    assert (statuses["submitted"], statuses["confirmed"]) == (signed, signed), order["events"]
    assert list(seen) == list(range(1, order["seq"] + 1))


async def test_orders_end_once_while_the_functions_are_updated_and_rolled_back(tmp_path: Path) -> None:
    released = import_roots(unpack(versions()[-1], tmp_path / "release"))
    document = await in_thread(template, ROOT / "build")
    log: IO[str]
    with (tmp_path / "functions.log").open("w+") as log:
        async with Stack(document, _CALM, isolate=True, output=log) as stack:
            for part in _FUNCTIONS:
                stack.update(_named(stack, part), released)
            await in_thread(_key_of_old, stack)
            flow = Flow(stack)
            async with asyncio.timeout(180), flow.running() as placing:
                await flow.some_more(2)
                for roots in ((), released):
                    for part in _FUNCTIONS:
                        stack.update(_named(stack, part), roots)
                        await flow.some_more(1)
                await placing.stop()
                async with httpx.AsyncClient(base_url=stack.http_url, headers=HEADERS, timeout=20) as http:
                    if flow.resting[-1] not in flow.ended:
                        assert (await http.delete(f"/api/orders/{flow.resting[-1]}")).status_code == 200
                    ends = dict.fromkeys(flow.accepted, "confirmed") | dict.fromkeys(flow.resting, "cancelled")
                    # The client of the stream sees each of them to its end, whoever pushed it.
                    await flow.ends(list(ends))
                    orders = {name: (await http.get(f"/api/orders/{name}")).json() for name in ends}
            assert flow.refused == []
            assert len(flow.accepted) >= 16
            assert await in_thread(_set_aside, stack) == {}
            for name, order in orders.items():
                _assert_went_well(order, flow.seen[name], ends[name])
        log.seek(0)
        assert "Traceback" not in log.read()
