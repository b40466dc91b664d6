"""The Postman collection against the local stack: ``python -m tests.api.postman``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from local.demo import store
from local.process import Running, running
from order_engine.engine.accounts import new_key

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
NEWMAN = TOOLS / "node_modules" / "newman" / "bin" / "newman.js"
NODE = Path(sys.executable).parent / "node"
_TIMEOUT_S = 240


def collect(arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Start the local stack on free ports, run the collection with newman, and stop the stack.

    Args:
        arguments: further ones for newman.

    Returns:
        newman's end, with what it wrote.
    """
    _install()
    settings = {"QUOTE_DELAY_MS": "20", "LANDING_MIN_MS": "50", "LANDING_MAX_MS": "100", "FAILURE_RATE": "0"}
    demo = {"DEMO_KEYS": "alice:oek_alice,bob:oek_bob"}
    with running(environment={**settings, **demo}, timeout_s=120) as local:
        reader, limited = _keys(local)
        command = [
            *(str(NODE), str(NEWMAN), "run", str(ROOT / "postman" / "order-engine.postman_collection.json")),
            *("--environment", str(ROOT / "postman" / "local.postman_environment.json")),
            *("--env-var", f"baseUrl={local.http_url}"),
            *("--env-var", f"readOnlyKey={reader}", "--env-var", f"limitedKey={limited}"),
            *("--timeout", str(_TIMEOUT_S * 1000), "--color", "off", *arguments),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S + 20, check=False)


def _install() -> None:
    if not NEWMAN.exists():
        environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run([str(NODE.parent / "npm"), "ci"], cwd=TOOLS, env=environment, check=True, timeout=300)


def _keys(local: Running) -> tuple[str, str]:
    """Keys for what the demonstration keys cannot show: one that may not trade, one of one order a minute."""
    now = int(time.time() * 1000)
    reader, stored_reader = new_key("reader", now, scopes=["read"])
    limited, stored_limited = new_key("limited", now, orders_per_minute=1)
    asyncio.run(store(local.client("dynamodb"), stored_reader, stored_limited))
    return reader, limited


if __name__ == "__main__":
    ended = collect(sys.argv[1:])
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    sys.exit(ended.returncode)
