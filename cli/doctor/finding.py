"""What a look finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """``skipped``: it could not be looked at, and why is said."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One look: what it was about, what was seen, and what to do where something is to be done."""

    about: str
    state: State
    seen: str
    remedy: str = ""

    def document(self) -> dict[str, str]:
        return {"about": self.about, "state": self.state, "seen": self.seen, "remedy": self.remedy}


def well(findings: Sequence[Finding]) -> bool:
    return all(finding.state is not State.WRONG for finding in findings)
