"""What all tests share: descriptions of AWS's services are parsed once a process, not once a client."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader


@pytest.fixture(scope="session", autouse=True)
def _descriptions_are_read_once() -> Iterator[None]:
    """Every session has a loader of its own, which parses descriptions again: 20 ms a client.

    moto's loader is left alone: it writes into what it has read, by which botocore no longer knows its own errors.
    """
    as_it_was, loader = Loader.load_data_with_path, Loader()

    @cache
    def read(name: str) -> Any:
        return as_it_was(loader, name)

    def load(self: Loader, name: str) -> Any:
        return read(name) if type(self) is Loader else as_it_was(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "load_data_with_path", load)
        yield
