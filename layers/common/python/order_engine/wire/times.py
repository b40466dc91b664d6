"""Times on the wire are RFC 3339, UTC, with milliseconds; inside they are milliseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from order_engine.domain.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
# RFC 3339, section 5.6. Python reads more of ISO 8601 than that: weeks, ordinal days, dates without a time.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


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
        if not _RFC_3339.fullmatch(text):
            raise ValueError(text)
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise InvalidInput('Write the time as RFC 3339, such as "2026-11-21T01:02:03Z".', field=field) from error
    if moment.tzinfo is None:
        raise InvalidInput('The time needs a zone, such as "Z".', field=field)
    # In whole numbers: a float of today is exact to a quarter of a microsecond, one of the year 9999 is not.
    return (moment - _EPOCH) // _MS
