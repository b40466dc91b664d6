"""Stages, buckets and quantiles of what is counted."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.order import Status
from order_engine.engine.stats import BUCKETS_MS, bucket, moves, quantile, stage

S = Status
DAY_MS = 86_400_000
latencies = st.integers(0, DAY_MS)


def test_buckets_reach_from_a_millisecond_to_a_day_and_are_a_tenth_wide_at_most() -> None:
    assert BUCKETS_MS[0] == 1
    assert BUCKETS_MS[-2] < DAY_MS <= BUCKETS_MS[-1]
    for lower, upper in itertools.pairwise(BUCKETS_MS):
        assert lower < upper
        assert upper == lower + 1 or lower * 11 / 10 - 1 < upper <= lower * 11 / 10


@given(latencies)
def test_a_latency_falls_into_the_first_bucket_that_holds_it(latency_ms: int) -> None:
    index = bucket(latency_ms)
    assert latency_ms <= BUCKETS_MS[index]
    assert index == 0 or BUCKETS_MS[index - 1] < latency_ms


def test_longer_than_a_day_is_a_day() -> None:
    assert bucket(BUCKETS_MS[-1] * 10) == bucket(BUCKETS_MS[-1]) == len(BUCKETS_MS) - 1


@given(st.lists(latencies, min_size=1, max_size=60), st.integers(1, 100))
def test_a_quantile_is_the_bucket_that_so_many_do_not_exceed(values: list[int], share: int) -> None:
    counts = Counter(bucket(value) for value in values)
    found = quantile(counts, share)
    wanted = sorted(values)[-(-len(values) * share // 100) - 1]
    assert found == BUCKETS_MS[bucket(wanted)]


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile({}, 50) is None
    assert quantile({3: 0}, 50) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, None),
        (S.OPEN, "open"),
        *((status, None) for status in S if status is not S.OPEN),
    ],
)
def test_an_order_rests_or_does_not(status: Status | None, expected: str | None) -> None:
    assert stage(status) == expected


@given(st.lists(st.sampled_from(S), min_size=1, max_size=12))
def test_what_moves_adds_up_to_where_it_is(life: list[Status]) -> None:
    numbers: Counter[str] = Counter()
    for before, after in itertools.pairwise([None, *life]):
        assert after is not None
        for name, number in moves(before, after).items():
            numbers[name] += number
    where = stage(life[-1])
    assert {name: number for name, number in numbers.items() if number} == ({} if where is None else {where: 1})
    assert None not in numbers
