"""How much a user may ask for: the generic cell rate algorithm, and a meter that writes less often than it counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from order_engine.domain.errors import EngineError

_MINUTE_MS = 60_000
# The limiter counts in thousandths of a millisecond: a faster rate would have no interval at all.
MAX_PER_MINUTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A user's limit: ``per_minute`` units on average, ``burst`` at once.

    Attributes:
        name: what is counted, in the plural.
        own: it is a key's own and not the deployment's. It is counted apart: an own rate that runs far ahead of the
            clock would otherwise lock out the user's other keys.
    """

    per_minute: int
    burst: int
    name: str = "orders"
    own: bool = False

    @property
    def bucket(self) -> str:
        """Under which name a user's units are counted. Keys of one rate share it."""
        return f"{self.name}#{self.per_minute}" if self.own else self.name

    @property
    def window_s(self) -> int:
        """How long an empty burst takes to fill, in seconds, rounded up."""
        return -(-60 * self.burst // self.per_minute)

    def refusal(self, ahead_ms: float, units: int = 1) -> RateLimited | None:
        """The refusal of so many units; None if they are admitted.

        Args:
            ahead_ms: how far the theoretical arrival time lies ahead of the clock, not negative.
        """
        wait = ahead_ms - (self.burst - units) * _MINUTE_MS / self.per_minute
        if wait <= 0:
            return None
        return RateLimited(self, -int(-wait // 1), -int(-ahead_ms // 1))


class RateLimited(EngineError):
    """Too much in a short time.

    Attributes:
        retry_after_ms: when as much as was asked for is admitted.
        full_after_ms: when the whole burst is there again, if nothing more is asked for.
    """

    code = "rate_limited"

    def __init__(self, rate: Rate, retry_after_ms: int, full_after_ms: int) -> None:
        super().__init__(f"Too many {rate.name} in a short time.")
        self.rate = rate
        self.retry_after_ms = retry_after_ms
        self.full_after_ms = full_after_ms

    @property
    def remaining(self) -> int:
        """Units that would be admitted at this moment, fewer than were asked for."""
        return max(0, int(self.rate.burst - self.full_after_ms * self.rate.per_minute / _MINUTE_MS))


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after something was admitted.

    Attributes:
        remaining: units that would be admitted at this moment.
        full_after_ms: when the whole burst is there again, if nothing more is asked for.
    """

    remaining: int
    full_after_ms: int


class RateLimiter(Protocol):
    async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
        """Count units of one request, at most the rate's burst.

        Raises:
            RateLimited: too many; nothing was counted.
        """

    async def give_back(self, user_id: str, rate: Rate, now: int) -> None:
        """Take back the counting of one unit that turned out not to be one."""


@dataclass(slots=True)
class _Purse:
    """What this process holds for a user: units that are counted already, and what it knows of the limit."""

    units: int = 0
    good_until: int = 0
    bought: int = 0
    arrival: int = 0


@dataclass(slots=True)
class Meter:
    """Counts requests that cost less than the write that counts them.

    Units are bought in advance, twice as many each time while a user goes on asking, and spent without a write. A unit
    is counted before it is spent, so the limit is never exceeded but by what a process holds, ``most`` less one for
    ``keep_ms``. Who has been refused is refused without a write until the limiter could answer differently.

    Nothing that is metered is ever given back: the arrival time that a refusal tells of does not come nearer.
    """

    limiter: RateLimiter
    most: int = 16
    keep_ms: int = 10_000
    remembered: int = 10_000
    on_failure: Callable[[Exception], None] = lambda error: None
    timeout_s: float = 2.0
    _purses: dict[tuple[str, str], _Purse] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    async def spend(self, user_id: str, rate: Rate, now: int, *, units: int) -> None:
        """Count the units of one request.

        A limiter that fails or is slow refuses nobody: it guards what the request costs, not what it may do.

        Raises:
            RateLimited: too many.
        """
        units = min(units, rate.burst)
        key = (user_id, rate.bucket)
        missing, more = self._take(key, rate, now, units)
        if missing == 0:
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._buy(key, rate, now, missing, more, units)
        except RateLimited:
            self._put_back(key, now, units - missing)
            raise
        except Exception as error:  # noqa: BLE001 - whatever the store's trouble is
            self.on_failure(error)

    def _take(self, key: tuple[str, str], rate: Rate, now: int, units: int) -> tuple[int, int]:
        """Spend what is held. Returns how many units are missing, and how many more to buy with them.

        Raises:
            RateLimited: what is known says that none can be had.
        """
        with self._lock:
            if len(self._purses) >= self.remembered and key not in self._purses:
                self._purses.clear()
            purse = self._purses.setdefault(key, _Purse())
            fresh = now < purse.good_until
            held = min(purse.units, units) if fresh else 0
            missing = units - held
            if missing:
                self._check(rate, now, max(0, purse.arrival - now), missing, units, purse.good_until)
            purse.units = purse.units - held if fresh else 0
            if missing:
                purse.bought = min(self.most, purse.bought * 2) if fresh else 1
            return missing, max(0, min(purse.bought, rate.burst) - missing)

    @staticmethod
    def _check(rate: Rate, now: int, ahead_ms: int, missing: int, units: int, good_until: int) -> None:
        """Refuse what cannot be bought, with the time when it can."""
        refused = rate.refusal(ahead_ms, missing)
        if refused is not None and now + refused.retry_after_ms >= good_until:
            # What is held will be good no longer by then.
            refused = rate.refusal(ahead_ms, units)
        if refused is not None:
            raise refused

    async def _buy(self, key: tuple[str, str], rate: Rate, now: int, missing: int, more: int, units: int) -> None:
        user_id, _ = key
        try:
            allowance = await self.limiter.admit(user_id, rate, now, units=missing + more)
        except RateLimited as refused:
            good_until = self._learn(key, now + refused.full_after_ms)
            self._check(rate, now, refused.full_after_ms, missing, units, good_until)
            # All that is left, so that the next one need not be refused so dearly.
            more = max(0, refused.remaining - missing)
            allowance = await self.limiter.admit(user_id, rate, now, units=missing + more)
        self._learn(key, now + allowance.full_after_ms)
        self._put_back(key, now, more, good_until=now + self.keep_ms)

    def _learn(self, key: tuple[str, str], arrival: int) -> int:
        """Remember how far the limiter has counted. Returns until when what is held is good."""
        with self._lock:
            purse = self._purses.setdefault(key, _Purse())
            purse.arrival = max(purse.arrival, arrival)
            return purse.good_until

    def _put_back(self, key: tuple[str, str], now: int, units: int, *, good_until: int = 0) -> None:
        """Hold units that are counted and not spent."""
        with self._lock:
            purse = self._purses.setdefault(key, _Purse())
            purse.units = units + (purse.units if now < purse.good_until else 0)
            purse.good_until = max(purse.good_until, good_until)
