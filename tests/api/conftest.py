"""The deployment in moto, and a clock that stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.clock import StandingClock
from tests.support.cloud import Resources, deployed, set_clock

type Deploy = Callable[..., Resources]


@pytest.fixture
def deploy() -> Iterator[Deploy]:
    """Deploys with settings, by environment name."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(deployed(**settings))


@pytest.fixture
def clock() -> Iterator[StandingClock]:
    """The deployed engine's clock; it stands until a test moves it."""
    standing = StandingClock()
    former = set_clock(standing)
    yield standing
    set_clock(former)
