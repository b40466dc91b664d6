"""Who is to blame for a refused swap: the wallet, the pool, or nobody. One user's orders cost others no pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from order_engine.domain import base58
from order_engine.domain.order import Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.domain.venues import METEORA, RAYDIUM
from order_engine.engine.routing.breaker import GuardedVenue
from order_engine.venues.solana.addresses import TOKEN
from order_engine.venues.solana.programs.program import Trade
from order_engine.venues.solana.venue import LiveVenue
from tests.solana.desk import KINDS, Desk, Process, confirmed, of_kind, reasons, with_desk

AMOUNT, STATE = slice(64, 72), slice(108, 109)
type Ask = Callable[..., Awaitable[Any]]


async def vault_of(desk: Desk, process: Process, pool: str, mint: str) -> str:
    """The account from which a pool pays a token."""
    await process.source.read((SOL.mint, USDC.mint))
    live = process.source.latest(pool)
    assert live is not None
    metas = live.swap(Trade(desk.signer.address, SOL.mint, 10**9, 1)).accounts
    for meta in metas:
        account = desk.chain.account(meta.address)
        if account is None or str(account.owner) != TOKEN or not meta.writable:
            continue
        if base58.encode(account.data[:32]) == mint and base58.encode(account.data[32:64]) != desk.signer.address:
            return meta.address
    raise AssertionError(f"{pool} has no vault of {mint}.")


def write(desk: Desk, address: str, part: slice, data: bytes) -> None:
    account = desk.chain.account(address)
    assert account is not None
    changed = account.data[: part.start] + data + account.data[part.stop :]
    desk.chain.put(address, str(account.owner), changed, account.lamports)


def amount(desk: Desk, address: str) -> int:
    account = desk.chain.account(address)
    assert account is not None
    return int.from_bytes(account.data[AMOUNT], "little")


def moving(desk: Desk, vault: str, bps: float, times: int) -> None:
    """Lets the price move against the order for as long as a simulation takes, so many times."""
    ask: Ask = desk.line.call
    left = [times]

    async def call(method: str, *params: Any) -> Any:
        if method != "simulateTransaction" or not left[0]:
            return await ask(method, *params)
        left[0] -= 1
        before = amount(desk, vault)
        write(desk, vault, AMOUNT, int(before * (1 - bps / 10_000)).to_bytes(8, "little"))
        try:
            return await ask(method, *params)
        finally:
            write(desk, vault, AMOUNT, before.to_bytes(8, "little"))

    desk.line.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize(("bps", "slippage"), [(0.001, 0), (6, 5), (4, 3)])
def test_an_order_that_asks_for_the_last_units_costs_nobody_a_pool(bps: float, slippage: int) -> None:
    async def scene(desk: Desk) -> None:
        pool = of_kind(desk, "cpmm")
        process = desk.process([pool.address])
        moving(desk, await vault_of(desk, process, pool.address, USDC.mint), bps, 4)
        greedy = await process.swap(SOL, USDC, 10**9, name="greedy", bps=slippage)
        assert set(reasons(greedy)) == {"slippage_tolerance_exceeded"}
        assert reasons(confirmed(await process.swap(SOL, USDC, 10**8, name="innocent"))) == []

    with_desk(scene)


def test_a_price_that_went_down_and_up_again_convicts_nobody() -> None:
    async def scene(desk: Desk) -> None:
        pool = of_kind(desk, "cpmm")
        process = desk.process([pool.address])
        moving(desk, await vault_of(desk, process, pool.address, USDC.mint), 60, 1)
        assert reasons(confirmed(await process.swap(SOL, USDC, 10**9, bps=300))) == []

    with_desk(scene)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["frozen", "empty"])
def test_a_pool_whose_account_is_frozen_or_empty_is_left_out_and_the_order_goes_on(kind: str, state: str) -> None:
    async def scene(desk: Desk) -> None:
        bad, other = of_kind(desk, kind).address, of_kind(desk, "cpmm" if kind != "cpmm" else "damm2").address
        process = desk.process([bad, other])
        vault = await vault_of(desk, process, bad, USDC.mint)
        if state == "frozen":
            write(desk, vault, STATE, b"\x02")
        else:
            write(desk, vault, AMOUNT, (1).to_bytes(8, "little"))
        alone = await desk.process([bad]).swap(SOL, USDC, 10**9, name="alone")
        assert alone.status is Status.FAILED
        assert not {"account_frozen", "insufficient_funds"} & {*reasons(alone), alone.failure and alone.failure.code}
        assert desk.signer.signed == 0
        confirmed(await process.swap(SOL, USDC, 10**9))

    with_desk(scene)


def test_a_vault_that_froze_while_the_order_was_on_its_way_does_not_end_it() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        send: Ask = desk.line.call
        froze: list[str] = []

        async def call(method: str, *params: Any) -> Any:
            if method == "sendTransaction" and not froze:
                (order,) = desk.orders.stored.values()
                assert order.routed is not None
                for leg in order.routed.decision.chosen.legs:
                    froze.append(await vault_of(desk, process, leg.pool_id, USDC.mint))
                    write(desk, froze[-1], STATE, b"\x02")
            return await send(method, *params)

        desk.line.call = call  # type: ignore[method-assign]
        order = confirmed(await process.swap(SOL, USDC, 10**9))
        assert reasons(order)[0] == "pool_refused"
        assert len(desk.chain.landed) == 2

    with_desk(scene)


def test_a_wallet_that_is_short_of_one_part_of_a_split_is_the_wallets_matter() -> None:
    async def scene(desk: Desk) -> None:
        order = await desk.process().swap(SOL, USDC, 3_000 * 10**9)
        assert order.routed is not None
        assert len(order.routed.decision.chosen.legs) > 1
        assert order.failure is not None
        assert (order.failure.code, order.attempts) == ("insufficient_funds", 1)

    with_desk(scene, coins={SOL.mint: 2_999 * 10**9, USDC.mint: 0})


def test_a_venue_whose_pools_are_left_out_is_no_broken_venue_and_no_other_venues_matter() -> None:
    async def scene(desk: Desk) -> None:
        process = desk.process()
        raydium = [each.address for each in desk.pools if each.kind in ("cpmm", "clmm", "amm_v4")]
        await process.source.read((SOL.mint, USDC.mint))
        for address in raydium:
            process.source.leave_out(address, "for a reason")
        guards = {
            name: GuardedVenue(LiveVenue(name, process.source, lambda unusable: None), desk.clock)
            for name in (RAYDIUM, METEORA)
        }
        for _ in range(20):
            with pytest.raises(Exception, match="for a reason"):
                await guards[RAYDIUM].pools(SOL.mint, USDC.mint)
            assert await guards[METEORA].pools(SOL.mint, USDC.mint)
        assert {guard.circuit for guard in guards.values()} == {"closed"}
        # What Meteora has left out is not Raydium's matter, where that has no pool of the pair at all.
        only = desk.process([of_kind(desk, "dlmm").address])
        await only.source.read((SOL.mint, USDC.mint))
        only.source.leave_out(of_kind(desk, "dlmm").address, "for a reason")
        assert await LiveVenue(RAYDIUM, only.source, lambda unusable: None).pools(SOL.mint, USDC.mint) == []

    with_desk(scene)
