"""Minimise a convex function of a price that is smooth here and has corners there."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, sqrt
from typing import Protocol

_STEPS = 60  # evaluations; Newton needs about four
_STILL = 1e-10  # Newton's step, as a part of where it is, that is not worth taking


class Point(Protocol):
    """A convex function at one price.

    Attributes:
        where: the price.
        slope: a subgradient.
        growth: how fast the slope falls as one over the root of the price rises; 0 where it does not.
    """

    where: float
    value: float
    slope: float
    growth: float


class Descent[P: Point]:
    """A search between two prices.

    Where the pools' amounts are smooth, Newton's step in one over the root of the price is exact but for pieces that
    end in between. Where they jump, as at a bin's price, the tangents from both sides meet in the minimum.

    Attributes:
        below: the last point with a negative slope, None where there was none.
        above: the last one with a positive slope.
        best: the point with the least value.
    """

    def __init__(self, at: Callable[[float], P], low: float, high: float, start: float) -> None:
        self._at = at
        self._low = low
        self._high = high
        self.below: P | None = None
        self.above: P | None = None
        self.best = self._point = at(start)
        self._steep = inf  # the slope before
        self._width = inf  # of the interval when tangents were last followed
        self._newton = False
        self._stride = 2.0

    def run(self, enough: float, near: float) -> None:
        """Search until the value is at most ``enough``, or nowhere lower by more than ``near``."""
        for _ in range(_STEPS):
            point = self._point
            if point.value < self.best.value:
                self.best = point
            if point.value <= enough:
                return
            if point.slope == 0:
                self.best = self.below = self.above = point
                return
            if point.slope < 0:
                self.below = point
            else:
                self.above = point
            where = self._next(near)
            if where is None or where in (point.where, 0.0):
                return
            self._point = self._at(where)

    def _next(self, near: float) -> float | None:
        """Where to look next; None where nothing is to be gained."""
        point, below, above = self._point, self.below, self.above
        floor = below.where if below else self._low
        ceiling = above.where if above else self._high
        step = cross = None
        if point.growth > 0:
            root = 1 / sqrt(point.where)
            change = point.slope / point.growth
            if abs(change) <= _STILL * root:
                return None
            # Compared as roots: prices far apart would overflow.
            if root + change > 1 / sqrt(ceiling) and (floor == 0 or root + change < 1 / sqrt(floor)):
                step = (1 / (root + change)) ** 2
        if below is not None and above is not None:
            cross = _meet(below, above)
            if cross is None or self.best.value - below.value - below.slope * (cross - floor) <= near:
                return None
        # Newton's step again only where the last one has brought the slope down.
        better = abs(point.slope) < self._steep / 4
        self._steep = abs(point.slope)
        if step is not None and (cross is None or better or not self._newton):
            self._newton = True
            return step
        if cross is not None:
            # Tangents that meet next to one end do not narrow the interval much: then its middle does.
            stuck = not self._newton and ceiling - floor > self._width / 2
            self._width, self._newton = ceiling - floor, False
            return sqrt(floor) * sqrt(ceiling) if stuck else cross
        # Nothing is known of how far it goes: the steps grow.
        self._stride *= self._stride
        return min(ceiling, point.where * self._stride) if point.slope < 0 else max(floor, point.where / self._stride)


def _meet(below: Point, above: Point) -> float | None:
    """Where the tangents of two points meet; None where nothing lies between the points."""
    rise = above.slope - below.slope
    cross = (below.value - above.value + above.slope * above.where - below.slope * below.where) / rise
    if not below.where < cross < above.where:
        cross = sqrt(below.where) * sqrt(above.where)
    return cross if below.where < cross < above.where else None
