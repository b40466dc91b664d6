"""The runner as a process of its own, for tests that need several, or need to kill one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from local.cloud.account import CREDENTIALS, REGION

_ROOT = Path(__file__).resolve().parent.parent


class NotStarted(Exception):
    """The runner ended, or was not ready in time. Says what it wrote."""


@dataclass(slots=True)
class Running:
    """A runner that is ready.

    Attributes:
        process: its process; ``process.pid`` is the runner's own.
        lines: what it has written so far.
    """

    process: subprocess.Popen[str]
    http_url: str = ""
    ws_url: str = ""
    aws_url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """A boto3 client of the services that the runner uses."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def workers(self) -> list[dict[str, Any]]:
        """Worker processes of a runner with ``--isolate``: ``function``, ``pid``, ``requestId`` (None when idle).

        Not with ``--aws-endpoint``: those services know nothing of workers.
        """
        with urllib.request.urlopen(f"{self.aws_url}/workers", timeout=5) as answer:  # noqa: S310 - 127.0.0.1
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def lines_with(self, text: str, seconds: float) -> list[str]:
        """The lines that contain a text, once there are any; none if that takes too long."""
        deadline = time.monotonic() + seconds
        while not (found := [line for line in self.lines if text in line]) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def stop(self, timeout_s: float = 5.0) -> int:
        """Ask it to end and return its exit code; kill it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    module: str = "local",
    timeout_s: float = 180.0,
) -> Iterator[Running]:
    """Start ``python -m local`` (or ``module="local.aws"``) on free ports, wait until it is ready, stop it at the end.

    Args:
        arguments: further command-line arguments.
        environment: variables besides this process's own.
        timeout_s: the template may have to be synthesised first.

    Raises:
        NotStarted: it ended, or was not ready in time.
    """
    ports = {"PORT": "0", "WS_PORT": "0", "AWS_PORT": "0"}
    command: Sequence[str] = [sys.executable, "-m", module, *arguments]
    if module == "local.aws" and "--port" not in arguments:
        command = [*command, "--port", "0"]
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=_ROOT,
        env={**os.environ, **ports, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    started = Running(process)
    ready = threading.Event()
    # Read to the end, so that the runner never waits for a full pipe.
    reader = threading.Thread(target=_follow, args=(started, ready), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + timeout_s
        while not ready.wait(0.05):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{' '.join(command[1:])} was not ready:\n{''.join(started.lines)}")
        yield started
    finally:
        started.stop()
        # A worker that outlives a killed runner may hold the pipe a little longer.
        reader.join(2)
        if not reader.is_alive() and process.stdout is not None:
            process.stdout.close()


def _follow(started: Running, ready: threading.Event) -> None:
    out = started.process.stdout
    for line in out or ():
        started.lines.append(line)
        if line.startswith("Ready: "):
            for word in line.replace(",", " ").split():
                if word.startswith("ws://"):
                    started.ws_url = word
                elif word.startswith("http://"):
                    # The last address is the services'.
                    started.http_url = started.http_url or word
                    started.aws_url = word
            ready.set()
