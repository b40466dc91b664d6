"""What a pool takes and gives at a marginal price: the supply curve that every bound is made of."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf, sqrt

from order_engine.domain.amounts import U64_MAX
from order_engine.domain.quote import Curve, Piece

# What a pool does at a marginal price, where output less price times input is largest: that profit in units of
# output, base units in, base units out, and how much more it takes per unit that one over the price's root rises.
# Within a piece the amount is linear in that root, (root(p / price) - 1) / bend; at the end of one it stands still.
type Offer = tuple[float, float, float, float]

_NOTHING: Offer = (0.0, 0.0, 0.0, 0.0)


class Ladder:
    """One curve of a pool, walked as far down as prices were asked for.

    Attributes:
        number: which ladder of the network this is.
        channel: which pool it belongs to; ladders of one pool exclude each other.
        top: the price at which it starts.
        concave: it gives from its first unit on.
    """

    __slots__ = (
        "_ahead",
        "_bends",
        "_costs",
        "_floor",
        "_idle",
        "_inputs",
        "_most",
        "_outputs",
        "_roots",
        "_toll",
        "channel",
        "concave",
        "number",
        "top",
    )

    def __init__(self, curve: Curve, number: int, channel: int, most: float) -> None:
        """Walk a curve up to an input.

        Args:
            most: base units; the order never sends more through the pool.
        """
        self.number = number
        self.channel = channel
        self._ahead: Iterator[Piece] = iter(curve.pieces)
        self._idle, self._toll = float(curve.idle), float(curve.toll)
        self.concave = not self._idle and not self._toll
        self._most = most
        # Of each piece: the negative of its price, the root of it, its bend; before it: all input and output.
        self._costs: list[float] = []
        self._roots: list[float] = []
        self._bends: list[float] = []
        self._inputs = [0.0]
        self._outputs = [0.0]
        self._floor = inf
        self._grow()
        self.top = -self._costs[0] if self._costs else 0.0

    def _grow(self) -> None:
        """Walk one piece on; behind the last one the floor is 0."""
        try:
            price, bend, size = next(self._ahead, (0.0, 0.0, 0.0))
        except Exception:  # noqa: BLE001 - a bin or tick without a price ends the pool there, as it does its quotes
            price, bend, size = 0.0, 0.0, 0.0
        room = self._most - self._idle - self._inputs[-1]
        if price <= 0 or size <= 0 or room <= 0:
            self._floor = 0.0
            return
        if price > self._floor:
            # Rounding of floats only: a curve's prices fall.
            price = self._floor
        size = min(size, room)
        # What no account can hold is refused, so that a curve ends where its output does not fit in a u64.
        left = (U64_MAX - self._outputs[-1]) / price
        if bend * left < 1:
            room = min(room, left / (1 - bend * left))
            size = min(size, room)
        if size <= 0:
            self._floor = 0.0
            return
        bent = 1 + bend * size
        self._costs.append(-price)
        self._roots.append(sqrt(price))
        self._bends.append(bend)
        self._inputs.append(self._inputs[-1] + size)
        self._outputs.append(self._outputs[-1] + price * size / bent)
        self._floor = price / (bent * bent) if size < room else 0.0

    def at(self, price: float, root: float) -> Offer:
        """The offer at a marginal price.

        Args:
            price: output per input.
            root: one over the square root of it.
        """
        while self._floor > price:
            self._grow()
        piece = bisect_left(self._costs, -price)
        if not piece:
            return _NOTHING if not self._idle and not self._toll else (-self._toll - price * self._idle, 0.0, 0.0, 0.0)
        takes, gives = self._inputs[piece], self._outputs[piece]
        growth = 0.0
        bend = self._bends[piece - 1]
        if bend:
            before = self._inputs[piece - 1]
            start = self._roots[piece - 1]
            bent = start * root
            part = (bent - 1) / bend
            if before + part < takes:
                takes = before + part
                gives = self._outputs[piece - 1] + start * start * part / bent
                growth = start / bend
        takes += self._idle
        gives -= self._toll
        return gives - price * takes, takes, gives, growth

    def capacity(self) -> float:
        """The most it takes, base units: ``most`` where the pool can take as much."""
        while self._floor > 0:
            self._grow()
        return self._idle + self._inputs[-1] if self._costs else 0.0

    def takes_for(self, output: float) -> float:
        """The most that it takes while it gives no more than an output."""
        while self._floor > 0 and self._outputs[-1] - self._toll <= output:
            self._grow()
        piece = bisect_right(self._outputs, output + self._toll) - 1
        if piece >= len(self._costs):
            return self.capacity()
        wanted = (output + self._toll - self._outputs[piece]) / -self._costs[piece]
        return self._idle + self._inputs[piece] + wanted / (1 - self._bends[piece] * wanted)

    def gives(self, amount: float) -> float:
        """What it gives for an amount; more than it takes gives no more."""
        while self._floor > 0 and self._inputs[-1] + self._idle < amount:
            self._grow()
        if not self._costs or amount <= self._idle:
            return 0.0
        piece = min(bisect_right(self._inputs, amount - self._idle), len(self._costs)) - 1
        part = min(amount - self._idle, self._inputs[piece + 1]) - self._inputs[piece]
        return self._outputs[piece] - self._costs[piece] * part / (1 + self._bends[piece] * part) - self._toll


# Where a pool does not describe its curve, it is sampled at these parts of the most that it takes.
_SAMPLES = tuple((k / 48) ** 3 for k in range(1, 49))


def sampled(quote: Callable[[int], int], spot: float, most: int) -> Curve:
    """A curve that bounds a pool which only quotes.

    A concave function lies below the continuation of every chord of it, so between two samples it lies below those of
    the neighbouring chords. The pool must be concave but for rounding; one that is not may be bounded too low.

    Args:
        quote: exact output of an input, 0 where it is refused.
        spot: the marginal price before fees, which no price exceeds.
        most: base units; the largest amount that is quoted.
    """
    knots: list[tuple[float, float]] = [(0.0, 0.0)]
    for part in _SAMPLES:
        amount = max(1, int(most * part))
        out = quote(amount)
        if amount > knots[-1][0] and out:
            # What a quote is rounded by is added, or chords of small amounts would be too steep or too flat.
            _join(knots, (float(amount), out + 1.0))
    if len(knots) == 1:
        return Curve(())
    slopes = [max(spot, _slope(*knots[:2])), *(_slope(a, b) for a, b in pairwise(knots)), 0.0]
    corners = [(0.0, 0.0)]
    for number, (a, b) in enumerate(pairwise(knots)):
        left, own, right = slopes[number : number + 3]
        if left > right:
            # The continuation from the left meets the one from the right; behind the last sample no output falls.
            meet = (b[0] - a[0]) * (own - right) / (left - right)
            _join(corners, (a[0] + meet, a[1] + left * meet))
    if corners[-1][0] < knots[-1][0]:
        _join(corners, (knots[-1][0], max(corners[-1][1], knots[-1][1]) * (1 + 1e-12)))
    return Curve([Piece(_slope(a, b), 0.0, b[0] - a[0]) for a, b in pairwise(corners)])


def _join(corners: list[tuple[float, float]], corner: tuple[float, float]) -> None:
    """Add a corner to a polygon on its right; those that it leaves below are dropped."""
    if corner[0] <= corners[-1][0]:
        # Floats that cannot be told apart.
        corner = (corners[-1][0], max(corner[1], corners.pop()[1]))
        if not corners:
            corners.append(corner)
            return
    while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], corner):
        corners.pop()
    corners.append(corner)


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
