"""API keys, when they were used, and rate limits."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import ApiKey
from order_engine.engine.rates import Allowance, Rate
from tests.fakes.wire import Direct, Replica, Wire

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


class FakeKeys:
    """``KeyStore`` in memory."""

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire or Direct()
        self.keys: dict[str, ApiKey] = {}

    async def find_key(self, key_hash: str) -> ApiKey | None:
        return await self._wire.call("keys.find_key", lambda: self.keys.get(key_hash))

    async def add_key(self, key: ApiKey) -> None:
        await self._wire.call("keys.add_key", lambda: self._add(key))

    def _add(self, key: ApiKey) -> None:
        if key.key_hash in self.keys:
            raise InvalidInput("This key exists already.", field="key")
        self.keys[key.key_hash] = key

    async def list_keys(self, user_id: str | None) -> Sequence[ApiKey]:
        def listed() -> list[ApiKey]:
            found = [key for key in self.keys.values() if user_id in (None, key.user_id)]
            return sorted(found, key=lambda key: (key.user_id, key.created_at))

        return await self._wire.call("keys.list_keys", listed)

    async def revoke_key(self, key_id: str, now: int, by: str) -> ApiKey | None:
        return await self._wire.call("keys.revoke_key", lambda: self._revoke(key_id, now, by))

    def _revoke(self, key_id: str, now: int, by: str) -> ApiKey | None:
        for key in self.keys.values():
            if key.key_id == key_id:
                if key.revoked_at is None:
                    self.keys[key.key_hash] = dataclasses.replace(key, revoked_at=now, revoked_by=by)
                return self.keys[key.key_hash]
        return None


class FakeKeyUse:
    """``KeyUse`` in memory. ``writes`` counts what would be paid for; reads may lag as those of ``FakeStatistics``."""

    def __init__(self, *, lags: bool = False) -> None:
        self.used: dict[str, int] = {}
        self.replica = Replica(self.used, lags=lags)
        self.writes = 0

    async def note(self, key_id: str, now: int) -> None:
        if now - self.used.get(key_id, 0) >= _HOUR_MS:
            self.used[key_id] = now
            self.writes += 1

    async def last_used(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        seen = self.replica.read()
        return {key_id: seen[key_id] for key_id in key_ids if key_id in seen}


class FakeRateLimiter:
    """``RateLimiter`` in memory. ``writes`` counts what would be paid for."""

    def __init__(self, wire: Wire | None = None) -> None:
        self._wire = wire or Direct()
        self._arrival: dict[tuple[str, str], float] = {}
        self.writes = 0
        # Units of each bucket that were counted and not given back.
        self.charged: Counter[tuple[str, str]] = Counter()

    async def admit(self, user_id: str, rate: Rate, now: int, *, units: int = 1) -> Allowance:
        return await self._wire.call("rates.admit", lambda: self._admit(user_id, rate, now, units))

    def _admit(self, user_id: str, rate: Rate, now: int, units: int) -> Allowance:
        """The virtual scheduling form of the generic cell rate algorithm (ATM Forum TM 4.0)."""
        self.writes += 1
        interval = _MINUTE_MS / rate.per_minute
        arrival = max(self._arrival.get((user_id, rate.bucket), 0), now)
        refused = rate.refusal(arrival - now, units)
        if refused is not None:
            raise refused
        arrival += interval * units
        self.charged[user_id, rate.bucket] += units
        self._arrival[user_id, rate.bucket] = arrival
        return Allowance(int((now + interval * rate.burst - arrival) // interval), math.ceil(arrival - now))

    async def give_back(self, user_id: str, rate: Rate, now: int) -> None:
        await self._wire.call("rates.give_back", lambda: self._give_back(user_id, rate, now))

    def _give_back(self, user_id: str, rate: Rate, now: int) -> None:
        self.charged[user_id, rate.bucket] -= 1
        if self._arrival.get((user_id, rate.bucket), 0) > now:
            self._arrival[user_id, rate.bucket] -= _MINUTE_MS / rate.per_minute


class NoTickets:
    """``RotatedKeys`` where nobody signs one."""

    async def accepted(self) -> Sequence[str]:
        return ()

    async def reread(self) -> Sequence[str]:
        return ()
