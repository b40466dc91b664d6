"""What all tests share: descriptions of AWS's services are parsed once a process, not once a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader


@pytest.fixture(scope="session", autouse=True)
def _descriptions_are_read_once() -> Iterator[None]:
    """Every session has a loader of its own, which parses descriptions again: 20 ms a client.

    moto's loader is left alone: it writes into what it has read, by which botocore no longer knows its own errors.
    """
    as_it_was = Loader.load_data_with_path
    read: dict[tuple[str, ...], Any] = {}

    def load(self: Loader, name: str) -> Any:
        if type(self) is not Loader:
            return as_it_was(self, name)
        key = (name, *self.search_paths)
        if key not in read:
            read[key] = as_it_was(self, name)
        return read[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "load_data_with_path", load)
        yield
