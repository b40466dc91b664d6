"""Rates, and the meter that counts reads without a write for each."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.engine.rates import Allowance, Meter, Rate, RateLimited
from tests.fakes.accounts import FakeRateLimiter

T0 = 1_800_000_000_000


class Ledger(FakeRateLimiter):
    """A limiter that remembers how many units it has admitted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
        allowance = await super().admit(user_id, rate, now, units=units)
        self.counted += units
        return allowance


async def spent(meter: Meter, rate: Rate, now: int, units: int = 1, user: str = "user") -> bool:
    try:
        await meter.spend(user, rate, now, units=units)
    except RateLimited:
        return False
    return True


STEPS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 3, 40, 700, 9_999, 10_000, 30_000]), st.integers(0, 2), st.integers(1, 12)),
    max_size=80,
)


@given(st.integers(1, 3000), st.integers(1, 60), STEPS)
def test_nothing_is_spent_that_was_not_counted(per_minute: int, burst: int, steps: list[tuple[int, int, int]]) -> None:
    """However many processes hold units of one user, and whatever they hold."""

    async def run() -> None:
        ledger, rate, now, total = Ledger(), Rate(per_minute, burst, "reads"), T0, 0
        meters = [Meter(ledger) for _ in range(3)]
        for wait, which, units in steps:
            now += wait
            if await spent(meters[which], rate, now, units):
                total += min(units, burst)
            assert total <= ledger.counted
            # Of the limiter alone: what has come since the beginning, and the burst.
            assert ledger.counted <= burst + (now - T0) * per_minute / 60_000 + 1

    asyncio.run(run())


@given(st.integers(1, 3000), st.integers(1, 60), STEPS)
def test_who_is_refused_would_be_refused_by_the_limiter_and_is_told_when(
    per_minute: int, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    async def run() -> None:
        ledger, rate, now = Ledger(), Rate(per_minute, burst, "reads"), T0
        meter = Meter(ledger)
        for wait, _, units in steps:
            now += wait
            try:
                await meter.spend("user", rate, now, units=units)
            except RateLimited as refused:
                asked = min(units, burst)
                with pytest.raises(RateLimited):
                    await ledger.admit("user", rate, now + refused.retry_after_ms - 2, units=asked)
                now += refused.retry_after_ms
                assert await spent(meter, rate, now, units)

    asyncio.run(run())


async def test_a_steady_reader_costs_a_sixteenth_of_a_write() -> None:
    ledger, rate = Ledger(), Rate(6000, 600, "reads")
    meter = Meter(ledger)
    for number in range(1000):
        assert await spent(meter, rate, T0 + number * 20)
    assert ledger.writes <= 1000 // 16 + 5


async def test_a_rare_reader_holds_nothing_back() -> None:
    ledger, rate = Ledger(), Rate(60, 60, "reads")
    meter = Meter(ledger)
    for number in range(10):
        assert await spent(meter, rate, T0 + number * 10_000)
    assert ledger.counted == 10


async def test_who_is_over_the_limit_costs_no_further_write() -> None:
    ledger, rate = Ledger(), Rate(60, 20, "reads")
    meter = Meter(ledger)
    admitted = [await spent(meter, rate, T0) for _ in range(500)]
    assert sum(admitted) == 20
    assert ledger.writes < 12
    assert not await spent(meter, rate, T0 + 999)
    assert await spent(meter, rate, T0 + 1000)


async def test_many_at_once_are_admitted_the_burst_and_no_more() -> None:
    ledger, rate = Ledger(), Rate(60, 37, "reads")
    meters = [Meter(ledger) for _ in range(4)]
    admitted = await asyncio.gather(*(spent(meters[number % 4], rate, T0) for number in range(400)))
    assert sum(admitted) == ledger.counted - sum(purse.units for meter in meters for purse in meter._purses.values())
    assert 37 - 4 * 15 <= sum(admitted) <= 37


async def test_users_and_rates_are_counted_apart() -> None:
    meter, rate = Meter(Ledger()), Rate(60, 1, "reads")
    assert [await spent(meter, rate, T0, user=user) for user in ("a", "a", "b")] == [True, False, True]
    assert await spent(meter, Rate(60, 1, "cancellations"), T0, user="a")
    assert await spent(meter, Rate(600, 1, "reads", own=True), T0, user="a")
    assert not await spent(meter, Rate(600, 1, "reads", own=True), T0, user="a")


async def test_a_request_that_is_dearer_than_the_burst_takes_the_whole_burst() -> None:
    meter, rate = Meter(Ledger()), Rate(60, 3, "reads")
    assert await spent(meter, rate, T0, units=11)
    assert not await spent(meter, rate, T0 + 2000, units=11)
    assert await spent(meter, rate, T0 + 3000, units=11)


async def test_a_limiter_that_fails_or_hangs_refuses_nobody() -> None:
    told: list[Exception] = []

    class Broken(FakeRateLimiter):
        async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
            if user_id == "slow":
                await asyncio.sleep(60)
            raise OSError("no store")

    meter = Meter(Broken(), on_failure=told.append, timeout_s=0.01)
    assert await spent(meter, Rate(60, 1, "reads"), T0)
    assert await spent(meter, Rate(60, 1, "reads"), T0, user="slow")
    assert [type(error) for error in told] == [OSError, TimeoutError]


async def test_the_memory_of_many_users_is_bounded() -> None:
    meter = Meter(Ledger(), remembered=100)
    for number in range(1000):
        assert await spent(meter, Rate(60, 5, "reads"), T0, user=str(number))
    assert len(meter._purses) <= 100


@pytest.mark.parametrize(("per_minute", "burst", "window"), [(100, 100, 60), (60, 3, 3), (120, 4, 2), (100, 1, 1)])
def test_a_policys_window_is_the_time_that_its_quota_takes_to_return(per_minute: int, burst: int, window: int) -> None:
    assert Rate(per_minute, burst).window_s == window
