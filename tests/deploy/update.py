"""An update of a deployed stage, from the last release to this tree, while orders flow, in an emulator of AWS.

The release is deployed from the source that was kept of it, by its own app; the update is ``make deploy``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from infra.tree import ROOT
from order_engine.engine.accounts import new_key
from tests.deploy import emulator
from tests.deploy.emulator import Emulator
from tests.deploy.proof import ORDER, Proof, ProofError, Report, run
from tests.release import former_key_item, unpack, versions

STAGE = "upd"
_CDK = ROOT / "tools" / "node_modules" / ".bin" / "cdk"
_DEPLOY_S, _UPDATE_S, _END_S, _HTTP_S = 300, 480, 120, 30
_PAUSE_S = 1.0


def prove_update(report: Report) -> None:
    """Deploy the last release, place orders, update to this tree meanwhile; see every order end once.

    Raises:
        ProofError: it went otherwise.
    """
    with emulator.running() as aws:
        Update(aws, report).run()


def tables_that_cannot_be_updated(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What DynamoDB or CloudFormation would refuse, or replace with an empty table; where the emulator is kinder.

    One index can be made in an update of a table, and none together with a removal.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-dynamodb-table.html
    """

    def tables(template: Mapping[str, Any]) -> dict[str, Any]:
        found = template["Resources"].items()
        return {name: item["Properties"] for name, item in found if item["Type"] == "AWS::DynamoDB::Table"}

    def indexes(table: Mapping[str, Any]) -> dict[str, str]:
        return {
            index["IndexName"]: json.dumps([index["KeySchema"], index["Projection"]])
            for index in table.get("GlobalSecondaryIndexes", ())
        }

    wrong, after = [], tables(new)
    for name, table in tables(old).items():
        if name not in after:
            wrong.append(f"{name} is gone")
            continue
        if after[name]["KeySchema"] != table["KeySchema"]:
            wrong.append(f"{name} would be replaced")
        before, now = indexes(table), indexes(after[name])
        changed = [index for index in before if index in now and before[index] != now[index]]
        if changed or len(set(before) ^ set(now)) > 1:
            wrong.append(f"{name} has more than one index to change: {changed or sorted(set(before) ^ set(now))}")
    return wrong


