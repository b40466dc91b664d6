"""Everything that the functions do on AWS, once: in an account in memory, from the events that AWS would send.

On the paper market, and on a chain of our own with the venues' real programs.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest

from bench.account import Account, Call, running
from bench.orders import MARKET_ORDER, logs, new_user, place
from infra.synth import template
from infra.tree import ROOT
from local.cloud import events
from local.cloud.template import Template
from local.solana.own import OwnChain
from order_engine.clock import SystemClock
from order_engine.domain import lifecycle
from order_engine.domain.order import Lease, Order, OrderRef
from order_engine.engine.execute import Execute
from order_engine.runtime import event_loop
from order_engine.wire.times import to_text

type Json = Any

USER = "alice"
_LIMIT: Json = {"type": "limit", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "slippageBps": 100}
# What a live stage's secrets are called: the nodes to read from, those to send to, and the wallet's key.
# With what AWS adds to a name: where the account is in memory, they are found by that.
SECRETS = NODES, SENDERS, WALLET = "live/nodes-AbCdEf", "live/senders-AbCdEf", "live/wallet-AbCdEf"
# Where no node is.
NOWHERE = "http://127.0.0.1:9"
_QUICK = {"QUOTE_DELAY_MS": "0", "LANDING_MIN_MS": "0", "LANDING_MAX_MS": "0", "LANDING_POLL_MS": "1"}


@dataclass(slots=True)
class Recorded:
    """What was seen. ``secrets`` must be in no log."""

    template: Template
    calls: list[Call] = field(default_factory=list)
    log: str = ""
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Flows:
    account: Account
    patch: pytest.MonkeyPatch
    recorded: Recorded
    chain: OwnChain | None = None
    key: str = ""
    identity: Json = None

    def run(self) -> None:
        for flow in (
            self.identify,
            self.orders_over_http,
            self.execute,
            self.follow,
            self.end_sockets,
            self.try_again,
            self.take_over,
            self.give_up,
            self.sweep,
            self.set_aside,
        ):
            # Each in new execution environments, where nothing is cached.
            self.account.forget()
            flow()

    def invoke(self, handler: str, event: Json, **more: float) -> Json:
        return self.account.invoke(handler, event, **more).result

    def http(self, method: str, path: str, status: int, **more: Any) -> Json:
        answer = self.invoke("submit.handler", events.http(method, path, self.identity, **more))
        assert answer["statusCode"] == status, answer["body"]
        return json.loads(answer["body"])

    def order(self, body: Json = MARKET_ORDER) -> Json:
        answer = json.loads(place(self.account, self.identity, body).result["body"])
        self.recorded.secrets[f"ticket of {answer['orderId']}"] = _ticket(answer["wsUrl"])
        return answer

    def process(self, records: list[Json]) -> int:
        answer = self.invoke("process.handler", {"Records": records})
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        self.account.delete("Orders", [record for record in records if record["messageId"] not in failed])
        return len(failed)

    def send(self, queue: str, body: str) -> list[Json]:
        boto3.client("sqs").send_message(QueueUrl=self.account.queue_url(queue), MessageBody=body)
        return self.account.messages(queue)

    # --- the flows

    def identify(self) -> None:
        self.key = new_user(self.account, USER)
        self.recorded.secrets["API key"] = self.key
        answer = self.invoke("submit.authorizer", events.http_authorizer(f"Bearer {self.key}"))
        assert answer["isAuthorized"]
        self.identity = answer["context"]
        refused = self.invoke("submit.authorizer", events.http_authorizer("Bearer oek_unknown-to-us"))
        self.recorded.secrets["unknown API key"] = "oek_unknown-to-us"
        assert not refused["context"].get("userId")

    def orders_over_http(self) -> None:
        order_id = self.order()["orderId"]
        ticket = self.http("POST", "/api/stream-tickets", 201)["wsUrl"]
        self.recorded.secrets["ticket for all"] = _ticket(ticket)
        self.http("GET", f"/api/orders/{order_id}", 200)
        self.http("GET", "/api/orders", 200)
        for status in ("failed", "pending", "confirmed"):
            self.http("GET", "/api/orders", 200, query=urlencode({"status": status}))
        self.http("DELETE", f"/api/orders/{order_id}", 200)
        self.http("GET", "/api/stats", 200)
        self.http("GET", "/api/quote", 200, query=urlencode({"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}))
        replay = {"Idempotency-Key": "once"}
        for _ in range(2):
            self.http("POST", "/api/orders/execute", 202, body=MARKET_ORDER, headers=replay)
        named = boto3.client("secretsmanager").list_secrets()["SecretList"]
        secret = next(each["ARN"] for each in named if each["Name"] not in SECRETS)
        self.recorded.secrets["ticket key"] = boto3.client("secretsmanager").get_secret_value(SecretId=secret)[
            "SecretString"
        ]

    def execute(self) -> None:
        assert self.process(self.account.messages("Orders")) == 0
        self._keep_raw()

    def follow(self) -> None:
        placed = self.order()
        ticket = events.socket_authorizer(_ticket(placed["wsUrl"]))
        self.account.forget()
        one = self.invoke("submit.authorizer", ticket)["context"]
        every = {**self.identity, "orderId": ""}
        subscribe = {"action": "subscribe"}
        for connection, who, message in (
            ("one", one, {**subscribe, "orderId": placed["orderId"]}),
            ("all", every, subscribe),
            ("some", every, {**subscribe, "orderId": placed["orderId"]}),
            ("gone", every, subscribe),
        ):
            self.invoke("notify.socket", events.socket("$connect", connection, who))
            self.invoke("notify.socket", events.socket("$default", connection, who, message))
        # One that has gone when its event is pushed, and one that has when it is answered.
        self.account.gone |= {"gone", "vanished"}
        self.invoke("notify.socket", events.socket("$default", "vanished", every, {"action": "ping"}))
        self.process(self.account.messages("Orders"))
        self.invoke("notify.handler", {"Records": self.account.changes()})
        assert "one" in self.account.closed
        # A client that says more than is for nothing, and is counted.
        for _ in range(70):
            self.invoke("notify.socket", events.socket("$default", "all", every, {"action": "ping"}))
        self.invoke("notify.socket", events.socket("$disconnect", "all", every))

    def end_sockets(self) -> None:
        """One too many, where an older one went without a word; and one whose key has expired."""
        who = {"userId": "bob", "keyId": "k", "orderId": "", "maxSockets": "1"}
        for connection, status in (("old", 200), ("second", 200), ("third", 429)):
            answer = self.invoke("notify.socket", events.socket("$connect", connection, who))
            assert answer["statusCode"] == status
            self.account.gone.add("old")
            self.account.forget()
        self.invoke("notify.socket", events.socket("$disconnect", "second", who))
        now = int(time.time() * 1000)
        ended = {**who, "expiresAt": str(now)}
        self.invoke("notify.socket", events.socket("$connect", "ended", ended, connected_at=now - 60_000))
        self.invoke("process.sweep", {}, timeout_s=2.5)
        assert "ended" in self.account.closed

    def try_again(self) -> None:
        """An attempt that fails, and a message that comes back for it."""
        self.order()
        with pytest.MonkeyPatch.context() as patch:
            if self.chain is None:
                patch.setenv("FAILURE_RATE", "1")
            else:
                self._rename_node(NOWHERE)
            self.account.forget()
            assert self.process(self.account.messages("Orders")) == 1
            self._keep_raw()
        if self.chain is not None:
            self._rename_node(self.chain.url)
        self.account.forget()

    @staticmethod
    def _rename_node(url: str) -> None:
        boto3.client("secretsmanager").put_secret_value(SecretId=NODES, SecretString=url)

    def take_over(self) -> None:
        """A worker that is lost with a signed transaction, whose order comes back as a dead letter."""

        async def lost(*_: object, **__: object) -> None:
            raise ConnectionError("The worker is lost.")

        placed = self.order()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Execute, "_settle", lost)
            mine = [record for record in self.account.messages("Orders") if placed["orderId"] in record["body"]]
            assert self.process(mine) == 1
        assert self._read(placed["orderId"]).status == "submitted"
        self._later(1)
        self.account.forget()
        self._resolve(placed)
        self.patch.undo()
        assert self._read(placed["orderId"]).status == "confirmed"

    def _keep_raw(self) -> None:
        """The signed transactions are in the table's images and nowhere else."""
        for record in self.account.changes():
            intent = record["dynamodb"].get("NewImage", {}).get("intent")
            if intent is not None:
                raw, *_ = json.loads(intent["S"])
                self.recorded.secrets[f"signed transaction {len(self.recorded.secrets)}"] = raw

    def give_up(self) -> None:
        orphan, held = self.order(), self.order()
        self.account.delete("Orders", self.account.messages("Orders"))
        self._hold(held["orderId"])
        self._resolve(held)
        # An order that may still wait would be left to the sweeper.
        self._later(7 * 60)
        self._resolve(orphan)
        self.patch.undo()
        assert self._read(orphan["orderId"]).status == "failed"
        self.invoke("process.dead_letters", {"Records": self.send("DeadLetters", "not one of ours")})
        assert self.account.messages("Quarantine")

    def _resolve(self, placed: dict[str, Any]) -> None:
        records = self.send("DeadLetters", json.dumps({"userId": USER, "orderId": placed["orderId"]}))
        self.invoke("process.dead_letters", {"Records": records})

    def _later(self, minutes: int) -> None:
        """So many minutes pass."""
        real = SystemClock.now_ms
        self.patch.setattr(SystemClock, "now_ms", lambda clock: real(clock) + minutes * 60_000)

    def _hold(self, order_id: str) -> None:
        order = self._read(order_id)
        now = self.account.engine.clock.now_ms()
        claimed = lifecycle.claim(order, Lease("another", now + 20_000), now)
        event_loop().run_until_complete(self.account.engine.stores.orders.replace(order, claimed))

    def _read(self, order_id: str) -> Order:
        order = event_loop().run_until_complete(self.account.engine.stores.orders.get(OrderRef(USER, order_id)))
        assert order is not None
        return order

    def sweep(self) -> None:
        """An order that was never sent, one whose time has passed, and one whose price has come."""
        stranded = self.order()
        self.account.delete("Orders", self.account.messages("Orders"))
        soon = to_text(int(time.time() * 1000) + 60_000)
        late = self.order({**_LIMIT, "limitPrice": "1000000", "expiresAt": soon})
        crossed = self.order({**_LIMIT, "limitPrice": "0.000001"})
        self._later(10)
        self.account.forget()
        self.invoke("process.sweep", {}, timeout_s=2.5)
        self.patch.undo()
        assert self._read(late["orderId"]).status == "expired"
        assert self._read(crossed["orderId"]).status == "pending"
        sent = [json.loads(record["body"])["orderId"] for record in self.account.messages("Orders")]
        assert {stranded["orderId"], crossed["orderId"]} <= set(sent)

    def set_aside(self) -> None:
        """What cannot be read."""
        assert self.process(self.send("Orders", "not one of ours")) == 0
        self.account.changes()
        self.order()
        [spoilt] = self.account.changes()
        spoilt["dynamodb"]["NewImage"]["events"] = {"L": [{"S": "{"}]}
        self.invoke("notify.handler", {"Records": [spoilt]})
        assert self.account.messages("StreamFailures")


