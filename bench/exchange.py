"""Divide an order over a set of pools in whole base units: part of the reference (``bench.optimum``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Protocol

# Pools by their place in the case.
type Set = tuple[int, ...]


class Pools(Protocol):
    """Exact quotes by place."""

    def quote(self, place: int, amount: int) -> int:
        """Base units out; 0 where the pool refuses."""

    def end(self, place: int, amount: int) -> int:
        """The largest input up to an amount that is filled."""


class Exchange:
    """A division in whole base units, improved by moving some from one leg to another.

    The largest leg behind an intermediate token takes what the others there leave.
    """

    def __init__(
        self,
        over: Pools,
        direct: Set,
        paths: Sequence[tuple[Set, Set]],
        parts: dict[int, int],
        behind: dict[int, int],
    ) -> None:
        self.over = over
        self.direct = direct
        self.paths = paths
        self.parts = parts
        self.behind = behind
        self.out = self.total(parts, behind)

    def total(self, parts: dict[int, int], behind: dict[int, int]) -> int:
        """Output; -1 where a pool refuses. Sets the legs behind intermediate tokens to what arrives."""
        out = self.sum(self.direct, parts)
        for first, second in self.paths:
            arrives = self.sum(first, parts)
            if out < 0 or arrives < 0 or not self.settle(second, behind, arrives):
                return -1
            gives = self.sum(second, behind)
            if gives < 0:
                return -1
            out += gives
        return out

    def sum(self, places: Sequence[int], held: dict[int, int]) -> int:
        """What some pools give; -1 where one refuses."""
        out = 0
        for i in places:
            gives = self.over.quote(i, held[i])
            if held[i] and not gives:
                return -1
            out += gives
        return out

    def settle(self, second: Sequence[int], behind: dict[int, int], arrives: int) -> bool:
        """Let the legs behind an intermediate token take what arrives, the largest first. Whether they can."""
        rest = arrives - sum(behind[i] for i in second)
        for i in sorted(second, key=lambda i: -behind[i]):
            step = max(rest, -behind[i])
            if step > 0 and not self.over.quote(i, behind[i] + step):
                # It is full: the others take what is above its end.
                step = self.over.end(i, behind[i] + step) - behind[i]
            behind[i] += step
            rest -= step
        return rest == 0

    def run(self, amount: int) -> bool:
        """Exchange until nothing helps. Whether the set fills the order."""
        if self.out < 0 and not self.repair():
            return False
        size = max(1, amount // 16)
        while size:
            for _ in range(24):
                if not self.round(size):
                    break
            size //= 3
        return True

    def repair(self) -> bool:
        """Move what a pool refuses to those that still take more."""
        quote, end = self.over.quote, self.over.end
        order = sorted(self.parts, key=lambda i: -self.parts[i])
        for _ in range(2):
            for i in order:
                x = self.parts[i]
                if x and not quote(i, x):
                    keeps = end(i, x)
                    self.parts[i] = keeps
                    others = [j for j in order if j != i]
                    for j in others:
                        room = end(j, self.parts[j] + x - keeps) - self.parts[j]
                        give = max(0, min(room, x - keeps))
                        self.parts[j] += give
                        keeps += give
                    if keeps < x:
                        return False
        self.out = self.total(self.parts, self.behind)
        return self.out >= 0

    def groups(self) -> Iterator[tuple[bool, int, int]]:
        for i, j in permutations(self.parts, 2):
            yield True, i, j
        for _, second in self.paths:
            for i, j in permutations(second, 2):
                yield False, i, j

    def round(self, size: int) -> bool:
        """Try every exchange of a size. Whether one helped."""
        helped = False
        for in_front, giver, taker in self.groups():
            helped |= self.move(in_front, giver, taker, size)
        return helped

    def move(self, in_front: bool, giver: int, taker: int, size: int) -> bool:
        held = self.parts if in_front else self.behind
        if not held[giver]:
            return False
        step = min(size, held[giver])
        parts, behind = dict(self.parts), dict(self.behind)
        changed = parts if in_front else behind
        changed[giver] -= step
        changed[taker] += step
        out = self.total(parts, behind)
        if out <= self.out:
            return False
        self.parts, self.behind, self.out = parts, behind, out
        return True
