"""Builds what is deployed: one layer, and one directory for each function package. No Docker.

Everything lands under build/, in directories named by a hash of what it was made from: nothing is built twice.
"""

from __future__ import annotations

import compileall
import gzip
import hashlib
import py_compile
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from uv import find_uv_bin

from infra import trust

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PACKAGES = ("submit", "process", "notify")

type Architecture = Literal["arm64", "x86_64"]

_WHEELS: dict[Architecture, str] = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}
_PYTHON = (3, 13)
_REQUIREMENTS = ROOT / "requirements" / "layer.txt"
_ENGINE = ROOT / "layers" / "common" / "python"
_FUNCTIONS = ROOT / "functions"
# The page is served by the function behind the HTTP API.
_WEB = ROOT / "web"

# botocore describes every AWS service; these are the ones that are called.
_SERVICES = {"apigatewaymanagementapi", "dynamodb", "secretsmanager", "sqs", "sts"}
# Nothing imports these on Lambda: what installs and describes packages, type stubs, what compiles boto3's resources.
_UNUSED = (
    "*.dist-info",
    "bin",
    "boto3/data",
    "boto3/examples",
    "**/*.pyi",
    "**/py.typed",
    "**/tests",
    "**/__pycache__",
)


@dataclass(frozen=True, slots=True)
class Built:
    """A directory to deploy, and the hash of what it was made from."""

    directory: Path
    hash: str


class BundleError(RuntimeError):
    """Something could not be built."""


def layer(architecture: Architecture) -> Built:
    """The layer: third-party wheels for the architecture, trimmed and compiled, and the engine.

    Raises:
        BundleError: this interpreter is not Lambda's, or a wheel is missing or has another hash.
    """
    inputs = [_REQUIREMENTS, Path(trust.__file__), *_sources(_ENGINE)]

    def make(target: Path) -> None:
        python = target / "python"
        _install(architecture, python)
        _trim(python)
        trust.cut(python / "botocore" / "cacert.pem")
        _copy(_ENGINE, python)

    return _build(f"layer-{architecture}", inputs, make, "/opt")


def function(package: str) -> Built:
    """One function package, under its own name so that handlers are called as everywhere else."""
    inputs = list(_sources(_FUNCTIONS / package))
    web = package == "submit" and _WEB.is_dir()
    if web:
        inputs += _sources(_WEB)

    def make(target: Path) -> None:
        _copy(_FUNCTIONS / package, target / package)
        if web:
            _copy(_WEB, target / "web")
            _pack(target / "web")

    return _build(f"function-{package}", inputs, make, "/var/task")


def build(architecture: Architecture) -> tuple[Built, dict[str, Built]]:
    """The layer and every function package."""
    return layer(architecture), {package: function(package) for package in PACKAGES}


def sources() -> tuple[Built, dict[str, Built]]:
    """The source tree instead of a layer and packages: for a synthesis whose template runs on this machine."""
    packages = {package: Built(_FUNCTIONS / package, f"sources-{package}") for package in PACKAGES}
    return Built(_ENGINE, "sources-layer"), packages


def _build(name: str, inputs: Iterable[Path], make: Callable[[Path], None], prefix: str) -> Built:
    digest = hashlib.sha256(f"{name} {version('uv')} {_PYTHON}".encode())
    for path in sorted({Path(__file__), *inputs}):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    key = digest.hexdigest()
    directory = BUILD / f"{name}-{key[:16]}"
    if not directory.exists():
        if sys.version_info[:2] != _PYTHON:
            raise BundleError(
                f"Python {_PYTHON[0]}.{_PYTHON[1]} must build what it will run on Lambda, not {sys.version}."
            )
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
            target = Path(temporary) / name
            target.mkdir()
            make(target)
            _compile(target, prefix)
            make_readable(target)
            for stale in BUILD.glob(f"{name}-*"):
                if stale != directory:
                    shutil.rmtree(stale, ignore_errors=True)
            try:
                target.rename(directory)
            except OSError:
                # Another process made the same meanwhile.
                if not directory.exists():
                    raise
    return Built(directory, key)


def _pack(web: Path) -> None:
    """Compress the page's files beside themselves, so that no cold start does. The pages are written when served."""
    for path in web.rglob("*"):
        if path.suffix in (".js", ".css", ".svg"):
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            path.with_name(path.name + ".gz").write_bytes(packed)


def make_readable(target: Path) -> None:
    """Let everybody read what Lambda's user must import, whatever umask it was checked out and built under.

    The CDK zips files with the modes that they have, and Lambda unpacks them so:
    https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html
    """
    target.chmod(0o755)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _sources(directory: Path) -> Iterator[Path]:
    """The files below a directory that are deployed."""
    for path in directory.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def _install(architecture: Architecture, target: Path) -> None:
    command = [
        find_uv_bin(), "pip", "install", "--quiet", "--target", str(target), "--requirements", str(_REQUIREMENTS),
        "--python", sys.executable, "--python-platform", _WHEELS[architecture], "--python-version", "3.13",
        "--only-binary", ":all:", "--require-hashes", "--no-deps", "--no-compile-bytecode",
        # Files of its own: what is cut and made readable here must not change in the installer's cache.
        "--link-mode", "copy",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise BundleError(f"The layer's packages could not be installed:\n{done.stderr.strip()}")


def _trim(python: Path) -> None:
    for service in (python / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in _SERVICES:
            shutil.rmtree(service)
    for pattern in _UNUSED:
        for path in list(python.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _compile(target: Path, prefix: str) -> None:
    """Compile every module beside its source.

    Unchecked: a zip's times are not the sources', and checking them would compile all modules at every cold start.
    """
    compiled = compileall.compile_dir(
        target,
        quiet=1,
        workers=1,
        stripdir=str(target),
        prependdir=prefix,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise BundleError(f"Modules in {target} could not be compiled; see above.")