class Update(Proof):
    def __init__(self, aws: Emulator, report: Report) -> None:
        super().__init__(aws, report, STAGE)
        self._accepted: list[str] = []
        self._refused: Counter[str] = Counter()
        self._enough = threading.Event()

    def run(self) -> None:
        version = versions()[-1]
        with self._step("make bootstrap") as say:
            self._make("bootstrap")
            say("for another stage")
        with tempfile.TemporaryDirectory(prefix="release-", dir=ROOT / "build") as scratch:
            source = unpack(version, Path(scratch))
            with self._step(f"deploy {version} from what was kept of it") as say:
                self._deploy_release(source)
                former = self._resources()
                say(f"{len(former)} resources")
            old = json.loads((source / "cdk.out" / f"{self._stack}.template.json").read_text(encoding="utf-8"))
        url, key = self._address(), self._former_key()
        placing = threading.Thread(target=self._place, args=(url, key), daemon=True)
        placing.start()
        try:
            self._wait_for(5)
            with self._step("make deploy, while orders flow") as say:
                # Beside the orders' own work, on the same machine.
                self._make("deploy", seconds=_UPDATE_S)
                meanwhile = len(self._accepted)
                say(f"{meanwhile} orders were accepted meanwhile")
            self._check_resources(former, old)
            self._wait_for(meanwhile + 10)
        finally:
            self._enough.set()
            placing.join(_HTTP_S)
        with self._step("every order ends once, and nothing was set aside") as say:
            say(self._check_orders(url, key))
        with self._step("make destroy") as say:
            self._make("destroy")
            say("gone")

    def _deploy_release(self, source: Path) -> None:
        """Deploy the kept source with its own app, as its Makefile did."""
        outputs = ROOT / "build" / f"outputs-{STAGE}.json"
        engine = source / "layers" / "common" / "python"
        environment = self._aws.environment() | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{source}{os.pathsep}{engine}",
            "CDK_DISABLE_VERSION_CHECK": "1",
            "NO_COLOR": "1",
            "CI": "true",
        }
        command = [
            *(str(_CDK), "deploy", "--require-approval", "never", "--no-notices", "--outputs-file", str(outputs)),
            *("-c", f"stage={STAGE}", *self._context),
        ]
        done = run(command, source, environment, _DEPLOY_S)
        if done.returncode != 0:
            raise ProofError(f"the release is not deployed ({done.returncode}):\n{done.stdout[-6000:]}")

    def _former_key(self) -> str:
        """A key as 0.1.0 kept them, among the accounts; there it is found until it is moved."""
        text, key = new_key("deployer", int(time.time() * 1000))
        client = self._session.client("dynamodb", endpoint_url=self._aws.url)
        client.put_item(TableName=self._outputs()["AccountsTable"], Item=former_key_item(key))
        return text

    def _place(self, url: str, key: str) -> None:
        """Place an order now and then until it is enough; what is not accepted is counted by its reason."""
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=_HTTP_S) as http:
            while not self._enough.wait(_PAUSE_S):
                try:
                    answer = http.post(f"{url}/api/orders/execute", json={**ORDER, "slippageBps": 1000})
                except httpx.HTTPError as error:
                    self._refused[type(error).__name__] += 1
                    continue
                if answer.status_code == 202:
                    self._accepted.append(answer.json()["orderId"])
                else:
                    self._refused[str(answer.status_code)] += 1

    def _wait_for(self, number: int) -> None:
        deadline = time.monotonic() + _END_S
        while len(self._accepted) < number:
            if time.monotonic() > deadline:
                raise ProofError(f"{len(self._accepted)} orders were accepted of {number}; refused: {self._refused}")
            time.sleep(0.2)

    def _check_resources(self, former: Mapping[str, str], old: Mapping[str, Any]) -> None:
        now = self._resources()
        assembly = ROOT / "build" / "cdk.out" / f"{self._stack}.template.json"
        if wrong := tables_that_cannot_be_updated(old, json.loads(assembly.read_text(encoding="utf-8"))):
            raise ProofError("; ".join(wrong))
        kept = ("Table", "Queue", "Storage", "Queues")
        replaced = {
            name for name, physical in former.items() if name.startswith(kept) and now.get(name, physical) != physical
        }
        if replaced:
            raise ProofError(f"an update keeps tables and queues, and {sorted(replaced)} are others now")

    def _check_orders(self, url: str, key: str) -> str:
        deadline = time.monotonic() + _END_S
        waiting, ended = list(self._accepted), 0
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=_HTTP_S) as http:
            while waiting:
                order = http.get(f"{url}/api/orders/{waiting[0]}").json()
                if order.get("status") == "confirmed":
                    self._check_order(order)
                    ended += 1
                    waiting.pop(0)
                elif time.monotonic() > deadline or order.get("status") == "failed":
                    raise ProofError(f"{len(waiting)} orders have not ended well: {json.dumps(order)[:2000]}")
                else:
                    time.sleep(0.2)
        outputs, sqs = self._outputs(), self._session.client("sqs", endpoint_url=self._aws.url)
        for name in ("DeadLettersQueue", "QuarantineQueue", "StreamFailuresQueue"):
            names: Any = ["ApproximateNumberOfMessages"]
            found = sqs.get_queue_attributes(QueueUrl=outputs[name], AttributeNames=names)["Attributes"]
            if int(found["ApproximateNumberOfMessages"]):
                raise ProofError(f"{name} holds {found['ApproximateNumberOfMessages']} messages")
        refused = sum(self._refused.values())
        return f"{ended} orders confirmed, each with one signature; {refused} were refused ({dict(self._refused)})"

    @staticmethod
    def _check_order(order: Mapping[str, Any]) -> None:
        statuses = Counter(event["status"] for event in order["events"])
        numbers = [event["seq"] for event in order["events"]]
        if (statuses["submitted"], statuses["confirmed"]) != (1, 1) or numbers != list(range(1, len(numbers) + 1)):
            raise ProofError(f"an order went through {order['events']}")
