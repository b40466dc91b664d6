"""Times on the wire are RFC 3339, UTC, with milliseconds; inside they are milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

from order_engine.domain.errors import InvalidInput


def to_text(ms: int) -> str:
    """Write a time, for example ``2026-11-21T01:02:03.004Z``."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def from_text(text: str, *, field: str | None = None) -> int:
    """Read an RFC 3339 time with a zone.

    Raises:
        InvalidInput: it is not one.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput('Write the time as RFC 3339, such as "2026-11-21T01:02:03Z".', field=field) from error
    if moment.tzinfo is None:
        raise InvalidInput('The time needs a zone, such as "Z".', field=field)
    return round(moment.timestamp() * 1000)
