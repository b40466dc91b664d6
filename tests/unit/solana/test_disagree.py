"""A simulation held against the quotes: who is suspected, and what clears a pool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from order_engine.venues.solana.addresses import TOKEN, token_account
from order_engine.venues.solana.build import PlannedSwap
from order_engine.venues.solana.chain import SolanaChain
from order_engine.venues.solana.disagree import Case, Suspect, suspect
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import Reading
from order_engine.venues.solana.programs.program import LivePool
from order_engine.venues.solana.refusals import Refusal
from order_engine.venues.solana.rehearse import Rehearsal
from order_engine.venues.solana.rpc import NodeUnavailable
from order_engine.venues.transfer_fee import NO_FEE, TransferFee, TransferFeePool
from tests.unit.solana.routes import WALLET, A, B, Route

FIRST = 2
ACCOUNT = token_account(WALLET, B, TOKEN)


def planned(count: int = 2) -> tuple[list[PlannedSwap], dict[str, LivePool]]:
    route = Route()
    for number in range(count):
        route.add("direct", 10**9 + number)
    return [PlannedSwap(leg, leg.amount_out * 99 // 100) for leg in route.legs], route.pools


def rehearsal(sent: dict[int, int], refusal: Refusal | None = None, slot: int = 100) -> Rehearsal:
    return Rehearsal(slot, 1000, refusal, {(FIRST + place, ACCOUNT): amount for place, amount in sent.items()})


def test_a_swap_that_gives_its_quote_or_more_or_a_little_less_is_above_suspicion() -> None:
    swaps, pools = planned()
    for part in (1000, 1100, 999):
        sent = {place: swap.leg.amount_out * part // 1000 + 1 for place, swap in enumerate(swaps)}
        assert suspect(Case(WALLET, FIRST, swaps, pools), rehearsal(sent)) is None
    # Of what the node does not tell, nothing is concluded.
    assert suspect(Case(WALLET, FIRST, swaps, pools), rehearsal({})) is None


def test_the_swap_that_gives_less_is_named() -> None:
    swaps, pools = planned()
    short = swaps[1].leg.amount_out * 998 // 1000
    found = suspect(Case(WALLET, FIRST, swaps, pools), rehearsal({0: swaps[0].leg.amount_out, 1: short}))
    assert found == Suspect(swaps[1], short)


def test_what_a_mint_withholds_is_not_missing() -> None:
    swaps, pools = planned(1)
    (name,) = pools
    live = pools[name]
    fees = {A: NO_FEE, B: TransferFee(100, 10**18)}
    taxed: Any = TransferFeePool[Any](live.pool, (fees[live.accounts.mints[0]], fees[live.accounts.mints[1]]))
    pools = {name: replace(live, pool=taxed)}
    gross = live.pool.quote(A, swaps[0].leg.amount_in)
    quoted = taxed.quote(A, swaps[0].leg.amount_in)
    assert quoted < gross
    swap = replace(swaps[0], leg=replace(swaps[0].leg, amount_out=quoted))
    assert suspect(Case(WALLET, FIRST, [swap], pools), rehearsal({0: gross})) is None
    assert suspect(Case(WALLET, FIRST, [swap], pools), rehearsal({0: quoted})) is not None


@pytest.mark.parametrize(
    ("code", "call", "named"),
    [
        ("slippage_tolerance_exceeded", FIRST, 0),
        ("pool_refused", FIRST + 1, 1),
        ("pool_closed", FIRST + 1, 1),
        ("pool_out_of_range", FIRST, 0),
        ("insufficient_funds", FIRST, None),
        ("compute_exceeded", FIRST, None),
        ("slippage_tolerance_exceeded", None, None),
        ("pool_refused", 0, None),
        ("pool_refused", FIRST + 2, None),
    ],
)
def test_a_refusal_names_the_swap_that_it_is_about(code: str, call: int | None, named: int | None) -> None:
    swaps, pools = planned()
    found = suspect(Case(WALLET, FIRST, swaps, pools), rehearsal({}, Refusal(code, "No.", call)))
    assert found == (None if named is None else Suspect(swaps[named], None))


def test_a_quote_that_is_as_little_by_now_clears_the_pool() -> None:
    (swap,), pools = planned(1)
    (live,) = pools.values()
    pool: Any = live.pool
    shallow = replace(live, pool=replace(pool, reserves=(2 * 10**15, 10**15)))
    gone = replace(live, pool=replace(pool, reserves=(10**15, 1)))
    half = swap.leg.amount_out // 2
    assert Suspect(swap, half).explained_by(shallow)
    assert not Suspect(swap, half).explained_by(live)
    assert Suspect(swap, None).explained_by(shallow)
    assert not Suspect(swap, None).explained_by(live)
    assert Suspect(swap, half).explained_by(gone)


class Pools:
    """A pool as it is read, and at which slots."""

    def __init__(self, live: LivePool | None, quoted_at: int, read_again_at: int) -> None:
        self.live = live
        self.quoted_at = quoted_at
        self.read_again_at = read_again_at
        self.silent = False

    def latest(self, address: str) -> LivePool | None:
        return self.live

    def read_at(self, address: str) -> int:
        return self.quoted_at

    async def read(self, mints: object) -> Reading:
        if self.silent:
            raise NodeUnavailable("No node answered.")
        return Reading(self.read_again_at, (self.live,) if self.live else (), ())

    def leave_out(self, address: str, reason: str) -> None: ...


@pytest.mark.parametrize(
    ("quoted_at", "simulated_at", "read_again_at", "guilty"),
    [(100, 100, 100, True), (100, 105, 110, True), (106, 105, 110, False), (100, 105, 104, False)],
)
async def test_only_nodes_that_are_as_far_as_the_quote_speak_against_a_pool(
    quoted_at: int, simulated_at: int, read_again_at: int, guilty: bool
) -> None:
    (swap,), pools = planned(1)
    (live,) = pools.values()
    known = Pools(live, quoted_at, read_again_at)
    silent: Any = None
    chain = SolanaChain(Node(silent), silent, known, silent)
    found = Suspect(swap, swap.leg.amount_out // 2)
    assert await chain._misunderstood(found, simulated_at, quoted_at) is guilty
    known.silent = True
    assert not await chain._misunderstood(found, simulated_at, quoted_at)
    assert not await SolanaChain(Node(silent), silent, Pools(None, 1, 200), silent)._misunderstood(found, 100, 1)
