"""What a function has ready before its first invocation, in processes of their own that believe to be on Lambda."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import batched
from pathlib import Path
from typing import Any, cast

import pytest

HANDLERS = {
    "submit.handler": ("stores.orders", "stores.queue", "stores.rate_limiter", "stores.ticket_secrets", "place"),
    "submit.authorizer": ("stores.keys", "stores.key_use", "stores.ticket_secrets"),
    "process.handler": ("execute", "stores.orders", "stores.queue", "stores.quarantine"),
    "process.dead_letters": ("resolve_dead_letter", "stores.dead_letters", "stores.quarantine"),
    "process.sweep": ("rounds", "audit", "close_ended", "stores.queue"),
    "notify.handler": ("push_events", "stores.stream_failures", "stores.statistics"),
    "notify.socket": ("connect", "subscribe", "stores.orders"),
}
# Starts a function as Lambda does, then lets it make first calls; tells what happened at each of the two.
PROGRAM = """
import asyncio, importlib, json, operator, os, random, sys, types

seen = []
sys.addaudithook(lambda name, about: seen.append((name, *map(str, about))))

restored = []
hooks = types.ModuleType("snapshot_restore_py")
hooks.register_after_restore = restored.append
sys.modules["snapshot_restore_py"] = hooks

handler, parts = sys.argv[1], sys.argv[2].split(",")
engine = importlib.import_module(handler).lambda_handler.engine
clients = engine.stores.clients
report = {
    "connects": [about for name, *about in seen if name in ("socket.connect", "socket.getaddrinfo")],
    "made": sorted(client.meta.service_model.service_name for client in clients._made),
    "endpoints": len(clients._endpoints),
    "held": [client._request_signer._credentials._found is not None for client in clients._made],
    "connections": [len(client._endpoint.http_session._manager.pools._container) for client in clients._made],
}
# Two copies of one snapshot.
drawn = []
for _ in range(2):
    random.seed(1)
    for hook in restored:
        hook()
    drawn.append(random.random())
report["alike"] = drawn[0] == drawn[1]
seen.clear()
modules = set(sys.modules)
os.environ.update(AWS_ACCESS_KEY_ID="after", AWS_SECRET_ACCESS_KEY="restore", AWS_SESSION_TOKEN="token")
for part in parts:
    operator.attrgetter(part)(engine)
work = []


def count(files, call):
    # Calls of functions in these files, the first time and the second.
    for _ in range(2):
        found = []
        sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code.co_filename.endswith(files)
                       and found.append(1))
        call()
        sys.setprofile(None)
        work.append(len(found))


MODELS = "botocore/model.py"
key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
values = {":a": {"N": "1"}}
for client in clients._made:
    service = client.meta.service_model.service_name
    if service == "dynamodb":
        count(MODELS, lambda: client.get_item(TableName="t", Key=key))
        count(MODELS, lambda: client.update_item(
            TableName="t", Key=key, UpdateExpression="SET a = :a", ExpressionAttributeValues=values))
    elif service == "sqs":
        count(MODELS, lambda: client.send_message(QueueUrl=os.environ["ORDERS_QUEUE_URL"], MessageBody="{}"))
    else:
        count(MODELS, lambda: client.get_secret_value(SecretId="s"))
if handler == "submit.handler":
    context = types.SimpleNamespace(function_name="submit", aws_request_id="1")
    http = {"method": "POST", "path": "/api/orders/execute", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    order = {
        "version": "2.0", "rawPath": http["path"], "rawQueryString": "", "isBase64Encoded": False,
        "headers": {"host": "localhost", "content-type": "application/json"},
        "body": '{"type": "market", "tokenIn": "SOL", "tokenOut": "SOL", "amountIn": "1", "slippageBps": 1}',
        "requestContext": {"http": http, "authorizer": {"lambda": {"userId": "u", "scopes": "trade", "keyId": "k"}}},
    }
    serve = importlib.import_module(handler).lambda_handler
    count(".py", lambda: serve(order, context))
for endpoint in clients._endpoints:
    report["frame"] = asyncio.run(endpoint.request("POST", "/@connections/a", b"frame"))
report["work"] = work
report["models"] = [about for name, *about in seen if name == "open" and "botocore/data" in about[0]]
report["modules"] = sorted(name for name in set(sys.modules) - modules if name.startswith(("botocore", "order_engine")))
print(json.dumps(report))
"""


class Services(ThreadingHTTPServer):
    """Answers every call with an empty object, and keeps who signed it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Service)
        self.signed: list[str] = []


class _Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        cast(Services, self.server).signed.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing to standard error."""


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def start(handler: str, services: Services, **environment: str) -> dict[str, Any]:
    services.signed.clear()
    url = f"http://127.0.0.1:{services.server_port}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, handler, ",".join(HANDLERS[handler])],
        env={
            "PATH": os.environ["PATH"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            # Where a snapshot's credentials come from; nobody is there, and nobody may be asked.
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/credentials",
            "ORDERS_QUEUE_URL": f"{url}/1/orders",
            "CONNECTIONS_ENDPOINT": f"{url}/live",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize("handler", ["process.handler", "process.dead_letters", "process.sweep", "submit.handler"])
def test_a_live_market_asks_nobody_either_while_a_function_starts(
    handler: str, services: Services, tmp_path: Path
) -> None:
    pools = tmp_path / "pools.json"
    address = "So11111111111111111111111111111111111111112"
    # A token whose decimals only a node knows.
    tokens = [{"mint": address}, {"mint": "ComputeBudget111111111111111111111111111111"}]
    pools.write_text(json.dumps({"pools": [address], "tokens": tokens}))
    arn = "secret:arn:aws:secretsmanager:us-east-1:123456789012:secret:live-AbCdEf"
    live = {"MARKET": "solana", "POOLS": str(pools), "RPC_URL": arn, "SEND_URL": arn, "SIGNER": arn}
    report = start(handler, services, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", **live)
    assert report["connects"] == []
    assert not any(report["held"])


@pytest.mark.parametrize("handler", HANDLERS)
def test_everything_is_ready_before_the_first_invocation_and_nothing_unique_is(
    handler: str, services: Services
) -> None:
    report = start(handler, services, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")

    assert "dynamodb" in report["made"]
    # Nobody was asked for anything meanwhile, and nobody's credentials are kept.
    assert report["connects"] == []
    assert not any(report["connections"])
    assert not any(report["held"])
    assert not report["alike"]
    # The first real calls find everything loaded, and are signed with what came after the restore.
    assert report["models"] == []
    assert report["modules"] == []
    assert max(first / second for first, second in batched(report["work"], 2, strict=True)) < 1.3
    assert services.signed
    assert all("Credential=after/" in line for line in services.signed)
    if handler.startswith("notify"):
        assert report["frame"] == 200


def test_elsewhere_nothing_is_made_before_it_is_used(services: Services) -> None:
    report = start("process.handler", services)

    assert (report["made"], report["endpoints"], report["alike"]) == ([], 0, True)
