"""Rule pools out by what they earn at some prices: what no better route of a family uses need not be searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, sqrt

from order_engine.engine.routing.bound import Family
from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.network import Network

# Per edge: the free pools and what each earns less its leg, best first; how many of them have room; and the least gain
# of these, 0 where there is none.
type _Ranked = list[tuple[list[tuple[float, Ladder]], int, float]]


def narrow(
    network: Network, family: Family, fee: float, enough: float, price: float, middles: Mapping[int, float]
) -> float:
    """Lower the bound of a family to that at some prices, and take pools out that are in no better route of it.

    A route with a pool that is not among the best of its edge gives less than the bound by what that pool earns less
    than the last of those.

    Args:
        enough: routes that give no more than this need not be found.
        middles: the prices of intermediate tokens, by the edge into each; of all that the family uses.

    Returns:
        What the routes that were taken out give at most.
    """
    found = _ranked(network, family, fee, price, middles)
    if found is None:
        return -inf
    bound, ranked = found
    family.bound = min(family.bound, bound)
    out = -inf
    kept: list[tuple[Ladder, ...]] = []
    for gains, left, last in ranked:
        stay = [rank < left or bound + gain - last > enough for rank, (gain, _) in enumerate(gains)]
        out = max([out, *(bound + gain - last for (gain, _), stays in zip(gains, stay, strict=True) if not stays)])
        kept.append(_by_top(ladder for (_, ladder), stays in zip(gains, stay, strict=True) if stays))
    family.free = tuple(kept)
    return out


def beside(
    network: Network, family: Family, fee: float, enough: float, price: float, middles: Mapping[int, float]
) -> float:
    """Take the pools out of a family that are in no better route of it that uses a free pool at all.

    What a pool earns at some prices less than its leg costs is missing from the bound of every route with it.

    Args:
        enough: as for ``narrow``, and the prices too.

    Returns:
        What the routes that were taken out give at most.
    """
    found = _ranked(network, family, fee, price, middles)
    if found is None:
        return -inf
    bound, ranked = found
    out = -inf
    kept: list[tuple[Ladder, ...]] = []
    for gains, _, _ in ranked:
        most = [bound + min(0.0, gain) for gain, _ in gains]
        out = max([out, *(value for value in most if value <= enough)])
        kept.append(_by_top(ladder for (_, ladder), value in zip(gains, most, strict=True) if value > enough))
    family.free = tuple(kept)
    return out


def _ranked(
    network: Network, family: Family, fee: float, price: float, middles: Mapping[int, float]
) -> tuple[float, _Ranked] | None:
    """The bound of a family at some prices, and per edge the free pools by what they earn there.

    Returns:
        None where a price is missing. Of each edge the gains, best first, how many of them have room, and the least
        gain of these.
    """
    if price <= 0:
        return None
    prices = {0: (price, 1.0)}
    for via in network.vias:
        if family.rooms[via.first]:
            middle = middles.get(via.first)
            if not middle:
                return None
            prices |= {via.first: (price / middle, middle), via.second: (middle, 1.0)}
    bound = price * network.amount
    ranked: _Ranked = []
    for edge, room in enumerate(family.rooms):
        if not room:
            ranked.append(([], 0, 0.0))
            continue
        at, scale = prices[edge]
        if not at:
            # A pool that is all but drained: the price is below what a float can say.
            return None
        root = 1 / sqrt(at)
        bound += sum(ladder.at(at, root)[0] * scale - fee for ladder in family.fixed[edge])
        # What starts below the price trades nothing, and costs its leg at least.
        gains = [
            (ladder.at(at, root)[0] * scale - fee if ladder.top > at else -fee, ladder) for ladder in family.free[edge]
        ]
        gains.sort(key=lambda gain: (-gain[0], gain[1].number))
        left = room - len(family.fixed[edge])
        bound += sum(max(0.0, gain) for gain, _ in gains[:left])
        ranked.append((gains, left, max(0.0, gains[left - 1][0]) if 0 < left <= len(gains) else 0.0))
    return bound, ranked


def _by_top(ladders: Iterable[Ladder]) -> tuple[Ladder, ...]:
    return tuple(sorted(ladders, key=lambda ladder: (-ladder.top, ladder.number)))
