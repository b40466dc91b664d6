"""What all tests share: descriptions of AWS's services are parsed once a process, not once a client."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader


@pytest.fixture(scope="session", autouse=True)
def _descriptions_are_read_once() -> Iterator[None]:
    """moto begins each test with a session of its own, which parses descriptions again: 20 ms a client."""
    as_it_was = JSONFileLoader.load_file
    loader = JSONFileLoader()

    @cache
    def read(path: str) -> Any:
        return as_it_was(loader, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield
