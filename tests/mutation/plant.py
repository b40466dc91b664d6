"""Have mutmut write its mutants into the copy, without trying any: ``python -m tests.mutation.plant`` in the copy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

if __name__ == "__main__":
    # mutmut is no part of the development environment, and its commands plant only what they then try.
    mutmut: Any = import_module("mutmut.__main__")
    mutmut.set_mutant_under_test("mutant_generation")
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(1)
