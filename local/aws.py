"""The simulated services alone, so that tables and queues outlive the runner: ``python -m local.aws --port 4566``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys

from local.cloud.account import CREDENTIALS
from local.cloud.server import serve
from local.cloud.services import Services


async def _main(port: int) -> int:
    services = Services()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        runner, address = await serve(services, port)
    except OSError as error:
        sys.stderr.write(f"Cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}.\n")
        return 1
    sys.stdout.write(f"Ready: {address}\n")
    sys.stdout.flush()
    await stop.wait()
    services.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(runner.cleanup(), 0.5)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.aws", description="Simulated AWS services on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=4566, help="0 for a free one (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ.update(CREDENTIALS)
    code = asyncio.run(_main(arguments.port))
    # Threads of callers that still wait are daemons; nothing is worth waiting for.
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
