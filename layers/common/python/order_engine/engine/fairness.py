"""Who is next, where many users want more than can be done at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping


def fair_share[T](wanted: Iterable[T], user_of: Callable[[T], str], served: Mapping[str, int], limit: int) -> list[T]:
    """At most ``limit`` of what is wanted, in turns: every user's first, then every user's second, and so on.

    Whoever has waited longest has the first turn, so that nobody waits for more than one round of all users, however
    much the others want.

    Args:
        wanted: each user's in the order in which that user should be served.
        user_of: whose it is.
        served: when a user was last served, as a number that grows; absent for never.
    """
    queues: dict[str, list[T]] = {}
    for item in wanted:
        queues.setdefault(user_of(item), []).append(item)
    turns = sorted(queues, key=lambda user: served.get(user, -1))
    chosen: list[T] = []
    turn = 0
    while turns and len(chosen) < limit:
        chosen += [queues[user][turn] for user in turns][: limit - len(chosen)]
        turn += 1
        turns = [user for user in turns if len(queues[user]) > turn]
    return chosen
