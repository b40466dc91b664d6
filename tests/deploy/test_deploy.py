"""The real CDK command line deploys the real bundles, and what it deploys executes orders."""

from __future__ import annotations

import pytest

from tests.deploy.proof import prove


@pytest.mark.slow
def test_a_stage_is_deployed_used_updated_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []
    prove(steps.append)
    with capsys.disabled():
        print("\n" + "\n".join(steps))
