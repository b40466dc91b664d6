"""The certificate against worlds made to break it (``bench.certificate``)."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from bench.certificate import broken, everything, much, world
from bench.networks import Case
from bench.optimum import network_fee
from bench.routing import route
from order_engine.domain.tokens import JUP, SOL, USDC
from order_engine.venues.raydium.cpmm import CpmmPool


def test_nothing_better_can_be_given_than_what_a_decision_states() -> None:
    assert [broken(number)[0] for number in range(12)] == [None] * 12


# In these, pools are all but drained and more of an intermediate token would arrive than can be sold, so that only a
# mixture that buys less of it than it might fills the order; or a pool takes more whole units than its curve.
@pytest.mark.parametrize("number", [246, 313, 734, 839, 866, 914, 1_945, 2_506, 2_514])
def test_worlds_that_once_broke_the_certificate(number: int) -> None:
    assert broken(number) == (None, True)


def test_the_references_find_what_can_be_counted_by_hand() -> None:
    def cp(name: str, x: str, y: str, reserve: int) -> CpmmPool:
        return CpmmPool(name, (x, y), (reserve, reserve), 0, 0, 0)

    # Of 10 units, 10 * 100 // 110 = 9; over two pools of 100, 4 + 4; over the path, 10 -> 9 -> 8; of the deep one, 9.
    pools = (cp("a", JUP.mint, USDC.mint, 100), cp("b", JUP.mint, USDC.mint, 100))
    path = (cp("c", JUP.mint, SOL.mint, 100), cp("d", SOL.mint, USDC.mint, 100))
    assert everything(Case(pools, JUP.mint, USDC.mint, 10)) == 9
    assert everything(Case(path, JUP.mint, USDC.mint, 10)) == 9 * 100 // 109 - fee(path, 2)
    assert everything(Case((), JUP.mint, USDC.mint, 10)) is None
    large = tuple(replace(pool, reserves=(10**12, 10**12)) for pool in pools)
    # Two halves of 10^11: each gives 5 * 10^10 * 10^12 / (1.05 * 10^12).
    assert much(Case(large, JUP.mint, USDC.mint, 10**11), random.Random(1)) == 2 * (5 * 10**22 // (105 * 10**10))


def fee(pools: tuple[CpmmPool, ...], legs: int) -> int:
    return network_fee(Case(pools, JUP.mint, USDC.mint, 10), legs)


def test_the_attack_notices_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # A large world that is filled, and what is said of it when its decision is another.
    number = next(n for n in range(1, 99, 2) if route(world(n)[0]) is not None)

    def worse(case: Case) -> object:
        decision = route(case)
        assert decision is not None
        chosen = replace(decision.chosen, net_out=decision.chosen.net_out - abs(decision.chosen.net_out) // 2 - 9)
        return replace(decision, chosen=chosen, optimality_gap_bps=Decimal("0.0001"))

    monkeypatch.setattr("bench.certificate.route", worse)
    assert "behind" in str(broken(number)[0])
    monkeypatch.setattr("bench.certificate.route", lambda _: None)
    assert "refused" in str(broken(number)[0])
