"""Running the CDK's command line, as ``make`` has installed it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.config import Config
from infra.tree import ROOT, context_value

_COMMAND = ROOT / "tools" / "node_modules" / ".bin" / "cdk"


def cdk(*arguments: str) -> int:
    """Run a command from the repository's root; its exit code."""
    # The CDK runs on node, which the virtual environment brings.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [str(_COMMAND), *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode  # noqa: S603


def config_of(stage: str, options: Sequence[str]) -> Config:
    """The configuration that the app would read: cdk.json, overlaid by the options' context.

    Raises:
        ConfigError: it cannot be deployed.
        argparse.ArgumentTypeError: an option's context is no NAME=VALUE.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-c", "--context", action="append", default=[])
    given, _ = parser.parse_known_args(list(options))
    defaults: dict[str, object] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return Config.from_context({**defaults, **dict(map(context_value, given.context)), "stage": stage})
