"""What the local stack's servers write of requests that are no HTTP: that they came, and nothing of what they said.

A malformed header may be the one with the key; the server's library quotes it.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError


class Discreet(logging.Filter):
    """Takes what was sent out of a line about a request that cannot be read."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "a request that is no HTTP: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_FILTER = Discreet()


def keep_requests_out_of_logs() -> None:
    """For every server of this process, however often it is asked for."""
    logging.getLogger("aiohttp.server").addFilter(_FILTER)