def _ticket(url: str) -> str:
    return parse_qs(urlsplit(url).query)["ticket"][0]


def record(patch: pytest.MonkeyPatch) -> Recorded:
    """Run all flows; what the functions called, wrote to their logs and know that no log may."""
    with running(template(ROOT / "build"), **_QUICK, FAILURE_RATE="0", ORDERS_BURST="1000") as account:
        return _record(_Flows(account, patch, Recorded(account.template)))


def record_live(patch: pytest.MonkeyPatch, body: Json, chain: OwnChain) -> Recorded:
    """The same on a chain of our own, in a stage whose template names ``SECRETS``."""
    wallet = Path(chain.settings["SIGNER"].removeprefix("file:")).read_text()
    with running(body, POOLS=chain.settings["POOLS"], ORDERS_BURST="1000") as account:
        for name, value in zip(SECRETS, (chain.url, chain.url, wallet), strict=True):
            boto3.client("secretsmanager").create_secret(Name=name, SecretString=value)
        recorded = Recorded(account.template, secrets={"node": chain.url, "wallet": wallet})
        return _record(_Flows(account, patch, recorded, chain))


def _record(flows: _Flows) -> Recorded:
    with logs() as written:
        flows.run()
    flows.recorded.calls = list(flows.account.calls)
    flows.recorded.log = written.getvalue()
    return flows.recorded
