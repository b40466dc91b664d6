"""The real CDK command line deploys the real bundles, and what it deploys executes orders."""

from __future__ import annotations

import pytest

from tests.deploy.proof import prove


@pytest.mark.slow
def test_a_stage_is_deployed_used_updated_and_removed() -> None:
    prove(print)  # pytest shows the steps with a failure
