"""What the real programs and the runtime refuse, as the order tells it, and whether it is tried again."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from local.solana.genesis import TAXED
from order_engine.domain.errors import SwapRefused
from order_engine.domain.failures import CATALOGUE
from order_engine.domain.order import Order, Routed, Status
from order_engine.domain.tokens import JUP, SOL, USDC, Token
from order_engine.venues.solana import addresses
from order_engine.venues.solana.addresses import TOKEN, token_account
from tests.solana.desk import KINDS, START_UNITS, Desk, Process, confirmed, of_kind, place, reasons, with_desk

TAX = Token("TAXED", TAXED.mint, TAXED.decimals)


def failed(order: Order, code: str) -> None:
    assert order.status is Status.FAILED, order.events[-1]
    assert order.failure is not None
    assert (order.failure.code, order.attempts) == (code, 1), order.failure
    assert CATALOGUE[code].final


async def routed(desk: Desk, process: Process, sell: Token, buy: Token, amount: int, *, name: str = "order") -> Order:
    """An order with a route that was found just now, ready to be built."""
    order = await place(desk, name, sell, buy, amount)
    decision = await process.execute.router.route(order.request.token_in, order.request.token_out, amount)
    event = replace(order.events[-1], detail=Routed(decision, decision.chosen.amount_out))
    return replace(order, events=(*order.events, event))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wallet_without_the_token_ends_the_order_at_once(kind: str) -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process([of_kind(desk, kind).address])
        failed(await process.swap(SOL, USDC, 10**9), "insufficient_funds")
        assert desk.signer.signed == 0

    with_desk(scene, coins={SOL.mint: 10**8, USDC.mint: 0})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wallet_that_never_held_the_token_ends_the_order_at_once(kind: str) -> None:
    async def scene(desk: Desk) -> None:
        failed(await desk.process([of_kind(desk, kind).address]).swap(SOL, USDC, 10**9), "insufficient_funds")

    with_desk(scene, coins={})


@pytest.mark.parametrize("lamports", [0, 4_000, 1_000_000])
def test_a_wallet_without_sol_for_fee_and_rent_ends_the_order_at_once(lamports: int) -> None:
    async def scene(desk: Desk) -> None:
        failed(await desk.process().swap(SOL, USDC, 10**9), "insufficient_sol")
        assert desk.signer.signed == 0

    # It holds what it sells, and has no account for what it buys.
    with_desk(scene, coins={SOL.mint: 10**12}, lamports=lamports)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["sold", "bought"])
def test_a_frozen_account_ends_the_order_at_once(kind: str, side: str) -> None:
    async def scene(desk: Desk) -> None:
        mint = SOL.mint if side == "sold" else USDC.mint
        address = token_account(desk.signer.address, mint, TOKEN)
        account = desk.chain.account(address)
        assert account is not None
        desk.chain.put(address, TOKEN, account.data[:108] + b"\x02" + account.data[109:], account.lamports)
        failed(await desk.process([of_kind(desk, kind).address]).swap(SOL, USDC, 10**9), "account_frozen")

    with_desk(scene)


@pytest.mark.parametrize("kind", KINDS)
def test_a_price_that_moved_is_tried_again_with_a_fresh_route(kind: str) -> None:
    async def scene(desk: Desk) -> None:
        pool = of_kind(desk, kind)
        process, other = desk.process([pool.address]), desk.process([pool.address])
        order = await routed(desk, process, SOL, USDC, 10**9)
        assert order.routed is not None
        confirmed(await other.swap(SOL, USDC, 200 * 10**9, name="other", bps=1000))
        with pytest.raises(SwapRefused) as refused:
            await process.chain.build(order, min_out=order.routed.min_out)
        assert refused.value.code == "slippage_tolerance_exceeded", refused.value
        # The pool is not to blame: it has moved.
        confirmed(await process.swap(SOL, USDC, 10**9, name="again"))

    with_desk(scene)


def _rewritten(address: str, offset: int, data: bytes) -> Any:
    """Lets a node tell of an account what is not so."""

    def alter(asked: list[str], said: Any) -> Any:
        for name, account in zip(asked, said["value"], strict=True):
            if name == address and account is not None:
                raw = bytearray(base64.b64decode(account["data"][0]))
                raw[offset : offset + len(data)] = data
                account["data"][0] = base64.b64encode(bytes(raw)).decode()
        return said

    return alter


def test_a_pool_that_gives_less_than_its_quote_is_named_and_left_out() -> None:
    async def scene(desk: Desk) -> None:
        pool = of_kind(desk, "cpmm")
        account = desk.chain.account(pool.address)
        assert account is not None
        config = addresses.from_bytes(account.data[8:40])
        # As if this pool took no fee: it is the best of all, and gives less than it promises.
        desk.line.rewrite = _rewritten(config, 12, bytes(8))
        order = await desk.process().swap(SOL, USDC, 10**9)
        assert reasons(order) == ["pool_disagrees"]
        assert any(pool.address in str(event.detail) for event in order.events)
        confirmed(order)
        assert order.routed is not None
        assert pool.address not in {leg.pool_id for leg in order.routed.decision.chosen.legs}
        assert desk.signer.signed == 1
        assert order.fill is not None
        assert desk.held()[USDC.mint] == START_UNITS + order.fill.amount_out

    with_desk(scene)


@pytest.mark.parametrize(("kind", "offset", "closed"), [("cpmm", 329, b"\x04"), ("clmm", 389, b"\x10")])
def test_a_pool_that_is_closed_meanwhile_is_left_out(kind: str, offset: int, closed: bytes) -> None:
    async def scene(desk: Desk) -> None:
        pool = of_kind(desk, kind)
        process = desk.process([pool.address])
        order = await routed(desk, process, SOL, USDC, 10**9)
        account = desk.chain.account(pool.address)
        assert account is not None
        changed = account.data[:offset] + closed + account.data[offset + 1 :]
        desk.chain.put(pool.address, str(account.owner), changed, account.lamports)
        with pytest.raises(SwapRefused) as refused:
            await process.chain.build(order, min_out=1)
        assert refused.value.code == "pool_closed"
        assert pool.address in refused.value.message
        reading = await process.source.read((SOL.mint, USDC.mint))
        assert reading.pools == ()

    with_desk(scene)


def test_a_tax_on_transfers_is_no_disagreement() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        order = confirmed(await process.swap(USDC, TAX, 10**8))
        assert order.fill is not None
        assert desk.held()[TAX.mint] == START_UNITS + order.fill.amount_out
        assert order.attempts == 1

    with_desk(scene)


def test_without_an_answer_nothing_is_signed_and_it_is_tried_again() -> None:
    async def scene(desk: Desk) -> None:
        desk.line.silent = {"simulateTransaction"}
        order = await desk.process().swap(JUP, SOL, 10**9)
        assert reasons(order) == ["node_unavailable"] * 3
        assert order.status is Status.FAILED
        assert desk.signer.signed == 0

    with_desk(scene)


def test_a_wrong_signature_is_not_stored() -> None:
    async def scene(desk: Desk) -> None:
        async def forge(message: bytes) -> bytes:
            return bytes(64)

        desk.signer.sign = forge  # type: ignore[method-assign]
        order = await desk.process().swap(SOL, USDC, 10**9)
        assert reasons(order) == ["build_failed"] * 3
        assert desk.chain.sent == 0

    with_desk(scene)


@pytest.mark.parametrize(
    "error",
    ["MaxLoadedAccountsDataSizeExceeded", {"InstructionError": [4, "MaxInstructionTraceLengthExceeded"]}],
)
def test_a_route_that_is_too_much_for_the_chain_is_tried_again_with_fewer_swaps(error: Any) -> None:
    async def scene(desk: Desk) -> None:
        methods = desk.line.methods._methods
        simulate = methods["simulateTransaction"]

        def strict(view: Any, params: list[Any]) -> Any:
            said = simulate(view, params)
            (order,) = desk.orders.stored.values()
            assert order.routed is not None
            if len(order.routed.decision.chosen.legs) > 1:
                said["value"]["err"] = error
            return said

        methods["simulateTransaction"] = strict
        order = confirmed(await desk.process().swap(SOL, USDC, 1_000 * 10**9))
        assert set(reasons(order)) == {"route_too_large"}
        assert order.routed is not None
        assert len(order.routed.decision.chosen.legs) == 1

    with_desk(scene)
