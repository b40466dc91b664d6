"""MiniStack, an emulator of AWS, in a virtual environment and a process of its own. No Docker."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
from uv import find_uv_bin

from infra.tree import ROOT

BUILD = ROOT / "build"
# The region that the command line takes for whatever is not AWS itself.
ACCOUNT, REGION = "000000000000", "us-east-1"
_REQUIREMENTS = ROOT / "requirements" / "ministack.txt"
_INSTALL_S, _START_S, _STOP_S = 120, 30, 10
# An access key that is an account's number stands for that account.
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": REGION}


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator; ``url`` answers for every service."""

    url: str
    log: Path

    def environment(self) -> dict[str, str]:
        """What a command line needs to talk to the emulator, and can only talk to it: no profile of the caller's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
        return inherited | {
            **_CREDENTIALS,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
        }

    def session(self) -> boto3.Session:
        return boto3.Session(ACCOUNT, _CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)


def install() -> Path:
    """Make the virtual environment, unless these very requirements are installed already; its interpreter.

    Raises:
        subprocess.SubprocessError: it cannot be installed.
    """
    key = hashlib.sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = BUILD / f"ministack-{key}"
    python, ready = directory / "bin" / "python", directory / ".ready"
    if not ready.exists():
        for stale in BUILD.glob("ministack-*"):
            shutil.rmtree(stale, ignore_errors=True)
        uv = find_uv_bin()
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, str(directory)],
            [uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(_REQUIREMENTS)],
        ):
            subprocess.run(command, check=True, timeout=_INSTALL_S)
        ready.touch()
    return python


def has(*packages: str) -> bool:
    """Whether any of these can be imported in the emulator's environment."""
    look = "import sys, importlib.util; sys.exit(not any(map(importlib.util.find_spec, sys.argv[1:])))"
    return subprocess.run([str(install()), "-c", look, *packages], timeout=_START_S, check=False).returncode == 0


@contextlib.contextmanager
def running() -> Iterator[Emulator]:
    """Run the emulator on a free port of this machine, until the block ends.

    Raises:
        RuntimeError: it does not start.
    """
    python = install()
    port = _free_port()
    log = BUILD / "ministack.log"
    with tempfile.TemporaryDirectory(prefix="emulator-", dir=BUILD, ignore_cleanup_errors=True) as scratch:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": scratch,
            "TMPDIR": scratch,
            "STATE_DIR": scratch,
            # It listens everywhere otherwise.
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "SFTP_ENABLED": "0",
            "MINISTACK_REGION": REGION,
        }
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [str(python), "-m", "ministack"],
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The functions' processes are its children: they are stopped with it, as one group.
                start_new_session=True,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                _wait_until_ready(process, url, log)
                yield Emulator(url, log)
            finally:
                _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), opener.open(f"{url}/_ministack/health", timeout=2):
            return
        time.sleep(0.1)
    raise RuntimeError(f"MiniStack does not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    # The group has the leader's number, and keeps it as long as any member lives.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_STOP_S)
