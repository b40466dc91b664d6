"""A circuit breaker per venue: a venue that keeps failing is left alone for a while, then tried by one probe.

The state lives in the process and is shared by its concurrent workers, which all run in one event loop: no method
awaits between reading and writing the state, so no lock is needed. ``docs/decisions/0004-circuit-breaker.md`` says
why this is not the utility of aws-lambda-powertools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from order_engine.domain.errors import VenueError, VenueResting
from order_engine.domain.quote import Pool
from order_engine.engine.ports import Clock, Venue

# The message of the cancellation by which ``gather_pools`` ends a late call.
DEADLINE = "deadline"

type Circuit = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop asking, and for how long.

    Attributes:
        failures: so many failures in a row open the circuit.
        rest_ms: how long it stays open before a probe.
    """

    failures: int = 5
    rest_ms: int = 10_000


class GuardedVenue:
    """A venue behind a circuit breaker. Implements ``ports.Venue``.

    A failure is any exception of the venue but the answer that it rests, or an answer that was later than the quoting
    deadline. A call that is
    cancelled for another reason (the worker stops) says nothing about the venue and is not counted.
    """

    def __init__(self, venue: Venue, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self._venue = venue
        self._clock = clock
        self._policy = policy or BreakerPolicy()
        self._failures = 0
        self._open_until: int | None = None
        # A probe whose worker vanished without a word must not keep the venue out for ever.
        self._probing_until = 0
        # Raised whenever the circuit opens or closes: the result of a call begun before that is old news.
        self._era = 0

    @property
    def name(self) -> str:
        return self._venue.name

    @property
    def circuit(self) -> Circuit:
        """The state at this moment."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock.now_ms() < self._open_until else "half-open"

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        """The venue's pools.

        Raises:
            VenueError: the venue is being left alone; says for how long.
            Exception: whatever the venue raised.
        """
        era, probe = self._era, self._admit()
        try:
            found = await self._venue.pools(mint_in, mint_out)
        except asyncio.CancelledError as cancelled:
            if cancelled.args == (DEADLINE,):
                self._failed(era)
            raise
        except VenueResting:
            self._succeeded(era)
            raise
        except Exception:
            self._failed(era)
            raise
        else:
            self._succeeded(era)
            return found
        finally:
            if probe and era == self._era:
                self._probing_until = 0

    def _admit(self) -> bool:
        """Let a call through; True if it is the probe."""
        if self._open_until is None:
            return False
        now = self._clock.now_ms()
        wait = self._open_until - now
        if wait > 0:
            raise VenueError(f"Left alone for another {wait} ms after {self._policy.failures} failures in a row.")
        if now < self._probing_until:
            raise VenueError("Left alone until the probe that is under way has an answer.")
        self._probing_until = now + self._policy.rest_ms
        return True

    def _failed(self, era: int) -> None:
        if era != self._era:
            return
        self._failures += 1
        if self._open_until is not None or self._failures >= self._policy.failures:
            self._open_until = self._clock.now_ms() + self._policy.rest_ms
            self._turn()

    def _succeeded(self, era: int) -> None:
        if era != self._era:
            return
        self._failures = 0
        if self._open_until is not None:
            self._open_until = None
            self._turn()

    def _turn(self) -> None:
        self._era += 1
        self._failures = 0
        self._probing_until = 0
