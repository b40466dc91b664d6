"""How a call travels to a service and back: at once here, with delays, faults and deaths in the simulation."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Protocol


class Wire(Protocol):
    async def call[T](self, name: str, effect: Callable[[], T], *, again: bool = False) -> T:
        """Carry out one call.

        Args:
            name: service and operation, for example ``orders.replace``.
            effect: what the service does, in one indivisible step.
            again: the client library makes the call a second time when no answer comes.
        """

    def later(self, name: str, effect: Callable[[], None]) -> None:
        """Carry out what the service does after it has answered, such as updating an index."""


class Direct:
    """Every call arrives and is answered at once. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    async def call[T](self, name: str, effect: Callable[[], T], *, again: bool = False) -> T:
        with self._lock:
            return effect()

    def later(self, name: str, effect: Callable[[], None]) -> None:
        with self._lock:
            effect()


class Replica[V]:
    """What an eventually consistent read sees: the present, or, where it lags, the past until ``catch_up``."""

    def __init__(self, present: dict[str, V], *, lags: bool) -> None:
        self._present = present
        self._seen = {} if lags else present

    def read(self) -> Mapping[str, V]:
        return self._seen

    def catch_up(self) -> None:
        if self._seen is not self._present:
            self._seen = copy.deepcopy(self._present)
