"""Looking at statuses together, at bearable intervals."""

from __future__ import annotations

import asyncio
from typing import Any

from order_engine.venues.solana.looks import Looks
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.rpc import NodeUnavailable
from tests.simulation.loop import VirtualLoop, run
from tests.support.clock import LoopClock


class Counted:
    """A node that notes when it was asked for which signatures."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[str]]] = []
        self.breaks = False

    async def call(self, method: str, *params: Any) -> Any:
        self.asked.append((round(asyncio.get_running_loop().time() * 1000), params[0]))
        await asyncio.sleep(0.05)
        if self.breaks:
            raise NodeUnavailable("No node answered.")
        return {"context": {"slot": 9}, "value": [None] * len(params[0])}


def test_all_that_are_under_way_share_a_look() -> None:
    async def scene() -> None:
        node = Counted()
        looks = Looks(Node(node), LoopClock())
        for name in "abc":
            looks.sent(name)
        await asyncio.gather(*(looks.known(name) for name in "cab"))
        assert node.asked == [(1100, ["a", "b", "c"])]
        # Whoever asks again at once waits for the next look; one that others sent is not waited for.
        await asyncio.gather(looks.known("a"), looks.known("other"))
        assert node.asked[1:] == [(1500, ["a", "other"])]

    run(VirtualLoop(), scene())


def test_a_clock_that_is_set_back_delays_no_look() -> None:
    class Jumping(LoopClock):
        back = 0

        def now_ms(self) -> int:
            return super().now_ms() - self.back

    async def scene() -> None:
        clock = Jumping()
        looks = Looks(Node(Counted()), clock)
        looks.sent("a")
        await looks.known("a")
        clock.back = 3_600_000
        async with asyncio.timeout(5):
            await looks.known("a")

    run(VirtualLoop(), scene())


def test_hundreds_are_asked_for_in_calls_that_a_node_takes() -> None:
    async def scene() -> None:
        node = Counted()
        looks = Looks(Node(node), LoopClock())
        await asyncio.gather(*(looks.known(f"{n}") for n in range(600)))
        assert sorted(len(names) for _, names in node.asked) == [88, 256, 256]

    run(VirtualLoop(), scene())


def test_a_look_that_failed_or_was_given_up_keeps_nobody_from_the_next() -> None:
    async def scene() -> None:
        node = Counted()
        looks = Looks(Node(node), LoopClock())
        node.breaks = True
        answers = await asyncio.gather(looks.known("a"), looks.known("b"), return_exceptions=True)
        assert [type(answer) for answer in answers] == [NodeUnavailable] * 2
        node.breaks = False
        given_up = asyncio.create_task(looks.known("a"))
        await asyncio.sleep(0.01)
        given_up.cancel()
        assert (await looks.known("b")).slot == 9

    run(VirtualLoop(), scene())


def test_a_process_may_have_one_loop_after_another() -> None:
    node = Counted()
    looks = Looks(Node(node), LoopClock())

    async def ends_in_the_middle() -> None:
        task = asyncio.create_task(looks.known("a"))
        await asyncio.sleep(0.01)
        assert not task.done()

    async def goes_on() -> None:
        assert (await looks.known("a")).slot == 9

    run(VirtualLoop(), ends_in_the_middle())
    run(VirtualLoop(), goes_on())


def test_sent_before_is_remembered_for_a_thousand() -> None:
    async def scene() -> None:
        looks = Looks(Node(Counted()), LoopClock())
        assert [looks.sent(name) for name in ("a", "a", "b")] == [False, True, False]
        for number in range(1000):
            looks.sent(f"{number}")
        assert not looks.sent("a")
        assert looks.sent("999")

    run(VirtualLoop(), scene())
