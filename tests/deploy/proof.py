"""A deployment from the first command to the last, as the README has it, into an emulator of AWS.

The commands are the Makefile's own, with the pinned CDK command line behind them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from infra.tree import ROOT
from local.solana.genesis import ProgramsMissing, find_programs
from local.solana.own import OwnChain, own_chain
from tests.deploy import emulator, inventory
from tests.deploy.emulator import Emulator

STAGE = "ci"
ORDER = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippageBps": 100}
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]
# Whatever the market does, the orders that are followed confirm, and soon.
SURE = ("-c", "failureRate=0", "-c", "quoteDelayMs=20", "-c", "landingMinMs=100", "-c", "landingMaxMs=200")
NEWMAN = ROOT / "tools" / "node_modules" / "newman" / "bin" / "newman.js"
_COMMAND_S, _COLLECTION_S, _FOLLOW_S, _HTTP_S = 150, 150, 60, 30

type Report = Callable[[str], None]


def run(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command that nobody answers; what it writes, to either stream, is its output."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


class ProofError(AssertionError):
    """The deployment did not do what it must."""


def prove(report: Report) -> None:
    """Bootstrap, deploy, use, deploy again, update, remove; one line to ``report`` for each step.

    Raises:
        ProofError: a step went otherwise than it must.
        OSError, subprocess.SubprocessError: a program could not be run or took too long.
    """
    with _step(report, "an emulator of AWS in an environment of its own") as say:
        _require(not emulator.has("boto3", "pydantic"), "the functions take their packages from the layer")
        say("the functions' packages are not in it: they can only come from the layer")
    with emulator.running() as aws:
        Proof(aws, report).run()


class Proof:
    def __init__(self, aws: Emulator, report: Report, stage: str = STAGE) -> None:
        self._aws = aws
        self._stage = stage
        self._stack = f"order-engine-{stage}"
        self._report = report
        self._session = aws.session()
        self._context = ("-c", f"architecture={_architecture()}", "-c", f"emulatorUrl={aws.url}", *SURE)

    def run(self) -> None:
        with self._step("make preflight in an account that nobody has prepared") as say:
            _expect("make bootstrap", self._make("preflight", refused=True))
            say("is told what is missing, and changes nothing")
        with self._step("make bootstrap") as say:
            _expect("bootstrapped", self._make("bootstrap"))
            _expect("left as it is", self._make("bootstrap"))
            say("the CDK's own stack and API Gateway's role for logs are there; once is enough")
        before = self._inventory()

        with self._step("make deploy") as say:
            self._make("deploy")
            made = inventory.difference(self._inventory(), before)
            _require(set(made) == set(before), f"a deployment has something of each kind, not only {sorted(made)}")
            say(f"{self._count()} resources")
        url = self._address()
        with self._step("order-engine keys create") as say:
            key = self._add_key("deployer")
            say("the first key")

        with self._step("a WebSocket client follows an order") as say:
            order_id, statuses = asyncio.run(self._follow(url, key))
            _require(statuses == LIFE, f"an order's life is {LIFE}, not {statuses}")
            say(" > ".join(statuses))
        with self._step("a caller without a key") as say:
            _require(self._status(url, "/api/orders", "") == 401, "no key is refused")
            _require(self._status(url, "/api/orders", "oek_unknown") == 401, "an unknown key is refused")
            _require(asyncio.run(self._handshake()) in (401, 403), "a socket without a key or ticket is refused")
            say("is refused, so is an unknown key, and a socket with neither key nor ticket")

        with self._step("the Postman collection, run by newman") as say:
            say(self._newman(url))

        resources, revisions = self._resources(), self._revisions()
        with self._step("make deploy again") as say:
            _expect(f"{self._stack} (no changes)", self._make("deploy"))
            _require((self._resources(), self._revisions()) == (resources, revisions), "nothing changed")
            say("(no changes)")
        with self._step("make deploy with another rate limit") as say:
            self._make("deploy", "-c", "ordersPerMinute=7", "-c", "ordersBurst=7")
            say(self._check_update(url, key, order_id, resources, revisions))

        self._prove_live(url, key)
        with self._step("make destroy") as say:
            self._make("destroy")
            left = inventory.difference(self._inventory(), before)
            _require(not left, f"left: {left}")
            say("nothing is left")

    def _check_update(
        self,
        url: str,
        key: str,
        order_id: str,
        resources: Mapping[str, str],
        revisions: Mapping[str, str],
    ) -> str:
        _require(self._address() == url, "an update keeps the addresses")
        others = {name: physical for name, physical in self._resources().items() if "CurrentVersion" not in name}
        former = {name: physical for name, physical in resources.items() if "CurrentVersion" not in name}
        _require(others == former, "an update replaces the published version and nothing else")
        changed = {name for name, revision in self._revisions().items() if revision != revisions[name]}
        _require([name for name in changed if "Submit" not in name] == [], f"only one function changes, not {changed}")
        reply = httpx.post(f"{url}/api/orders/execute", json=ORDER, headers=_headers(key), timeout=_HTTP_S)
        policy = reply.headers.get("ratelimit-policy", "")
        _require(reply.status_code == 202 and "q=7;" in policy, f"the new limit holds, not {policy!r}: {reply.text}")
        former_order = httpx.get(f"{url}/api/orders/{order_id}", headers=_headers(key), timeout=_HTTP_S).json()
        _require(former_order.get("status") == "confirmed", f"orders outlive an update: {former_order}")
        return "one function has a new version; every table, queue, address and order is as before"

    def _prove_live(self, url: str, key: str) -> None:
        """The stage becomes one that swaps on Solana: on a chain of our own, by the venues' real programs."""
        with self._step("make deploy with market=solana, and an order on a chain of our own") as say:
            try:
                programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
            except ProgramsMissing as missing:
                say(f"skipped: {missing}")
                return
            with own_chain(programs) as chain, self._live_secrets(chain) as context:
                self._make("deploy", *context)
                order_id, statuses = asyncio.run(self._follow(url, key))
                _require(statuses == LIFE, f"an order's life is {LIFE}, not {statuses}")
                order = httpx.get(f"{url}/api/orders/{order_id}", headers=_headers(key), timeout=_HTTP_S).json()
                say(f"confirmed in slot {self._landed(chain, order)} of the chain")

    @contextmanager
    def _live_secrets(self, chain: OwnChain) -> Iterator[list[str]]:
        """The secrets of a live stage, made as docs/live.md has it; the context that names them."""
        client = self._session.client("secretsmanager", endpoint_url=self._aws.url)
        wallet = Path(chain.settings["SIGNER"].removeprefix("file:")).read_text()
        given = {"nodesSecret": chain.url, "sendSecret": chain.url, "walletSecret": wallet}
        made = {
            name: client.create_secret(Name=f"{self._stage}/{name}", SecretString=value)["ARN"]
            for name, value in given.items()
        }
        values = {"market": "solana", "pools": chain.settings["POOLS"], "wallet": chain.wallet, **made}
        try:
            yield [word for name, value in values.items() for word in ("-c", f"{name}={value}")]
        finally:
            for arn in made.values():
                client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)

    @staticmethod
    def _landed(chain: OwnChain, order: Mapping[str, Any]) -> int:
        """The slot in which the order's swap is on the chain, with the note that names it."""
        options = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 1}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "getTransaction", "params": [order["txHash"], options]}
        told = httpx.post(chain.url, json=asked, timeout=_HTTP_S).json()["result"]
        _require(told is not None and told["meta"]["err"] is None, f"the swap is on the chain, not {told}")
        noted = any(order["orderId"] in line for line in told["meta"]["logMessages"])
        _require(noted, f"the swap names its order, not {told['meta']['logMessages']}")
        return int(told["slot"])

    # --- how it is done and looked at ------------------------------------------------------------------------------

    def _step(self, title: str) -> Any:
        return _step(self._report, title)

    def _make(self, target: str, *context: str, refused: bool = False, seconds: float = _COMMAND_S) -> str:
        """Run a target of the Makefile against the emulator, which must succeed or be refused; what it wrote."""
        options = " ".join([*self._context, "--ci", "--no-notices", "--output build/cdk.out", *context])
        # In CI nobody is asked before permissions widen.
        environment = self._aws.environment() | {"CDK_DISABLE_VERSION_CHECK": "1", "NO_COLOR": "1", "CI": "true"}
        for inherited in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            environment.pop(inherited, None)
        # The environment that runs this is the one to use, whatever its files' times say.
        command = ["make", "--old-file", ".venv/.ready", target, f"STAGE={self._stage}", f"CONTEXT={options}"]
        done = run(command, ROOT, environment, seconds)
        if (done.returncode != 0) is not refused:
            raise ProofError(f"make {target} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done.stdout

    def _outputs(self) -> dict[str, str]:
        outputs: dict[str, str] = json.loads((ROOT / "build" / f"outputs-{self._stage}.json").read_text())[self._stack]
        return outputs

    def _address(self) -> str:
        """Where the deployed HTTP API is."""
        # Its host name is the API's, which this machine's resolver need not know: the emulator takes a path as well.
        api = (urlsplit(self._outputs()["HttpUrl"]).hostname or "").partition(".")[0]
        return f"{self._aws.url}/_aws/execute-api/{api}/$default"

    async def _handshake(self) -> int:
        """How a socket is answered that shows nothing."""
        async with asyncio.timeout(_HTTP_S):
            try:
                async with connect(self._outputs()["WebSocketUrl"], proxy=None):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

    def _add_key(self, user: str, *options: str) -> str:
        """Make an API key as an operator does."""
        command = [str(Path(sys.executable).with_name("order-engine")), "keys", "create", user, "--stage", self._stage]
        done = subprocess.run(
            [*command, "--json", *options],
            env=self._aws.environment(),
            capture_output=True,
            text=True,
            timeout=_HTTP_S,
            check=False,
        )
        _require(done.returncode == 0, f"order-engine keys create makes a key: {done.stdout}{done.stderr}")
        return str(json.loads(done.stdout)["key"])

    def _newman(self, url: str) -> str:
        """Run the whole collection as a client of the stage would; how much it did."""
        variables = {
            "baseUrl": url,
            "apiKey": self._add_key("alice"),
            "otherKey": self._add_key("bob"),
            "readOnlyKey": self._add_key("reader", "--scope", "read"),
            "limitedKey": self._add_key("limited", "--orders-per-minute", "1"),
        }
        results = ROOT / "build" / "newman.json"
        results.unlink(missing_ok=True)
        command = [
            *(str(Path(sys.executable).with_name("node")), str(NEWMAN), "run"),
            str(ROOT / "postman" / "order-engine.postman_collection.json"),
            *("--environment", str(ROOT / "postman" / "stage.postman_environment.json")),
            *(word for name, value in variables.items() for word in ("--env-var", f"{name}={value}")),
            *("--reporters", "json", "--reporter-json-export", str(results)),
        ]
        done = subprocess.run(
            command, env=self._aws.environment(), capture_output=True, text=True, timeout=_COLLECTION_S, check=False
        )
        _require(results.exists(), f"newman runs: {done.stdout}{done.stderr}")
        run = json.loads(results.read_text(encoding="utf-8"))["run"]
        failures = [f"{item['source'].get('name')}: {item['error']['message']}" for item in run["failures"]]
        _require(done.returncode == 0 and not failures, "the collection passes:\n" + "\n".join(failures))
        stats = run["stats"]
        return f"{stats['requests']['total']} requests, {stats['assertions']['total']} assertions, none failed"

    async def _follow(self, url: str, key: str) -> tuple[str, list[str]]:
        """Place an order and follow it on the address that comes with it, until the server closes the socket."""
        async with asyncio.timeout(_FOLLOW_S):
            async with httpx.AsyncClient(timeout=_HTTP_S) as http:
                reply = await http.post(f"{url}/api/orders/execute", json=ORDER, headers=_headers(key))
            _require(reply.status_code == 202, f"an order is accepted, not {reply.status_code}: {reply.text}")
            accepted = reply.json()
            seen: dict[int, str] = {}
            async with connect(accepted["wsUrl"], proxy=None) as socket:
                await socket.send(json.dumps({"action": "subscribe", "orderId": accepted["orderId"], "after": 0}))
                async for message in socket:
                    frame = json.loads(message)
                    events = frame["events"] if frame["type"] == "snapshot" else [frame]
                    seen |= {event["seq"]: event["status"] for event in events}
        return accepted["orderId"], [seen[seq] for seq in sorted(seen)]

    @staticmethod
    def _status(url: str, path: str, key: str) -> int:
        return httpx.get(f"{url}{path}", headers=_headers(key), timeout=_HTTP_S).status_code

    def _inventory(self) -> inventory.Inventory:
        return inventory.take(self._session, self._aws.url)

    def _resources(self) -> dict[str, str]:
        """Physical ids by logical id."""
        client = self._session.client("cloudformation", endpoint_url=self._aws.url)
        found = client.describe_stack_resources(StackName=self._stack)["StackResources"]
        return {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in found}

    def _count(self) -> int:
        return len(self._resources())

    def _revisions(self) -> dict[str, str]:
        """What changes with a function's code or configuration, by its name."""
        client = self._session.client("lambda", endpoint_url=self._aws.url)
        functions = client.list_functions()["Functions"]
        return {
            item["FunctionName"]: json.dumps([item["CodeSha256"], item["Layers"], item["Environment"]], sort_keys=True)
            for item in functions
        }


@contextmanager
def _step(report: Report, title: str) -> Iterator[Callable[[str], None]]:
    """Report a step with the time that it took and what was seen, once it is over."""
    began = time.monotonic()
    seen: list[str] = []
    yield seen.append
    report(f"{time.monotonic() - began:6.1f} s  {title}: {', '.join(seen)}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ProofError(what)


def _expect(text: str, output: str) -> None:
    _require(text in output, f"expected {text!r} in:\n{output[-4000:]}")


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _architecture() -> str:
    """This machine's: the functions run on it."""
    return "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"


def main() -> int:
    # It builds on this module.
    from tests.deploy.update import prove_update

    began = time.monotonic()
    try:
        prove(lambda line: print(line, flush=True))
        prove_update(lambda line: print(line, flush=True))
    except (ProofError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"The deployment failed: {error}\nThe emulator's log is in build/ministack.log.", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:6.1f} s  in all")
    return 0
