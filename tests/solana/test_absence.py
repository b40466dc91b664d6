"""That a transaction never landed is concluded only from nodes that can know it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from local.solana.ledger import Weather
from local.solana.methods import Methods
from order_engine.domain.order import Order, Status
from order_engine.domain.tokens import SOL, USDC
from tests.solana.desk import INVOCATION_MS, START_UNITS, Desk, Line, confirmed, place, reasons, with_desk

SLOW = Weather(landing_slots=(50, 60))


async def sent_by_a_worker_that_ends(desk: Desk) -> Order:
    """An order whose transaction lands while nobody follows it."""
    process = desk.process()
    order = await place(desk, "order", SOL, USDC, 10**9)
    task = asyncio.create_task(process.execute(order.ref, worker="w", deadline=desk.clock.now_ms() + INVOCATION_MS))
    while not desk.chain.sent:
        await desk.clock.sleep(10)
    task.cancel()
    await asyncio.wait([task])
    await desk.clock.sleep(150_000)
    desk.chain.advance()
    assert len(desk.chain.landed) == 1
    return order


def swapped_once(desk: Desk) -> None:
    assert [landed.error for landed in desk.chain.landed.values()] == [None]
    assert desk.held()[SOL.mint] == START_UNITS - 10**9


@pytest.mark.parametrize("lost", ["the beginning", "the middle"])
def test_a_node_without_the_block_does_not_prove_that_a_transaction_is_not_in_it(lost: str) -> None:
    async def scene(desk: Desk) -> None:
        order = await sent_by_a_worker_that_ends(desk)
        (landed,) = desk.chain.landed.values()
        # It has thrown away what is older than some minutes; or it began anew from a snapshot.
        desk.chain.set_weather(lacks=((0 if lost == "the beginning" else landed.slot - 5, landed.slot + 5),))
        left = await desk.process().fill(order)
        assert left.status is Status.SUBMITTED
        swapped_once(desk)
        desk.chain.set_weather(lacks=((0, 0),))
        assert confirmed(await desk.process().fill(order)).attempts == 1

    with_desk(scene)


def test_a_node_without_blocks_that_do_not_matter_proves_it() -> None:
    async def scene(desk: Desk) -> None:
        desk.chain.set_weather(doomed=1.0)
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        sent_at = desk.chain.advance()
        task = asyncio.create_task(process.execute(order.ref, worker="w", deadline=desk.clock.now_ms() + INVOCATION_MS))
        while not desk.chain.sent:
            await desk.clock.sleep(10)
        task.cancel()
        await asyncio.wait([task])
        # An hour later. The node began 500 slots before the transaction, and was away for a time after it.
        await desk.clock.sleep(3_600_000)
        desk.chain.set_weather(doomed=0.0, lacks=((sent_at + 500, sent_at + 900),))
        done = confirmed(await desk.process().fill(order))
        assert reasons(done) == ["expired"]
        swapped_once(desk)

    with_desk(scene)


def told(desk: Desk, line: Line, alter: Callable[[str, Any], None]) -> None:
    """Let a node tell what is not so."""
    ask = line.call

    async def call(method: str, *params: Any) -> Any:
        said = await ask(method, *params)
        alter(method, said)
        return said

    line.call = call  # type: ignore[method-assign]


def test_a_height_that_is_told_too_low_lets_nothing_expire_early() -> None:
    def alter(method: str, said: Any) -> None:
        if method == "simulateTransaction":
            said["value"]["replacementBlockhash"]["lastValidBlockHeight"] -= 150

    async def scene(desk: Desk) -> None:
        told(desk, desk.line, alter)
        # It may be refused at first: such a transaction would be dead by now.
        assert set(reasons(confirmed(await desk.process().swap(SOL, USDC, 10**9)))) <= {"node_unavailable"}
        swapped_once(desk)

    with_desk(scene, weather=SLOW)


@pytest.mark.parametrize("wrong", [10**6, -(10**6), 300, -400])
def test_a_height_that_cannot_be_is_not_signed_for(wrong: int) -> None:
    def alter(method: str, said: Any) -> None:
        if method == "simulateTransaction":
            said["value"]["replacementBlockhash"]["lastValidBlockHeight"] += wrong

    async def scene(desk: Desk) -> None:
        told(desk, desk.line, alter)
        order = await desk.process().swap(SOL, USDC, 10**9)
        assert order.status is Status.FAILED
        assert set(reasons(order)) == {"node_unavailable"}
        assert desk.signer.signed == 0

    with_desk(scene)


@pytest.mark.parametrize("lags", [(0, 45), (45, 0), (0, 0, 0, 45), (120, 0, 0, 0, 0)])
def test_nodes_of_different_age_behind_one_address_contradict_nothing(lags: tuple[int, ...]) -> None:
    async def scene(desk: Desk) -> None:
        assert "node_unavailable" not in reasons(confirmed(await desk.process().swap(SOL, USDC, 10**9)))

    with_desk(scene, weather=Weather(lags=lags))


def test_a_process_that_is_hours_old_still_knows_which_heights_can_be() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        for number in range(4):
            confirmed(await process.swap(SOL, USDC, 10**9, name=f"order-{number}"))
            await desk.clock.sleep(500_000)
        assert desk.line.methods.asked["getEpochInfo"] == 2

    with_desk(scene)


def _beyond(method: str, said: Any) -> None:
    """What a node says that believes itself to be further than the chain is."""
    if method == "getEpochInfo":
        said["blockHeight"] += 1000
        said["absoluteSlot"] += 1000
    if method == "getSignatureStatuses":
        said["context"]["slot"] += 1000
        said["value"] = [None for _ in said["value"]]


def test_two_nodes_must_say_that_a_transaction_has_expired_where_there_are_two() -> None:
    async def scene(desk: Desk) -> None:
        desk.others.append(Line(Methods(desk.chain), random.Random(2)))
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        task = asyncio.create_task(process.fill(order))
        while not desk.chain.sent:
            await desk.clock.sleep(10)
        told(desk, desk.line, _beyond)
        await desk.clock.sleep(12_000)
        assert desk.orders.stored[order.ref].attempts == 1
        told(desk, desk.line, lambda method, said: None)
        task.cancel()
        await asyncio.wait([task])
        swapped_once(desk)

    with_desk(scene, weather=SLOW)


def test_an_expiry_waits_for_the_second_node() -> None:
    async def scene(desk: Desk) -> None:
        other = Line(Methods(desk.chain), random.Random(2))
        desk.others.append(other)
        desk.chain.set_weather(lost=1.0)
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        task = asyncio.create_task(process.fill(order))
        await desk.clock.sleep(5_000)
        other.broken = 1.0
        await desk.clock.sleep(100_000)
        assert desk.orders.stored[order.ref].status is Status.SUBMITTED
        assert desk.orders.stored[order.ref].attempts == 1
        other.broken = 0.0
        desk.chain.set_weather(lost=0.0)
        assert reasons(confirmed(await task)) == ["expired"]
        swapped_once(desk)

    with_desk(scene)


def _alter(what: str) -> Callable[[str, Any], None]:
    def alter(method: str, said: Any) -> None:
        if method != "getTransaction" or said is None:
            return
        if what == "another payer":
            said["transaction"]["message"]["accountKeys"][0] = "1" * 32
        elif what == "another transaction":
            said["transaction"]["signatures"][0] = "1" * 64
        else:
            for balance in said["meta"]["postTokenBalances"]:
                if balance["mint"] == USDC.mint:
                    balance["uiTokenAmount"]["amount"] = what

    return alter


@pytest.mark.parametrize("what", ["0", "1", "-5", "9" * 60, "another payer", "another transaction"])
def test_a_ledger_that_cannot_be_true_fills_no_order(what: str) -> None:
    async def scene(desk: Desk) -> None:
        honest = desk.line.call
        told(desk, desk.line, _alter(what))
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        task = asyncio.create_task(process.fill(order))
        await desk.clock.sleep(10_000)
        assert desk.orders.stored[order.ref].status is Status.SUBMITTED
        desk.line.call = honest  # type: ignore[method-assign]
        done = confirmed(await task)
        assert done.fill is not None
        assert done.fill.amount_out == desk.held()[USDC.mint] - START_UNITS

    with_desk(scene)


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_failure_that_one_node_alone_tells_of_is_not_believed(nodes: int) -> None:
    lies = iter(range(40))
    error = {"InstructionError": [3, {"Custom": 6005}]}

    def alter(method: str, said: Any) -> None:
        if method == "getSignatureStatuses" and said["value"][0] is not None and next(lies, None) is not None:
            said["value"][0]["err"] = error
        if method == "getTransaction" and said is not None and next(lies, None) is not None:
            said["meta"]["err"] = error
            said["meta"]["logMessages"] = []

    async def scene(desk: Desk) -> tuple[Order, int]:
        desk.others += [Line(Methods(desk.chain), random.Random(number)) for number in range(1, nodes)]
        told(desk, desk.line, alter)
        order = await desk.process().swap(SOL, USDC, 10**9)
        return order, len(desk.chain.landed)

    order, landed = with_desk(scene)
    assert (order.status, order.attempts, landed) == (Status.CONFIRMED, 1, 1)


def test_an_error_that_only_the_ledgers_record_tells_of_is_not_believed() -> None:
    """The status says that it landed well; the record, for a while, that the program failed: nothing is signed anew."""
    lies = iter(range(5))

    def alter(method: str, said: Any) -> None:
        if method == "getTransaction" and said is not None and next(lies, None) is not None:
            said["meta"]["err"] = {"InstructionError": [3, {"Custom": 6005}]}
            said["meta"]["logMessages"] = []

    async def scene(desk: Desk) -> tuple[Order, int]:
        told(desk, desk.line, alter)
        order = await desk.process().swap(SOL, USDC, 10**9)
        return order, len(desk.chain.landed)

    order, landed = with_desk(scene)
    assert (order.status, order.attempts, landed) == (Status.CONFIRMED, 1, 1)
