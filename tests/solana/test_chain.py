"""Orders swapped by the engine's own worker on the venues' real programs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from local.solana.ledger import Weather
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, Token
from tests.solana.desk import START_UNITS, Desk, confirmed, place, reasons, with_desk


@pytest.mark.parametrize(
    ("sell", "buy", "amount_in"),
    [
        (SOL, USDC, 10**9),
        (USDC, SOL, 150 * 10**6),
        (SOL, USDC, 3_000 * 10**9),
        (USDC, BONK, 10**9),
        (SOL, BONK, 2 * 10**9),
        (JUP, USDC, 1_000 * 10**6),
    ],
    ids=["sell", "buy", "split", "decimals", "path", "path back"],
)
def test_the_order_says_what_the_wallet_got(sell: Token, buy: Token, amount_in: int) -> None:
    async def scene(desk: Desk) -> None:
        before = desk.held()
        order = confirmed(await desk.process().swap(sell, buy, amount_in))
        after = desk.held()
        assert order.fill is not None
        assert after[buy.mint] - before[buy.mint] == order.fill.amount_out
        assert before[sell.mint] - after[sell.mint] == amount_in
        # Nobody else trades: the swap gives what was quoted for what was put in.
        assert order.routed is not None
        chosen = order.routed.decision.chosen
        if all(leg.mint_in == sell.mint for leg in chosen.legs):
            assert order.fill.amount_out == chosen.amount_out
        assert order.fill.amount_out >= order.routed.min_out
        assert order.fill.slot == desk.chain.landed[order.fill.signature].slot

    with_desk(scene)


def test_two_equal_orders_at_one_moment_are_two_swaps() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        before = desk.held()
        orders = await asyncio.gather(*(process.swap(SOL, USDC, 10**9, name=name) for name in ("first", "second")))
        fills = [order.fill for order in map(confirmed, orders)]
        assert len({fill.signature for fill in fills if fill}) == 2
        assert len(desk.chain.landed) == 2
        after = desk.held()
        assert before[SOL.mint] - after[SOL.mint] == 2 * 10**9
        assert after[USDC.mint] - before[USDC.mint] == sum(fill.amount_out for fill in fills if fill)

    with_desk(scene)


def test_the_ledger_tells_every_swap_and_whose_it_is() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        began = desk.clock.now_ms()
        for number in range(3):
            confirmed(await process.swap(SOL, USDC, 10**9, name=f"order-{number}"))
        swaps = await process.chain.swaps(since=began)
        assert {(swap.order_id, swap.signature) for swap in swaps} == {
            (ref.order_id, order.fill.signature) for ref, order in desk.orders.stored.items() if order.fill
        }
        assert len(swaps) == 3
        assert len(await process.chain.swaps(since=began + 600_000)) == 0

    with_desk(scene)


def test_an_order_takes_few_calls() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        confirmed(await process.swap(SOL, USDC, 10**9, name="warm"))
        before = Counter(desk.line.methods.asked)
        confirmed(await process.swap(SOL, USDC, 10**9, name="counted"))
        asked = Counter(desk.line.methods.asked) - before
        assert asked["getMultipleAccounts"] == 1
        assert asked["getSignatureStatuses"] <= 2
        assert asked["getLatestBlockhash"] == 0
        assert asked.total() <= 6, asked

    with_desk(scene)


def test_a_node_whose_simulation_tells_no_block_hash_is_asked_for_one() -> None:
    async def scene(desk: Desk) -> None:
        methods = desk.line.methods._methods
        simulate = methods["simulateTransaction"]

        def older(view: Any, params: list[Any]) -> Any:
            said = simulate(view, params)
            del said["value"]["replacementBlockhash"]
            return said

        methods["simulateTransaction"] = older
        confirmed(await desk.process().swap(SOL, USDC, 10**9))
        assert desk.line.methods.asked["getLatestBlockhash"] == 1

    with_desk(scene)


def test_what_was_lost_is_sent_again_and_swapped_once() -> None:
    async def scene(desk: Desk) -> None:
        desk.chain.set_weather(lost=1.0)
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        task = asyncio.create_task(process.fill(order))
        await desk.clock.sleep(7000)
        assert desk.chain.sent >= 3
        desk.chain.set_weather(lost=0.0)
        done = confirmed(await task)
        assert len(desk.chain.landed) == 1
        assert done.attempts == 1
        assert desk.held()[SOL.mint] == START_UNITS - 10**9

    with_desk(scene)


def test_what_expired_is_signed_anew_and_swapped_once() -> None:
    async def scene(desk: Desk) -> None:
        desk.chain.set_weather(lost=1.0)
        process = desk.process()
        order = await place(desk, "order", SOL, USDC, 10**9)
        task = asyncio.create_task(process.fill(order))
        while desk.orders.stored[order.ref].attempts < 2:
            await desk.clock.sleep(500)
        desk.chain.set_weather(lost=0.0)
        done = confirmed(await task)
        assert len(desk.chain.landed) == 1
        assert done.attempts == 2
        assert reasons(done) == ["expired"]
        assert desk.held()[SOL.mint] == START_UNITS - 10**9

    with_desk(scene)


def test_a_swap_that_moved_below_the_minimum_lands_with_its_code_and_is_tried_again() -> None:
    async def scene(desk: Desk) -> None:
        desk.chain.set_weather(landing_slots=(8, 8))
        process, other = desk.process(), desk.process()
        order = await place(desk, "slow", SOL, USDC, 10**9, bps=1)
        task = asyncio.create_task(process.fill(order))
        while not desk.chain.sent:
            await desk.clock.sleep(10)
        desk.chain.set_weather(landing_slots=(1, 1))
        # Somebody else is faster, and moves every pool.
        confirmed(await other.swap(SOL, USDC, 2_000 * 10**9, name="fast", bps=500))
        done = confirmed(await task)
        assert reasons(done) == ["slippage_tolerance_exceeded"]
        assert done.attempts == 2
        failed = [landed for landed in desk.chain.landed.values() if landed.error is not None]
        assert len(failed) == 1

    with_desk(scene, weather=Weather(landing_slots=(1, 1)))
