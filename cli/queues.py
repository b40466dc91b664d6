"""Where messages are set aside."""

from __future__ import annotations

from enum import StrEnum


class SetAside(StrEnum):
    """The queues of what could not be resolved, read or pushed, as a person names them."""

    DEAD_LETTERS = "dead-letters"
    QUARANTINE = "quarantine"
    STREAM_FAILURES = "stream-failures"

    @property
    def queue(self) -> str:
        """What the construct calls it, such as ``DeadLetters``."""
        return self.title().replace("-", "")
