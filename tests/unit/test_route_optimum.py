"""What a search that stops early, prunes wrongly or trusts every pool gets wrong: each case once did."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from order_engine.domain.errors import NoRoute, PriceImpactTooHigh, QuoteRefused
from order_engine.domain.quote import Decision, Pool
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT, Token
from order_engine.engine.routing.decide import decide
from order_engine.venues.meteora.dlmm import Bin, DlmmParameters, DlmmPool
from order_engine.venues.raydium.clmm import ClmmPool, FeeOn, Tick, sqrt_price_at
from order_engine.venues.raydium.cpmm import CpmmPool
from order_engine.venues.transfer_fee import TransferFee, TransferFeePool

FREE = DlmmParameters(0, 0, 0, 0, 0, 0)


def cp(name: str, x: Token, y: Token, reserve: int, other: int | None = None, fee: int = 0) -> CpmmPool:
    return CpmmPool(name, (x.mint, y.mint), (reserve, reserve if other is None else other), fee, 0, 0)


def dl(name: str, x: Token, y: Token, holds: int) -> DlmmPool:
    """One bin at price 1."""
    return DlmmPool(name, (x.mint, y.mint), 0, 1, FREE, (Bin(0, holds, holds),))


def route(pools: list[Pool], amount: int, x: Token = JUP, y: Token = USDC, *, ceiling: int = 10_000) -> Decision:
    return decide(pools, mint_in=x.mint, mint_out=y.mint, amount_in=amount, max_price_impact_bps=ceiling)


# --- the search ----------------------------------------------------------------------------------------------------


def test_a_path_is_exchanged_for_two_pools_where_that_is_better() -> None:
    pools: list[Pool] = [cp(f"d{i}", JUP, USDC, 10**12) for i in range(4)]
    pools += [cp("f", JUP, SOL, 3 * 10**12), cp("s", SOL, USDC, 3 * 10**12)]
    decision = route(pools, 10**11)
    assert decision.chosen.amount_out == 97_560_975_608
    assert decision.optimality_gap_bps is not None
    assert decision.optimality_gap_bps <= Decimal("0.0002")


def test_one_path_is_exchanged_for_another() -> None:
    # Alone the second path is the best. Beside the first one, over another token, the third is better than it: it is
    # smaller, but both of its edges start at the same price.
    pools: list[Pool] = [
        cp("f1", JUP, SOL, 10**12),
        cp("s1", SOL, BONK, 10**12),
        cp("f2", JUP, USDC, 10**12, 99 * 10**10),
        cp("s2", USDC, BONK, 10**12, 101 * 10**10),
        cp("f3", JUP, USDC, 9 * 10**11),
        cp("s3", USDC, BONK, 9 * 10**11),
    ]
    best = route(pools, 10**11, JUP, BONK)
    assert {leg.mint_out for leg in best.chosen.legs} == {SOL.mint, USDC.mint, BONK.mint}
    assert best.optimality_gap_bps is not None
    assert best.optimality_gap_bps <= Decimal("0.0002")
    for without in pools:
        rest = [pool for pool in pools if pool is not without]
        assert route(rest, 10**11, JUP, BONK).chosen.net_out <= best.chosen.net_out


def test_a_split_over_bins_and_paths_is_not_ruled_out_by_a_bound_for_smooth_curves() -> None:
    # Alone the direct pool fills all. The two bins behind the path take the last tenth at a better price.
    pools: list[Pool] = [
        cp("d", JUP, USDC, 10**11),
        cp("f", JUP, SOL, 10**15),
        dl("s1", SOL, USDC, 10**9),
        dl("s2", SOL, USDC, 10**9),
    ]
    decision = route(pools, 10**10)
    assert {leg.pool_id for leg in decision.chosen.legs} == {"d", "f", "s1", "s2"}
    used = {leg.pool_id: leg.amount_in for leg in decision.chosen.legs}
    assert min(used["s1"], used["s2"]) >= 10**9 - 4


@pytest.mark.parametrize("number", range(9))
def test_the_last_units_go_to_the_pool_that_makes_most_of_them_however_many_there_are(number: int) -> None:
    # Two thousand units of JUP buy one of USDC, so up to 1 999 of them buy nothing. The direct pools are worse than the
    # path, and in real numbers one of them is the worst of all; but it alone charges no fee that is rounded up.
    pools: list[Pool] = [cp("f", JUP, USDC, 2 * 10**15, 10**12), cp("s", USDC, BONK, 10**12, 2 * 10**18)]
    pools += [cp(f"d{i}", JUP, BONK, 10**12, 990_090 * 10**9, 100) for i in range(9) if i != number]
    pools.append(cp(f"d{number}", JUP, BONK, 10**12, 990 * 10**12))
    chosen = route(pools, 2_000 * 1_000 + 1_999, JUP, BONK).chosen
    assert {leg.pool_id: leg.amount_in for leg in chosen.legs} == {f"d{number}": 1_998, "f": 2_000_001, "s": 1_000}


def least_input(pool: Pool, mint: str, most: int) -> list[int]:
    """By output: the least input that gives it, for every output up to what an amount gives."""
    found = [0]
    for out in range(1, pool.quote(mint, most) + 1):
        low, high = found[-1], most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if gives(pool, mint, middle) >= out else (middle, high)
        found.append(high)
    return found


def gives(pool: Pool, mint: str, amount: int) -> int:
    try:
        return pool.quote(mint, amount) if amount else 0
    except QuoteRefused:
        return 0


@pytest.mark.parametrize("seed", range(24))
def test_where_few_units_of_a_token_arrive_no_number_of_them_and_no_division_is_better(seed: int) -> None:
    # One unit of USDC costs hundreds of JUP and is worth more than a decision may lose. Fees are rounded up to whole
    # units of it, so that some numbers of units are better than their neighbours, behind it as well as before it.
    rng = random.Random(seed)
    stair, worth = rng.randint(200, 900), rng.randint(2_000, 90_000)
    reserve = rng.randint(3_000, 30_000)
    f = cp("f", JUP, USDC, reserve * stair, reserve, rng.choice((0, 2_500, 30_000)))
    seconds = [
        cp(f"s{i}", USDC, BONK, size, size * worth, rng.choice((3_000, 10_000, 25_000)))
        for i, size in enumerate(rng.sample(range(2_000, 20_000), rng.choice((1, 2))))
    ]
    size = rng.randint(2_000, 20_000) * stair
    d = cp("d", JUP, BONK, size, int(size / stair * worth * rng.uniform(0.9, 1.0)), rng.choice((100, 2_500)))
    amount = rng.randint(100, 500) * stair
    decision = route([f, *seconds, d], amount, JUP, BONK)
    sold = [[gives(s, USDC.mint, units) for units in range(f.quote(JUP.mint, amount) + 1)] for s in seconds]
    best = 0
    for arrives, costs in enumerate(least_input(f, JUP.mint, amount)):
        ends = (
            max(sold[0][b] + sold[-1][arrives - b] for b in range(arrives + 1)) if len(sold) > 1 else sold[0][arrives]
        )
        best = max(best, ends + gives(d, JUP.mint, amount - costs))
    behind = best - decision.chosen.amount_out
    assert behind <= max(4, best * 1e-6)


# --- feasibility ---------------------------------------------------------------------------------------------------


def test_two_pools_on_each_edge_of_a_path_fill_together_what_none_fills_alone() -> None:
    pools: list[Pool] = [dl(f"f{i}", JUP, SOL, 6 * 10**7) for i in (1, 2)]
    pools += [dl(f"s{i}", SOL, USDC, 6 * 10**7) for i in (1, 2)]
    chosen = route(pools, 10**8).chosen
    assert chosen.amount_out == 10**8
    assert len(chosen.legs) == 4


def test_two_pools_on_each_edge_fill_up_to_their_last_unit() -> None:
    pools: list[Pool] = [dl(f"f{i}", JUP, SOL, 6 * 10**7 + i) for i in (1, 2)]
    pools += [dl(f"s{i}", SOL, USDC, 6 * 10**7 + i) for i in (1, 2)]
    assert route(pools, 12 * 10**7 + 3).chosen.amount_out == 12 * 10**7 + 3
    with pytest.raises(NoRoute):
        route(pools, 12 * 10**7 + 4)


def test_the_worse_pool_takes_part_where_what_the_better_one_gives_cannot_be_sold() -> None:
    # Nothing fills the order alone. The deep pool gives more SOL than the two pools behind it can take, and so does the
    # steep one unless the direct pool takes a part: only these four pools together fill it.
    pools: list[Pool] = [
        dl("d", JUP, USDC, 25 * 10**8),
        dl("s1", SOL, USDC, 29 * 10**9),
        dl("s2", SOL, USDC, 18 * 10**9),
        cp("deep", JUP, SOL, 10**13, 119 * 10**12),
        cp("steep", JUP, SOL, 5 * 10**9, 6 * 10**10),
    ]
    chosen = route(pools, 2 * 10**10).chosen
    assert {leg.pool_id for leg in chosen.legs} == {"d", "steep", "s1", "s2"}
    assert chosen.amount_out == 49_166_666_666


def test_a_small_pool_beside_a_good_path_does_not_make_the_impact_too_high() -> None:
    pools: list[Pool] = [
        cp("small", JUP, USDC, 10**6),
        cp("deep", JUP, SOL, 10**15),
        dl("s1", SOL, USDC, 6 * 10**10),
        dl("s2", SOL, USDC, 6 * 10**10),
    ]
    chosen = route(pools, 10**11, ceiling=10).chosen
    assert {leg.pool_id for leg in chosen.legs} >= {"deep", "s1", "s2"}
    assert chosen.price_impact_bps == Decimal("1.00")


# --- broken pools --------------------------------------------------------------------------------------------------

GOOD = cp("good", JUP, USDC, 10**12)


@pytest.mark.parametrize("reserves", [(0, 0), (10**6, 0), (0, 10**6)])
@pytest.mark.parametrize("pair", [(JUP, USDC), (SOL, USDC), (JUP, SOL)])
def test_an_empty_pool_is_left_out_and_named(reserves: tuple[int, int], pair: tuple[Token, Token]) -> None:
    priced: list[Pool] = [GOOD, cp("sol", SOL, USDC, 10**12, 15 * 10**10)]
    decision = route([*priced, cp("empty", *pair, *reserves)], 10**9)
    without = route(priced, 10**9)
    assert decision.chosen == without.chosen
    # The network fee counts as it does without the empty pool.
    assert decision.chosen.net_out == decision.chosen.amount_out - 2_250
    assert [left.venue for left in decision.left_out] == ["raydium"]
    assert "Pool empty: " in decision.left_out[0].reason


def test_a_pool_whose_active_bin_has_no_price_is_left_out_and_named() -> None:
    broken = DlmmPool("nowhere", (JUP.mint, USDC.mint), 443_000, 400, FREE, ())
    with pytest.raises(QuoteRefused):
        broken.spot(JUP.mint)
    decision = route([broken, GOOD], 10**9)
    assert decision.chosen == route([GOOD], 10**9).chosen
    assert [left.reason for left in decision.left_out] == ["Pool nowhere: The bin's price is out of range."]


class Crashes:
    """A pool whose mathematics fails when it is asked."""

    kind = "odd"
    venue = "raydium"
    pool_id = "crashes"
    mints = (JUP.mint, USDC.mint)

    def quote(self, mint_in: str, amount_in: int) -> int:
        raise OverflowError(f"{mint_in} {amount_in}")

    def spot(self, mint_in: str) -> tuple[int, int]:
        return (2, 1) if mint_in == JUP.mint else (1, 2)


def test_a_pool_that_fails_while_it_is_asked_is_left_out_and_named() -> None:
    decision = route([Crashes(), GOOD], 10**9)
    assert decision.chosen == route([GOOD], 10**9).chosen
    assert "Pool crashes: OverflowError" in decision.left_out[0].reason


def test_many_broken_pools_are_counted_rather_than_listed() -> None:
    empty: list[Pool] = [cp(f"e{i}", JUP, USDC, 0) for i in range(40)]
    (left,) = route([*empty, GOOD], 10**9).left_out
    assert left.reason.endswith("37 more pools.")
    assert len(left.reason) < 200


def test_without_any_sound_pool_the_refusal_names_the_broken_one() -> None:
    with pytest.raises(NoRoute, match="Pool e: It has no price"):
        route([cp("e", JUP, USDC, 0)], 10**9)


@pytest.mark.parametrize(
    ("changes", "why"), [({"dynamic_fee": True}, "dynamic fee"), ({"fee_on": 2}, "from the output")]
)
def test_a_clmm_pool_with_a_fee_that_is_not_computed_is_left_out_by_name(changes: dict[str, int], why: str) -> None:
    fee_on = FeeOn(changes.get("fee_on", 0))
    pool = ClmmPool(
        "new",
        (JUP.mint, USDC.mint),
        sqrt_price_at(1_000),
        1_000,
        10**15,
        (Tick(-10_000, 10**15), Tick(10_000, -(10**15))),
        100,
        fee_on=fee_on,
        dynamic_fee=bool(changes.get("dynamic_fee")),
    )
    decision = route([pool, GOOD], 10**9)
    assert decision.chosen.legs[0].pool_id == "good"
    assert why in decision.left_out[0].reason


def test_two_snapshots_of_one_pool_count_once_and_the_lesser_promise_holds() -> None:
    rich, poor = cp("one", JUP, USDC, 10**12, 2 * 10**12), cp("one", JUP, USDC, 10**12)
    given: list[list[Pool]] = [[rich, poor], [poor, rich], [poor]]
    decisions = [route(pools, 10**9) for pools in given]
    assert decisions[0] == decisions[1] == decisions[2]
    assert {leg.pool_id for leg in decisions[0].chosen.legs} == {"one"}


# --- transfer fees -------------------------------------------------------------------------------------------------


def test_a_fee_with_a_maximum_is_paid_once_rather_than_twice() -> None:
    # 5 % of a transfer, at most 10^6: one large transfer through one pool costs less than two halves.
    def taxed(name: str, reserve: int) -> TransferFeePool[CpmmPool]:
        return TransferFeePool(cp(name, JUP, USDC, reserve), (TransferFee(500, 10**6), TransferFee(0, 0)))

    pools: list[Pool] = [taxed("a", 10**12), taxed("b", 10**12)]
    small = route(pools, 10**8).chosen
    assert [leg.amount_in for leg in small.legs] == [10**8]
    # Large enough, and the price is worth a second maximum.
    large = route(pools, 10**11).chosen
    assert len(large.legs) == 2
    assert abs(large.legs[0].amount_in - large.legs[1].amount_in) <= 64


@pytest.mark.parametrize("seed", range(60))
def test_splits_over_fees_with_a_maximum_are_the_best_of_a_fine_grid(seed: int) -> None:
    rng = random.Random(seed)
    pools: list[Pool] = []
    for name in "abc":
        pool = cp(name, JUP, USDC, int(10 ** rng.uniform(9, 12)), None, rng.choice((0, 2_500, 10_000)))
        fees = [TransferFee(rng.choice((0, 100, 1_000)), int(10 ** rng.uniform(3, 8))) for _ in range(2)]
        pools.append(TransferFeePool(pool, (fees[0], fees[1])))
    amount = int(10 ** rng.uniform(7, 10.5))
    best = 0
    for one in range(3):
        for other in range(one):
            for part in range(401):
                x = amount * part // 400
                legs = [(pools[one], x), (pools[other], amount - x)]
                used = [(pool, y) for pool, y in legs if y]
                try:
                    out = sum(pool.quote(JUP.mint, y) for pool, y in used)
                except QuoteRefused:
                    continue
                best = max(best, out)
    decision = route(pools, amount)
    assert decision.chosen.amount_out >= best * (1 - 1e-7) - 1
    assert decision.optimality_gap_bps is not None
    assert decision.optimality_gap_bps < Decimal("0.05")


def test_an_amount_that_the_program_cannot_compute_is_not_routed() -> None:
    pool = DlmmPool("p", (JUP.mint, USDC.mint), -561, 400, FREE, (Bin(-561, 0, 2**40),))
    with pytest.raises(NoRoute):
        route([pool], 10**15)
    decision = route([pool, cp("deep", JUP, USDC, 10**17, 10**10)], 10**15)
    assert [leg.pool_id for leg in decision.chosen.legs] == ["deep"]


# --- the bound -----------------------------------------------------------------------------------------------------


def test_the_impact_ceiling_still_refuses_what_no_route_avoids() -> None:
    with pytest.raises(PriceImpactTooHigh):
        route([cp("a", JUP, USDC, 10**9), cp("b", JUP, USDC, 10**9)], 10**9, ceiling=1_000)


def test_a_bound_is_stated_for_pools_that_only_quote() -> None:
    class Plain:
        kind = "plain"
        venue = "raydium"
        mints = (JUP.mint, USDC.mint)

        def __init__(self, inner: CpmmPool) -> None:
            self.inner = inner
            self.pool_id = inner.pool_id

        def quote(self, mint_in: str, amount_in: int) -> int:
            return self.inner.quote(mint_in, amount_in)

        def spot(self, mint_in: str) -> tuple[int, int]:
            return self.inner.spot(mint_in)

    curved: list[Pool] = [cp(f"p{i}", JUP, USDC, 10**12 + i * 10**11, None, 2_500) for i in range(5)]
    plain: list[Pool] = [Plain(pool) for pool in curved if isinstance(pool, CpmmPool)]
    exact, sampled = route(curved, 10**11), route(plain, 10**11)
    assert exact.chosen.net_out * (1 - 1e-6) <= sampled.chosen.net_out <= exact.chosen.net_out + 4
    assert exact.optimality_gap_bps is not None
    assert sampled.optimality_gap_bps is not None
    assert exact.optimality_gap_bps <= Decimal("0.0002")
    assert exact.chosen.net_out <= sampled.chosen.net_out * (1 + sampled.optimality_gap_bps / 10_000)
    assert sampled.optimality_gap_bps < 2


def test_stable_pairs_with_decimals_apart_have_a_gap_too() -> None:
    pools: list[Pool] = [cp("a", USDT, USDC, 10**13, None, 100), cp("b", USDT, USDC, 10**12, None, 500)]
    decision = route(pools, 10**10, USDT, USDC)
    assert decision.optimality_gap_bps is not None
    assert 0 <= decision.optimality_gap_bps < Decimal("0.001")
