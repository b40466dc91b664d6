"""Turn a division in real numbers into legs of whole base units, with the pools' exact quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from order_engine.domain.amounts import U64_MAX
from order_engine.engine.routing.ladder import Ladder
from order_engine.engine.routing.network import Network

_PARTS = 1 << 60  # how finely a path is throttled


@dataclass(frozen=True, slots=True)
class Plan:
    """A division of the order.

    Attributes:
        amounts: base units into each channel, by its place. Those of an intermediate token add up to what arrives.
        amount_out: base units.
    """

    amounts: dict[int, int]
    amount_out: int


def exact(network: Network, flows: Mapping[Ladder, float]) -> Plan | None:
    """The plan nearest to real-valued flows; None where the pools do not fill it.

    Every leg is rounded down, and what is left goes to the leg that takes most.
    """
    wanted: dict[int, float] = {}
    for ladder, takes in flows.items():
        if takes > 0:
            wanted[ladder.channel] = wanted.get(ladder.channel, 0.0) + takes
    edges = network.by_edge(wanted)
    paths = [(edges[via.first], edges[via.second]) for via in network.vias if edges[via.first] and edges[via.second]]
    source = edges[0] + [c for first, _ in paths for c in first]
    ends: dict[int, int] = {}
    for _ in range(1 + len(paths)):
        amounts = _spread(network, source, wanted, network.amount, ends)
        if amounts is None:
            return None
        out = sum(network.channels[c].quote(amounts[c]) for c in edges[0] if c in amounts)
        for first, second in paths:
            arrives = sum(network.channels[c].quote(amounts.get(c, 0)) for c in first)
            parts = _spread(network, second, wanted, arrives, {}) if arrives else {}
            if parts is None:
                # More arrives than can go on: less has to be sent that way.
                ends |= _throttled(network, first, second, amounts)
                break
            amounts |= parts
            out += sum(network.channels[c].quote(x) for c, x in parts.items())
        else:
            return Plan(amounts, out)
    return None


def _throttled(
    network: Network, first: Sequence[int], second: Sequence[int], amounts: dict[int, int]
) -> dict[int, int]:
    """The same parts of what is sent into an intermediate token, of which all can go on."""
    channels = network.channels
    room = sum(channels[c].most(U64_MAX) for c in second)
    good, bad = 0, _PARTS
    while bad - good > 1:
        middle = (good + bad) // 2
        arrives = sum(channels[c].quote(amounts.get(c, 0) * middle // _PARTS) for c in first)
        good, bad = (middle, bad) if arrives <= room else (good, middle)
    return {c: amounts.get(c, 0) * good // _PARTS for c in first}


def _spread(
    network: Network, places: Sequence[int], wanted: Mapping[int, float], total: int, ends: Mapping[int, int]
) -> dict[int, int] | None:
    """Whole amounts in proportion that add up to a total and that every pool fills; None where there are none.

    Args:
        ends: the most that some of the pools may take.
    """
    channels = network.channels
    left = list(places)
    capped: dict[int, int] = {}
    for _ in range(2 * len(places) + 1):
        rest = total - sum(capped.values())
        weight = sum(wanted[c] for c in left)
        if rest == 0:
            return {c: x for c, x in capped.items() if x}
        if not left or weight <= 0:
            return None
        amounts = {c: min(rest, int(rest * (wanted[c] / weight))) for c in left}
        largest = max(left, key=lambda c: (amounts[c], -c))
        amounts[largest] += rest - sum(amounts.values())
        bad = [c for c in left if amounts[c] > ends.get(c, total) or (amounts[c] and not channels[c].quote(amounts[c]))]
        if not bad:
            return {c: x for c, x in (capped | amounts).items() if x}
        for c in bad:
            # Dust gives nothing; what is above a pool's end is refused.
            capped[c] = channels[c].most(min(amounts[c], ends.get(c, total)))
            left.remove(c)
    return None
