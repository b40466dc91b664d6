"""A clock that stands."""

from __future__ import annotations

import pytest

from tests.support.clock import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    """Stands until the test moves it."""
    return StandingClock()
