"""The process in which isolated handlers run: a parent that has imported the heavy libraries and forks workers.

A worker is to a function what an execution environment is on Lambda: it imports the handler with the function's
own environment and takes one event at a time. It ends when the runner closes its connection. Forking makes a new
one available in milliseconds; the parent has no threads, so that it is safe. No worker outlives the runner.

Started by ``local.isolated``: ``python -m local.worker SOCKET``. Standard input brings one JSON line per worker to
start, ``{"id", "handler", "environment", "roots"}``; each worker connects to SOCKET and says ``{"id", "pid"}``, then
reads events and writes results, one JSON line each.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from local.functions import Context, InvocationError, handler_of, run_handler

# What the layer brings; importing it is most of a cold start.
_LIBRARIES = ("boto3", "botocore.session", "pydantic", "aws_lambda_powertools", "fastapi", "mangum")
_LOOK_S = 0.5


def main() -> None:
    for library in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    # The kernel reaps the workers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    address, parent = sys.argv[1], os.getpid()
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            code = 1
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _work(address, order, parent)
                code = 0
            except (ConnectionError, FileNotFoundError):
                code = 0  # the runner has gone
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which ends with the runner, however the runner ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _work(address: str, order: dict[str, Any], parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.environ.update(order["environment"])
    # Another release's sources, if any: before this project's own.
    sys.path[:0] = order["roots"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        with connection.makefile("rw", encoding="utf-8") as wire:
            _say(wire, {"id": order["id"], "pid": os.getpid()})
            handler, broken = None, None
            try:
                handler = handler_of(order["handler"])
            except Exception as error:  # noqa: BLE001 - an import may raise anything; every event is answered with it
                broken = {"errorType": "Runtime.ImportModuleError", "errorMessage": f"{error}", "stackTrace": []}
            for line in wire:
                request = json.loads(line)
                if handler is None:
                    _say(wire, {"error": broken})
                    continue
                try:
                    answer = {"result": run_handler(handler, request["event"], Context(**request["context"]))}
                except InvocationError as error:
                    answer = {"error": error.payload}
                sys.stdout.flush()
                _say(wire, answer)


def _say(wire: Any, message: object) -> None:
    wire.write(json.dumps(message) + "\n")
    wire.flush()


if __name__ == "__main__":
    main()
