"""Everything that the OpenAPI document promises, asked of the local stack by schemathesis with all its checks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.process import running

ROOT = Path(__file__).resolve().parents[2]
# The paper market answers at once, so that orders end within a test's time.
AT_ONCE = {
    "QUOTE_DELAY_MS": "0",
    "LANDING_MIN_MS": "0",
    "LANDING_MAX_MS": "0",
    "FAILURE_RATE": "0",
    "ORDERS_PER_MINUTE": "60000",
    "ORDERS_BURST": "60000",
    "DEMO_KEYS": "alice:oek_alice,bob:oek_bob",
}
# For fuzzing and stateful tests together; examples and coverage end by themselves.
SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "30"))


@pytest.mark.slow
def test_the_api_keeps_what_its_description_promises() -> None:
    with running(environment=AT_ONCE, timeout_s=120) as local:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/api/schemathesis.toml")),
            *("run", f"{local.http_url}/openapi.json", "--url", local.http_url),
            *("--max-time", str(SECONDS), "--no-color"),
        ]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 180, check=False)

    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    cases = re.search(r"(\d+) generated", ran.stdout)
    assert cases is not None
    # Some 1,500 on a machine that has nothing else to do.
    assert int(cases[1]) >= 100
    sys.stdout.write(ran.stdout[ran.stdout.index("SUMMARY") :])
