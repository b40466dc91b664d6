"""What a cold start costs: ``python -m bench.cold_start [--json]``.

Each handler is imported from its bundled asset in a clean process, and the clients and use cases that its first
invocation needs are made. Beside them a naive handler: all of FastAPI, Mangum, boto3 with a session, a resource and a
client, pydantic and Powertools, compiled as well, from an installation that is not trimmed. Processor time, the least
of several runs: what Lambda adds (fetching the zip, starting the interpreter) is the same for all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey

from bench import machine
from infra import bundle
from order_engine.domain.tokens import SOL, USDC

_RUNS = 7
# What the first invocation of each handler makes, of its engine.
HANDLERS: Mapping[str, tuple[str, ...]] = {
    "submit.handler": ("place", "stores.rate_limiter", "stores.ticket_secrets"),
    "submit.authorizer": ("stores.keys", "stores.key_use", "stores.ticket_secrets"),
    "process.handler": ("execute", "stores.queue", "stores.quarantine"),
    "process.dead_letters": ("resolve_dead_letter", "stores.dead_letters", "stores.quarantine"),
    "process.sweep": ("sweep",),
    "notify.handler": ("push_events",),
    "notify.socket": ("subscribe", "stores.push"),
}
# Those that swap or quote: what they make on the live market is held against what they make on paper.
LIVE_HANDLERS = ("process.handler", "submit.handler")
# At most this share of the same handler on paper.
LIVE_TARGET = 1.15
# At most this share of the naive handler.
TARGETS = {"submit.handler": 0.9, "process.handler": 0.6, "notify.handler": 0.6}
LAYER_LIMIT = 20_000_000
_NAIVE = """
import boto3, pydantic
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor
from fastapi import FastAPI
from mangum import Mangum
class Body(pydantic.BaseModel):
    amount: str
app = FastAPI()
@app.post("/orders")
def place(body: Body) -> Body: return body
handler, logger, metrics = Mangum(app), Logger(service="n"), Metrics(namespace="n", service="n")
session = boto3.session.Session()
table = session.resource("dynamodb").Table("orders")
queue = session.client("sqs")
"""
_OURS = """
import importlib, operator
engine = importlib.import_module({handler!r}).lambda_handler.engine
for name in {makes!r}:
    operator.attrgetter(name)(engine)
"""
# The first calls, made as real ones and answered in the process: what they find ready and what not.
_FIRST = """
import importlib, operator, time
from order_engine.aws import rehearsal
engine = importlib.import_module({handler!r}).lambda_handler.engine
begun = time.process_time()
for name in {makes!r}:
    operator.attrgetter(name)(engine)
rehearsal.rehearse(engine.stores.clients._made, engine.stores.clients._endpoints)
first_ms = 1000 * (time.process_time() - begun)
"""
# Everything that any of the handlers imports, at once and at the top: what lazy imports spare.
_EAGER = (
    """
import importlib
for name in {handlers!r}:
    importlib.import_module(name)
import order_engine.wire.requests
"""
    + _OURS
)
_HARNESS = """
import sys, time, resource
sys.path[:0] = {paths!r}
names = {{}}
started = time.process_time()
exec(compile({code!r}, "<cold>", "exec"), names)
cpu_ms = 1000 * (time.process_time() - started)
print(names.get("first_ms", 0), cpu_ms, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "CONNECTIONS_ENDPOINT": "https://socket.example/live",
    "PATH": os.environ.get("PATH", ""),
}


@dataclass(frozen=True, slots=True)
class Start:
    """The least processor time in milliseconds, and the most memory in MB, of several runs.

    Attributes:
        first_ms: the part of it that the code itself measured as the first invocation's.
    """

    cpu_ms: float
    memory_mb: float
    first_ms: float = 0.0


