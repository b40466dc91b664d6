"""Synthesise without the CDK's command line.

``python -m infra.synth --out DIR [--no-bundle] [-c name=value …]`` writes the cloud assembly.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.tree import ROOT, context_value

# Everything that the template depends on, as long as nothing is bundled into it.
_ENGINE = "layers/common/python/order_engine"
_SOURCES = ("infra/**/*.py", f"{_ENGINE}/settings.py", f"{_ENGINE}/domain/venues.py", "cdk.json")


def synth(outdir: Path, context: Mapping[str, object]) -> Path:
    """Synthesise with the context of cdk.json overlaid by ``context``.

    Returns:
        The template's path in the assembly.

    Raises:
        ConfigError: the context cannot be deployed.
    """
    # Slow to import: only here, so that a cached template costs nothing.
    from infra.app import build

    app, stack = build({**_defaults(), **context}, outdir)
    app.synth()
    return outdir / stack.template_file


def template(
    cache_dir: Path, announce: Callable[[], None] = lambda: None, context: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The template of the stage ``local``, whose functions run from the source tree.

    It is kept in ``cache_dir`` under a hash of what it is made from; making it takes some ten seconds.

    Args:
        announce: called before it is made, and not where it is there already.
        context: what the deployment chooses, besides the stage.

    Raises:
        subprocess.CalledProcessError: the synthesis failed; its output has gone to stderr.
    """
    chosen = sorted((context or {}).items())
    sources = f"template-{fingerprint()}"
    cached = cache_dir / f"{sources}{hashlib.sha256(repr(chosen).encode()).hexdigest()[:8] if chosen else ''}.json"
    if not cached.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with (cache_dir / "template.lock").open("w") as lock:
            # Whoever comes second waits for what the first one makes.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not cached.exists():
                announce()
                _make(cached, chosen)
        for stale in cache_dir.glob("template-*.json"):
            if not stale.name.startswith(sources):
                stale.unlink(missing_ok=True)
    parsed: dict[str, Any] = json.loads(cached.read_text())
    return parsed


def _make(cached: Path, context: Sequence[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory(dir=cached.parent) as directory:
        out = Path(directory)
        # In a process of its own: the CDK's node process and its memory go with it.
        command = [sys.executable, "-m", "infra.synth", "--out", str(out), "--no-bundle", "-c", "stage=local"]
        for name, value in context:
            command += ["-c", f"{name}={value}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CDK_")}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
        made = next(out.glob("*.template.json"))
        # At once: another process may be looking for the same template.
        made.replace(cached)


def _defaults() -> dict[str, object]:
    context: dict[str, object] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def fingerprint(root: Path = ROOT) -> str:
    """Of everything that the template of a tree is made from."""
    digest = hashlib.sha256(f"{version('aws-cdk-lib')} {sys.version_info[:2]}".encode())
    for pattern in _SOURCES:
        for path in sorted(root.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.synth", description="Synthesise the cloud assembly.")
    parser.add_argument("--out", type=Path, required=True, help="directory of the assembly")
    parser.add_argument("--no-bundle", action="store_true", help="leave third-party packages out of the layer")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(arguments)
    try:
        context: dict[str, object] = dict(map(context_value, given.context))
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if given.no_bundle:
        context["bundle"] = False
    from infra.config import ConfigError

    try:
        print(synth(given.out, context))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
