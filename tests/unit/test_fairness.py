"""Turns: nobody waits for more than one round of all users."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from order_engine.engine.fairness import fair_share

wants = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 999)), unique=True, max_size=60)
served = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5))


def share(wanted: list[tuple[str, int]], served: dict[str, int], limit: int) -> list[tuple[str, int]]:
    return fair_share(wanted, lambda item: item[0], served, limit)


@given(wants, served, st.integers(0, 70))
def test_as_many_as_possible_are_chosen_and_each_once(
    wanted: list[tuple[str, int]], served: dict[str, int], limit: int
) -> None:
    chosen = share(wanted, served, limit)
    assert len(chosen) == len(set(chosen)) == min(limit, len(wanted))
    assert set(chosen) <= set(wanted)


@given(wants, served, st.integers(0, 70))
def test_nobody_has_two_turns_more_than_another_who_still_wants(
    wanted: list[tuple[str, int]], served: dict[str, int], limit: int
) -> None:
    chosen = Counter(user for user, _ in share(wanted, served, limit))
    for user, wishes in Counter(user for user, _ in wanted).items():
        if chosen[user] < wishes:
            assert max(chosen.values(), default=0) <= chosen[user] + 1


@given(wants, served, st.integers(0, 70))
def test_a_users_own_come_in_their_order(wanted: list[tuple[str, int]], served: dict[str, int], limit: int) -> None:
    chosen = share(wanted, served, limit)
    for user in "abcdef":
        mine = [item for item in wanted if item[0] == user]
        assert [item for item in chosen if item[0] == user] == mine[: sum(item[0] == user for item in chosen)]


@given(wants, st.integers(1, 10))
def test_whoever_waits_has_a_turn_within_one_round(wanted: list[tuple[str, int]], limit: int) -> None:
    """Though nothing of anybody's is ever done."""
    users = {user for user, _ in wanted}
    turns: dict[str, int] = {}
    for beat in range(-(-len(users) // limit)):
        for user, _ in share(wanted, turns, limit):
            turns[user] = beat
    assert set(turns) == users
