"""The catalogue of failures: every code is in it, in snake case, and what cannot be cured is not tried again."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain import errors, lifecycle
from order_engine.domain.errors import NoRoute, PriceImpactTooHigh, VenuesUnavailable
from order_engine.domain.failures import CATALOGUE, LANDED_WITH_ERROR, is_final, of_chain
from order_engine.domain.order import Failure, Lease, Order, OrderRef, Retry, Status
from order_engine.domain.quote import NO_POOL, LeftOut, Pool
from order_engine.domain.venues import RAYDIUM, VENUES
from order_engine.engine.execute import MAX_EVENTS, Done, Execute, ExecutionPolicy, Later
from order_engine.engine.observer import Silent
from order_engine.engine.ports import Venue
from order_engine.engine.retry import LIMIT_NOT_MET, RetryPolicy, after_failure
from order_engine.engine.routing.decide import decide
from order_engine.engine.routing.router import Router
from order_engine.venues.paper.chain import PaperChain
from order_engine.venues.paper.market import PaperMarket
from order_engine.venues.paper.venue import PaperVenue
from tests.fakes.orders import FakeOrders
from tests.support.clock import StandingClock
from tests.support.orders import INTENT, LIMIT, MARKET, ROUTED, T0

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "layers/common/python/order_engine"
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def codes_in_the_source() -> set[str]:
    """What ``Failure("…")`` and ``_guard(…, "…")`` are given, and what errors of an attempt are called."""
    found = {kind.code for kind in _kinds(errors.AttemptFailed)} - {"attempt_failed", "venue_error"}
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"Failure": 0, "_guard": 1}.get(name)
            if place is not None and not isinstance(node.args[place], ast.Starred):
                found |= {str(leaf.value) for leaf in ast.walk(node.args[place]) if isinstance(leaf, ast.Constant)}
    return found


def _kinds(kind: type[errors.EngineError]) -> set[type[errors.EngineError]]:
    return {kind}.union(*(_kinds(below) for below in kind.__subclasses__()))


def test_every_code_that_an_order_may_fail_with_is_in_the_catalogue() -> None:
    found = codes_in_the_source()
    assert {"price_impact_too_high", "build_failed", "worker_lost", "gave_up", "expired"} <= found
    assert found <= set(CATALOGUE)


def test_every_code_is_in_snake_case_and_in_the_documentation() -> None:
    page = (ROOT / "docs/api.md").read_text()
    for code, reason in CATALOGUE.items():
        assert SNAKE.fullmatch(code)
        [row] = re.findall(rf"^\| `{code}` \| ([^|]*) \| ([^|]*) \| (yes|no) \| (yes|no) \|$", page, re.MULTILINE)
        assert row == (
            reason.meaning,
            reason.remedy,
            "no" if reason.final else "yes",
            "yes" if reason.rests else "no",
        ), code
    for kind in _kinds(errors.EngineError):
        assert SNAKE.fullmatch(kind.code)


def test_the_paper_chains_errors_have_codes_of_the_catalogue() -> None:
    source = (ENGINE / "venues/paper/chain.py").read_text()
    named = set(re.findall(r'"([A-Za-z_]+): [A-Z]', source))
    assert {"transaction_failed", "slippage_tolerance_exceeded"} == named
    assert named <= set(CATALOGUE)


@given(st.none() | st.text() | st.from_regex(r"[A-Za-z_0-9]{1,80}: .*"))
def test_whatever_a_chain_says_becomes_a_stable_code_and_a_short_message(error: str | None) -> None:
    failure = of_chain(error)
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,59}", failure.code)
    assert len(failure.message) <= 300


def test_a_chains_own_code_is_kept_and_anything_else_is_text() -> None:
    assert of_chain("transaction_failed: Out of compute.") == Failure("transaction_failed", "Out of compute.")
    assert of_chain("InstructionError: [0, Custom]").code == LANDED_WITH_ERROR
    assert of_chain("InstructionError: [0, Custom]").message == "InstructionError: [0, Custom]"
    assert of_chain("no colon") == Failure(LANDED_WITH_ERROR, "no colon")


def _claimed(order: Order) -> Order:
    return lifecycle.claim(order, Lease("worker", T0 + 20_000), T0)


@given(st.sampled_from(sorted(CATALOGUE)) | st.text(max_size=20))
def test_only_what_is_final_ends_an_order_at_its_first_attempt(code: str) -> None:
    order = _claimed(lifecycle.place(OrderRef("user", "order"), MARKET, "print", T0))
    after = after_failure(order, Failure(code, "Because."), RetryPolicy(), T0)
    assert (after.status is Status.FAILED) == is_final(Failure(code, ""))
    assert after.attempts == 1


# --- routing -----------------------------------------------------------------------------------------------------

MARKET_1 = PaperMarket(1)
# More than the pools can give, and more than they can give at an acceptable price.
TOO_MUCH, FAR = 10**18, 200_000 * 10**9


def of_raydium() -> Sequence[Pool]:
    return asyncio.run(PaperVenue(RAYDIUM, MARKET_1, StandingClock(T0), 0).pools(MARKET.mint_in, MARKET.mint_out))


def chosen(amount: int, *left_out: LeftOut, pools: Sequence[Pool] | None = None) -> None:
    decide(
        of_raydium() if pools is None else pools,
        mint_in=MARKET.mint_in,
        mint_out=MARKET.mint_out,
        amount_in=amount,
        left_out=left_out,
        max_price_impact_bps=1000,
    )


def test_a_venue_that_did_not_answer_may_have_what_is_missing() -> None:
    absent, late = LeftOut("meteora", NO_POOL), LeftOut("meteora", "No answer within 1500 ms.")
    with pytest.raises(PriceImpactTooHigh) as refused:
        chosen(FAR, absent)
    assert refused.value.decision.chosen.price_impact_bps > 1000
    with pytest.raises(VenuesUnavailable, match=r"at most 1000 bps.*meteora was left out"):
        chosen(FAR, late)
    for left_out, kind in (((), NoRoute), ((absent,), NoRoute), ((late,), VenuesUnavailable)):
        with pytest.raises(NoRoute) as nothing:
            chosen(1, *left_out, pools=())
        assert type(nothing.value) is kind


class _Late:
    """A venue that never answers."""

    name = RAYDIUM

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        await asyncio.sleep(3600)
        return []


def _executed(order: Order, *venues: Venue) -> tuple[Done | Later, Order]:
    async def run() -> tuple[Done | Later, Order]:
        clock, store = StandingClock(T0), FakeOrders()
        await store.create(order)
        chain = PaperChain(MARKET_1, clock, 0, 0, 0.0)
        policy = ExecutionPolicy(RetryPolicy())
        execute = Execute(store, Router(venues, clock, deadline_ms=20), chain, clock, policy, Silent())
        verdict = await execute(order.ref, worker="me", deadline=T0 + 14_000)
        stored = await store.get(order.ref)
        assert stored is not None
        return verdict, stored

    return asyncio.run(run())


def _code(amount: int) -> str:
    """What a quote of this amount is refused with."""
    pools = [pool for venue in _venues() for pool in asyncio.run(venue.pools(MARKET.mint_in, MARKET.mint_out))]
    with pytest.raises((NoRoute, PriceImpactTooHigh)) as refused:
        chosen(amount, pools=pools)
    return refused.value.code


def _venues() -> list[Venue]:
    return [PaperVenue(name, MARKET_1, StandingClock(T0), 0) for name in VENUES]


@pytest.mark.parametrize("amount", [FAR, TOO_MUCH])
def test_a_market_order_that_nothing_can_cure_fails_at_once(amount: int) -> None:
    order = lifecycle.place(OrderRef("user", "order"), replace(MARKET, amount_in=amount), "print", T0)
    verdict, after = _executed(order, *_venues())
    assert isinstance(verdict, Done)
    assert after.status is Status.FAILED
    assert after.failure is not None
    assert (after.failure.code, after.attempts) == (_code(amount), 1)
    assert after.updated_at == T0


def test_it_is_tried_again_while_a_venue_is_missing() -> None:
    order = lifecycle.place(OrderRef("user", "order"), replace(MARKET, amount_in=FAR), "print", T0)
    verdict, after = _executed(order, _venues()[1], _Late())
    assert isinstance(verdict, Later)
    assert after.status is Status.PENDING


def test_a_limit_order_rests_again_instead() -> None:
    request = replace(LIMIT, amount_in=FAR, limit_price=Decimal("0.000001"))
    order = lifecycle.fire(lifecycle.place(OrderRef("user", "order"), request, "print", T0), T0)
    verdict, after = _executed(order, *_venues())
    assert isinstance(verdict, Done)
    assert after.status is Status.OPEN
    assert after.retry_at is not None
    assert after.retry_at > T0


@given(st.sampled_from(sorted(CATALOGUE)) | st.text(max_size=20))
def test_what_ends_a_market_order_lets_a_limit_order_rest_unless_it_speaks_against_the_order(code: str) -> None:
    order = lifecycle.fire(lifecycle.place(OrderRef("user", "order"), LIMIT, "print", T0), T0)
    while True:
        order = after_failure(_claimed(order), Failure(code, "Because."), RetryPolicy(), T0)
        if order.status is not Status.PENDING:
            break
    known = CATALOGUE.get(code)
    assert order.status is (Status.OPEN if known is not None and known.rests else Status.FAILED)
    assert order.attempts == (1 if known is not None and known.final else 4)


def test_an_outage_of_the_venues_ends_no_limit_order_and_all_of_its_market_orders() -> None:
    async def run(order: Order) -> Order:
        clock, store = StandingClock(T0), FakeOrders()
        await store.create(order)
        execute = Execute(
            store, Router([_Late()], clock, deadline_ms=1), PaperChain(MARKET_1, clock, 0, 0, 0.0), clock,
            ExecutionPolicy(RetryPolicy()), Silent(),
        )  # fmt: skip
        for number in range(4):
            verdict = await execute(order.ref, worker=f"worker{number}", deadline=clock.now + 14_000)
            clock.now += verdict.delay_ms if isinstance(verdict, Later) else 0
        assert isinstance(verdict, Done)
        return store.stored[order.ref]

    limit = lifecycle.fire(lifecycle.place(OrderRef("user", "limit"), LIMIT, "print", T0), T0)
    rests = asyncio.run(run(limit))
    assert (rests.status, rests.attempts, rests.lease) == (Status.OPEN, 4, None)
    detail = rests.events[-1].detail
    assert isinstance(detail, Retry)
    assert detail.failure.code == "venues_unavailable"
    assert rests.retry_at == rests.updated_at + 10_000

    failed = asyncio.run(run(lifecycle.place(OrderRef("user", "market"), MARKET, "print", T0)))
    assert failed.status is Status.FAILED
    assert failed.failure is not None
    assert failed.failure.code == "venues_unavailable"


@pytest.mark.parametrize(
    ("code", "hours"), [("venues_unavailable", 9), ("expired", 4.5), ("insufficient_sol", 9), ("insufficient_funds", 9)]
)
def test_a_limit_order_outlasts_hours_and_fires_soon_after_a_short_outage(code: str, hours: float) -> None:
    """Fired again the moment that it may, it rests longer each time, and fails for its long history only."""
    order = lifecycle.place(OrderRef("user", "order"), LIMIT, "print", T0)
    rests: list[int] = []
    while order.seq < MAX_EVENTS:
        order = lifecycle.fire(order, order.retry_at or T0)
        while order.status is Status.PENDING:
            now = order.retry_at or order.updated_at
            order = lifecycle.claim(order, Lease("worker", now + 20_000), now)
            if code == "expired":
                order = lifecycle.submit(lifecycle.route(order, ROUTED, now), INTENT, now)
            order = after_failure(order, Failure(code, "Because."), RetryPolicy(), now)
        assert order.status is Status.OPEN
        assert order.intent is None
        rests.append((order.retry_at or 0) - order.updated_at)
    assert rests[:4] == [10_000, 20_000, 40_000, 80_000]
    assert rests == sorted(rests)
    assert rests[-1] == 900_000
    assert order.updated_at - T0 > hours * 3_600_000


def test_only_failed_attempts_make_the_rest_longer() -> None:
    """A price that comes and goes is no outage."""
    order = lifecycle.place(OrderRef("user", "order"), LIMIT, "print", T0)
    for failure in (LIMIT_NOT_MET, Failure("no_route", "."), LIMIT_NOT_MET):
        order = lifecycle.rest(_claimed(lifecycle.fire(order, T0)), failure, T0, T0)
    back = after_failure(_claimed(lifecycle.fire(order, T0)), Failure("venues_unavailable", "."), RetryPolicy(), T0)
    assert back.status is Status.PENDING
