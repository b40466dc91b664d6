"""How often a user may open a socket, and what sockets may say: a little for nothing, and a flood not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from order_engine.engine.rates import MAX_PER_MINUTE, Meter, Rate

_MINUTE_MS = 60_000
# Thrice the orders of a minute: whoever follows each on a socket of its own is far from it.
_HANDSHAKES_PER_MINUTE = 300


def messages_rate(
    *, reads_per_minute: int, reads_burst: int, orders_per_socket: int, sockets_per_user: int, own_sockets: int | None
) -> Rate:
    """A user's limit of messages, over all sockets.

    After an update or an outage all sockets come back at once, and ask for each order that they followed: that much is
    admitted in one go.

    Args:
        own_sockets: how many sockets the credential admits, where that differs from the deployment's number. Its rate
            grows with them.
    """
    return _rate(
        "messages", reads_per_minute, sockets_per_user, own_sockets, lambda n, _: n * orders_per_socket + reads_burst
    )


def handshakes_rate(*, sockets_per_user: int, own_sockets: int | None) -> Rate:
    """A user's limit of sockets that are opened, also of those that are closed at once: 300 a minute, and each socket
    that one may have once more in one go, for when all come back.

    Args:
        own_sockets: as for messages.
    """
    return _rate("handshakes", _HANDSHAKES_PER_MINUTE, sockets_per_user, own_sockets, lambda n, minute: n + minute)


def _rate(
    name: str, per_minute: int, sockets_per_user: int, own_sockets: int | None, burst: Callable[[int, int], int]
) -> Rate:
    """A limit that grows with the sockets that one may have.

    Args:
        per_minute: of the deployment's number of sockets.
        burst: of how many sockets there may be, and of how much a minute admits for them.
    """
    default = max(1, sockets_per_user)
    sockets = own_sockets or default
    minute = max(1, per_minute * max(sockets, default) // default)
    at_once = max(1, burst(sockets, minute))
    return Rate(min(minute, MAX_PER_MINUTE), min(at_once, MAX_PER_MINUTE), name, own=own_sockets is not None)


@dataclass(slots=True)
class Messages:
    """Counts messages. What an ordinary client says, a subscription for each order and a ping now and then, is not
    worth a write: each process lets a user say so much without one.

    Attributes:
        meter: counts the rest; most processes need none.
        free: units at once that are not counted.
        free_per_minute: how fast they come back.
        remembered: users that a process keeps in mind.
    """

    meter: Callable[[], Meter]
    free: int = 60
    free_per_minute: int = 120
    remembered: int = 10_000
    # When the free units of a user are all there again, milliseconds since the epoch.
    _full_at: dict[str, int] = field(default_factory=dict, init=False)

    async def spend(self, user_id: str, rate: Rate, now: int, *, units: int) -> None:
        """Count the units of one message.

        Raises:
            RateLimited: too many.
        """
        if not self._is_free(user_id, now, units):
            await self.meter().spend(user_id, rate, now, units=units)

    def _is_free(self, user_id: str, now: int, units: int) -> bool:
        interval = _MINUTE_MS // self.free_per_minute
        full_at = max(now, self._full_at.get(user_id, 0)) + units * interval
        if full_at - now > self.free * interval:
            return False
        if len(self._full_at) >= self.remembered and user_id not in self._full_at:
            self._full_at.clear()
        self._full_at[user_id] = full_at
        return True
