"""What the functions run from."""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_s3_assets as assets

from infra import bundle, trust
from infra.tree import ROOT

# Installs wheels: minutes on a machine that has none of them, seconds afterwards.
pytestmark = pytest.mark.slow

# Run where only the bundle can be imported from, as on Lambda.
ISOLATED = """
import importlib, os, sys
module = importlib.import_module(sys.argv[1])
assert callable(module.lambda_handler)
from order_engine.aws.clients import Clients
clients = Clients()
assert all((clients.dynamodb, clients.sqs, clients.secrets))
clients.connections("http://127.0.0.1:1")
files = [getattr(m, "__file__", None) or "" for m in list(sys.modules.values())]
assert not any("site-packages" in file for file in files), files
compiled = [getattr(m, "__cached__", None) or "" for m in list(sys.modules.values())]
missing = [file for file in compiled if file.startswith(tuple(sys.argv[2:])) and not os.path.exists(file)]
assert not missing, missing
print(module.__file__)
"""


@pytest.fixture(scope="module")
def layer() -> bundle.Built:
    """The layer for this machine, so that it can run here."""
    return bundle.layer("arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64")


@pytest.mark.parametrize(
    "handler",
    [
        "submit.authorizer",
        "submit.handler",
        "process.handler",
        "process.dead_letters",
        "process.sweep",
        "notify.handler",
        "notify.socket",
    ],
)
def test_a_handler_runs_from_its_bundle_alone(layer: bundle.Built, handler: str) -> None:
    package = bundle.function(handler.partition(".")[0])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{package.directory}{os.pathsep}{layer.directory / 'python'}",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "ORDERS_TABLE": "orders",
    }
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", ISOLATED, handler, str(package.directory), str(layer.directory)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(package.directory))


def test_the_layer_is_small_enough_zipped(tmp_path: Path) -> None:
    directory = bundle.layer("arm64").directory
    archive = tmp_path / "layer.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in directory.rglob("*"):
            file.write(path, path.relative_to(directory))
    assert archive.stat().st_size < 20_000_000


def test_the_layer_holds_lambdas_processor_and_the_services_in_use_only() -> None:
    python = bundle.layer("arm64").directory / "python"
    (compiled,) = (python / "pydantic_core").glob("*.so")
    assert "cpython-313-aarch64" in compiled.name
    services = {path.name for path in (python / "botocore" / "data").iterdir() if path.is_dir()}
    assert services == {"apigatewaymanagementapi", "dynamodb", "secretsmanager", "sqs", "sts"}
    assert not list(python.glob("*.dist-info"))


def test_what_is_bundled_is_shared_with_nobody(layer: bundle.Built) -> None:
    """An installer's links would let the bundle's changes reach its cache, and every environment made from it."""
    for directory in (layer.directory, bundle.function("notify").directory):
        shared = [path for path in directory.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
        assert shared == []


def test_the_layers_clients_trust_awss_own_authority_alone(layer: bundle.Built) -> None:
    """botocore would prefer certifi's roots to its own, if anything brought that package."""
    look = (
        "import ssl, botocore.httpsession as h; found = ssl.create_default_context(cafile=h.where()); "
        "print(h.where()); print(len(found.get_ca_certs()))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-B", "-c", look],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(layer.directory / "python")},
        check=True,
    )
    where, roots = done.stdout.split()
    assert Path(where) == layer.directory / "python" / "botocore" / "cacert.pem"
    assert int(roots) == len(trust.ROOTS) == 5


def test_modules_are_compiled_without_a_check_of_their_sources(layer: bundle.Built) -> None:
    compiled = next((layer.directory / "python" / "order_engine").glob("__pycache__/settings.cpython-313.pyc"))
    # PEP 552: bit 0 says that a hash is used, bit 1 that the source is checked against it.
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01


def test_paths_of_this_machine_are_not_deployed(layer: bundle.Built) -> None:
    needle = str(ROOT).encode()
    for directory in (layer.directory / "python" / "order_engine", bundle.function("process").directory):
        assert [path for path in directory.rglob("*.pyc") if needle in path.read_bytes()] == []


def test_the_pages_files_are_compressed_beside_themselves() -> None:
    web = bundle.function("submit").directory / "web"
    packed = list(web.rglob("*.gz"))
    assert {path.suffixes[-2] for path in packed} == {".js", ".css", ".svg"}
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()
    # The same bytes on every machine, or the same sources would be another asset.
    assert all(path.read_bytes()[4:8] == b"\0\0\0\0" for path in packed)


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()}


def test_lambda_may_read_the_layer(layer: bundle.Built) -> None:
    assert modes(layer.directory) == {0o644}


def test_lambda_may_read_what_was_built_where_nobody_else_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes are deployed as they are: with 600 a function cannot be imported.

    https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-deployment.html
    """
    checkout = tmp_path / "functions"
    shutil.copytree(ROOT / "functions" / "process", checkout / "process")
    for path in checkout.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    monkeypatch.setattr(bundle, "BUILD", tmp_path / "build")
    monkeypatch.setattr(bundle, "_FUNCTIONS", checkout)
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    monkeypatch.setattr(bundle, "__file__", str(tmp_path / "bundle.py"))
    (tmp_path / "bundle.py").touch()
    before = os.umask(0o077)
    try:
        built = bundle.function("process")
        # The CDK copies an asset before it zips it.
        app = App(outdir=str(tmp_path / "assembly"), analytics_reporting=False)
        assets.Asset(Stack(app, "Stack"), "Asset", path=str(built.directory))
        app.synth()
    finally:
        os.umask(before)
    staged = next((tmp_path / "assembly").glob("asset.*"))
    for directory in (built.directory, staged):
        assert modes(directory) == {0o644}
        assert list(directory.rglob("handler.py"))


def test_the_same_sources_are_the_same_asset(layer: bundle.Built) -> None:
    again = bundle.layer("arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64")
    assert again == layer
    assert again.directory.stat().st_mtime_ns == layer.directory.stat().st_mtime_ns