def start(
    code: str,
    paths: Sequence[str],
    *,
    compiled: bool = True,
    runs: int = _RUNS,
    on_lambda: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Start:
    """Run code in clean processes that see these paths and the standard library only."""
    environment = {**_ENVIRONMENT, **({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"} if on_lambda else {})}
    environment |= settings or {}
    command = [sys.executable, "-I", "-S", "-B"]
    with tempfile.TemporaryDirectory() as empty:
        if not compiled:
            # Compiled modules are looked for where there are none.
            command += ["-X", f"pycache_prefix={empty}"]
        command += ["-c", _HARNESS.format(paths=list(paths), code=code)]
        found = []
        for _ in range(runs):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
            first, cpu, memory = map(float, done.stdout.split()[-3:])
            found.append(Start(cpu, memory, first))
    return Start(
        min(one.cpu_ms for one in found), max(one.memory_mb for one in found), min(one.first_ms for one in found)
    )


def live_settings(folder: Path) -> dict[str, str]:
    """Settings of the live market whose node nobody asks: two well-known tokens, and a key made for this."""
    key, pools = folder / "key.json", folder / "pools.json"
    secret = SigningKey(secrets.token_bytes(32))
    key.write_text(json.dumps(list(bytes(secret) + bytes(secret.verify_key))))
    tokens = [{"mint": SOL.mint, "symbol": "SOL"}, {"mint": USDC.mint, "symbol": "USDC"}]
    pools.write_text(json.dumps({"pools": [SOL.mint], "tokens": tokens}))
    node = "http://127.0.0.1:9"
    return {"MARKET": "solana", "RPC_URL": node, "SIGNER": f"file:{key}", "POOLS": str(pools)}


def zipped(directory: Path) -> int:
    """Bytes of a directory as a deployed zip."""
    with tempfile.TemporaryFile() as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(directory.rglob("*")):
                archive.write(path, path.relative_to(directory))
        return target.tell()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=_RUNS, help=f"of each handler (default {_RUNS})")
    parser.add_argument("--json", action="store_true", help="record the result in bench/results/cold_start.json")
    given = parser.parse_args(arguments)
    layer, packages = bundle.build("arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64")
    library = str(layer.directory / "python")

    def paths(handler: str) -> list[str]:
        return [str(packages[handler.partition(".")[0]].directory), library]

    site = sysconfig.get_paths()["purelib"]
    naive = start(_NAIVE, [site], runs=given.runs)
    starts = {
        handler: start(_OURS.format(handler=handler, makes=makes), paths(handler), runs=given.runs)
        for handler, makes in HANDLERS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        settings = live_settings(Path(folder))
        lives = {
            handler: start(
                _OURS.format(handler=handler, makes=HANDLERS[handler]),
                paths(handler),
                runs=given.runs,
                settings=settings,
            )
            for handler in LIVE_HANDLERS
        }
    every = [str(built.directory) for built in packages.values()]
    ours = {"handler": "process.handler", "makes": HANDLERS["process.handler"]}
    code = _OURS.format(**ours)
    steps = {
        "as deployed": starts["process.handler"],
        "without lazy imports": start(
            _EAGER.format(handlers=list(HANDLERS), **ours), [*every, library], runs=given.runs
        ),
        "without compiled modules": start(code, paths("process.handler"), compiled=False, runs=given.runs),
        "naive": naive,
        "naive, not compiled": start(_NAIVE, [site], compiled=False, runs=given.runs),
    }
    firsts = {
        handler: [
            start(_FIRST.format(handler=handler, makes=makes), paths(handler), runs=given.runs, on_lambda=on_lambda)
            for on_lambda in (False, True)
        ]
        for handler, makes in HANDLERS.items()
    }
    size = zipped(layer.directory)

    print(f"{'naive handler':22} {naive.cpu_ms:7.0f} ms {naive.memory_mb:6.0f} MB")
    for handler, found in starts.items():
        target = f"target {TARGETS[handler]}" if handler in TARGETS else ""
        ratio = found.cpu_ms / naive.cpu_ms
        print(f"{handler:22} {found.cpu_ms:7.0f} ms {found.memory_mb:6.0f} MB   {ratio:.2f} of naive  {target}")
    print("\nwith MARKET=solana")
    for handler, found in lives.items():
        ratio = found.cpu_ms / starts[handler].cpu_ms
        print(f"  {handler:22} {found.cpu_ms:7.0f} ms {found.memory_mb:6.0f} MB   {ratio:.2f} of paper")
    print("\nprocess.handler, step by step")
    for name, found in steps.items():
        print(f"  {name:26} {found.cpu_ms:7.0f} ms")
    print("\nthe first invocation's clients and calls, made when it comes; made while Lambda starts the function")
    for handler, (lazy, early) in firsts.items():
        print(f"  {handler:22} {lazy.first_ms:7.1f} ms {early.first_ms:7.1f} ms   all in all {early.cpu_ms:4.0f} ms")
    print(f"\nlayer, zipped: {size / 1e6:.1f} MB (limit {LAYER_LIMIT / 1e6:.0f})")
    if given.json:
        result = {
            "naive": _plain(naive),
            "handlers": {name: _plain(found) for name, found in starts.items()},
            "ratios": {name: round(found.cpu_ms / naive.cpu_ms, 3) for name, found in starts.items()},
            "live": {
                name: {**_plain(found), "of_paper": round(found.cpu_ms / starts[name].cpu_ms, 3)}
                for name, found in lives.items()
            },
            "first_calls_ms": {
                name: {"when it comes": round(lazy.first_ms, 1), "while starting": round(early.first_ms, 1)}
                for name, (lazy, early) in firsts.items()
            },
            "steps": {name: _plain(found) for name, found in steps.items()},
            "layer_zip_bytes": size,
        }
        print(f"recorded {json.dumps(machine.record('cold_start', result).name)}")
    late = [name for name, share in TARGETS.items() if starts[name].cpu_ms > share * naive.cpu_ms]
    late += [f"{name} live" for name, found in lives.items() if found.cpu_ms > LIVE_TARGET * starts[name].cpu_ms]
    if late or size > LAYER_LIMIT:
        print(f"over target: {', '.join([*late, *(['layer'] if size > LAYER_LIMIT else [])])}", file=sys.stderr)
        return 1
    return 0


def _plain(found: Start) -> dict[str, float]:
    return {"cpu_ms": round(found.cpu_ms, 1), "memory_mb": round(found.memory_mb, 1)}


if __name__ == "__main__":
    sys.exit(main())
