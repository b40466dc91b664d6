"""Two users who try everything against each other: not one byte of the other's orders comes back.

``LEAK_REQUESTS`` says how many requests are made (10,000 take some minutes), ``LEAK_SEED`` which.
"""

from __future__ import annotations

import base64
import os
import random
import string
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from order_engine.engine.accounts import Ticket, new_key, sign_ticket
from order_engine.engine.tokens import user_of
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import engine, stored, ticket_secret
from tests.support.events import Context
from tests.support.http import Reply, request

REQUESTS = int(os.environ.get("LEAK_REQUESTS", "500"))
SEED = int(os.environ.get("LEAK_SEED", "1"))
ISSUER = "https://id.example"
TOKEN_ALICE = user_of(ISSUER, "alice")
WALLETS = {"alice": "A" * 44, "bob": "B" * 44, TOKEN_ALICE: "C" * 44}


@dataclass(slots=True)
class User:
    """A user with everything that belongs to them."""

    name: str
    reader: str
    trader: str
    both: str
    dead: list[str]
    orders: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> list[str]:
        """What nobody else may ever read."""
        return [WALLETS[self.name], *self.orders, *self.tickets]


def body(user: str, amount: str) -> dict[str, Any]:
    return {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": amount, "walletAddress": WALLETS[user]}


def authorized(header: str) -> dict[str, Any]:
    from submit.authorizer import lambda_handler

    event = {"version": "2.0", "type": "REQUEST", "headers": {"authorization": header}}
    return {"lambda": lambda_handler.over(engine())(event, Context())["context"]}


def make_user(name: str, clock: StandingClock) -> User:
    keys, run = engine().stores.keys, event_loop().run_until_complete

    def key(**more: Any) -> str:
        text, stored = new_key(name, clock.now, **more)
        run(keys.add_key(stored))
        return text

    revoked, stored = new_key(name, clock.now)
    run(keys.add_key(stored))
    run(keys.revoke_key(stored.key_id, clock.now, "operator"))
    dead = [revoked, key(expires_at=clock.now), key(expires_at=clock.now - 1)]
    return User(name, key(scopes=["read"]), key(scopes=["trade"]), key(), dead)


def furnish(user: User, caller: dict[str, Any], clock: StandingClock) -> None:
    """Give a user orders, cursors and tickets."""
    for number in range(4):
        clock.now += 7
        key = f"key-{number}"
        placed = request(
            "POST",
            "/api/orders/execute",
            body=body(user.name, str(number + 1)),
            headers={"content-type": "application/json", "idempotency-key": key},
            authorizer=caller,
        ).json
        user.orders.append(placed["orderId"])
        user.keys.append(key)
        user.tickets.append(placed["wsUrl"].partition("ticket=")[2])
    page = request("GET", "/api/orders", query={"limit": "2"}, authorizer=caller).json
    user.cursors.append(page["nextCursor"])


def tampered(choose: random.Random, text: str) -> str:
    if not text:
        return "x"
    at = choose.randrange(len(text))
    return choose.choice(
        [
            text[:at] + choose.choice(string.ascii_letters + string.digits + "-_.=") + text[at + 1 :],
            text[:at],
            text[at:],
            text + choose.choice(string.ascii_letters),
            text.swapcase(),
        ]
    )


def forged_cursor(choose: random.Random, victim: User, clock: StandingClock) -> str:
    inside = choose.choice(
        [
            f"{clock.now + 10**6}#{choose.choice(victim.orders)}",
            f"{clock.now}#{victim.name}",
            f"{victim.name}#{clock.now}#x",
            f"9999999999999#{uuid.UUID(int=choose.getrandbits(128))}",
            "0" * 13 + "#",
        ]
    )
    return base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")


def guessed_id(choose: random.Random, attacker: User, victim: User) -> str:
    order_id = choose.choice(victim.orders)
    return choose.choice(
        [
            order_id,
            order_id.upper(),
            tampered(choose, order_id),
            str(uuid.UUID(int=choose.getrandbits(128), version=4)),
            f"{victim.name}#{order_id}",
            quote(f"../{victim.name}/{order_id}", safe=""),
            quote(f"{victim.name}/{order_id}", safe=""),
            f"{order_id}%00",
            f"{order_id}?user={victim.name}",
            choose.choice(attacker.orders) + order_id,
        ]
    )


def socket_user(ticket: str | None, header: str | None) -> str | None:
    """Whose socket this credential would open."""
    from submit.authorizer import lambda_handler

    event = {
        "methodArn": "arn:aws:execute-api:eu-central-1:000000000000:api/live/$connect",
        "headers": {"Authorization": header} if header else {},
        "queryStringParameters": {"ticket": ticket} if ticket else None,
    }
    answer = lambda_handler.over(engine())(event, Context())
    allowed = answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    return str(answer["principalId"]) if allowed else None


class Attack:
    """One request at a time by ``attacker`` at ``victim``; each says what must not happen."""

    def __init__(self, choose: random.Random, clock: StandingClock, attacker: User, victim: User) -> None:
        self.choose, self.clock, self.attacker, self.victim = choose, clock, attacker, victim

    def send(self, header: str, method: str, path: str, **more: Any) -> Reply:
        extra = self.choose.choice([{}, {"x-user-id": self.victim.name}, {"x-forwarded-user": self.victim.name}])
        headers = {**({"content-type": "application/json"} if "body" in more else {}), **extra}
        headers |= more.pop("headers", {})
        reply = request(method, path, authorizer=authorized(header), headers=headers, **more)
        self.assert_nothing_of(self.victim, reply)
        return reply

    def assert_nothing_of(self, owner: User, reply: Reply) -> None:
        shown = reply.text + str(reply.headers)
        assert not [secret for secret in owner.secrets if secret in shown]

    def read(self) -> None:
        path = f"/api/orders/{guessed_id(self.choose, self.attacker, self.victim)}"
        assert self.send(f"Bearer {self.attacker.both}", "GET", path).status in (404, 405)

    def cancel(self) -> None:
        path = f"/api/orders/{guessed_id(self.choose, self.attacker, self.victim)}"
        assert self.send(f"Bearer {self.attacker.both}", "DELETE", path).status in (404, 405)

    def browse(self) -> None:
        cursor = self.choose.choice(
            [
                self.choose.choice(self.victim.cursors),
                tampered(self.choose, self.choose.choice(self.victim.cursors)),
                forged_cursor(self.choose, self.victim, self.clock),
            ]
        )
        query = {"cursor": cursor, "limit": "100"} | self.choose.choice([{}, {"status": "pending"}, {"user": "bob"}])
        assert self.send(f"Bearer {self.attacker.reader}", "GET", "/api/orders", query=query).status in (200, 422)

    def replay(self) -> None:
        number = self.choose.randrange(4)
        reply = self.send(
            f"Bearer {self.attacker.both}",
            "POST",
            "/api/orders/execute",
            body=body(self.attacker.name, str(number + 1)),
            headers={"idempotency-key": self.victim.keys[number]},
        )
        # The same key is the attacker's own order, never the victim's.
        assert (reply.status, reply.json["orderId"]) == (202, self.attacker.orders[number])

    def numbers(self) -> None:
        path, query = self.choose.choice([("/api/stats", {}), ("/api/orders", {"limit": "100"})])
        assert self.send(f"Bearer {self.attacker.reader}", "GET", path, query=query).status == 200

    def borrow(self) -> None:
        """Credentials that are no good, or not good for this."""
        victim, choose = self.victim, self.choose
        mine = f"/api/orders/{choose.choice(self.attacker.orders)}"
        theirs = f"/api/orders/{choose.choice(victim.orders)}"
        good = choose.choice([victim.both, victim.reader, victim.trader])
        broken = choose.choice([tampered(choose, good), choose.choice(victim.tickets), *victim.dead])
        broken = tampered(choose, good) if broken == good else broken
        scheme = choose.choice(["Bearer ", "bearer ", "Basic ", ""])
        calls: list[tuple[str, str, Any]] = [
            *(("GET", path, None) for path in (theirs, "/api/orders", "/api/stats")),
            *(("DELETE", path, None) for path in (theirs, mine)),
            ("POST", "/api/orders/execute", body(self.attacker.name, "1")),
            ("POST", "/api/stream-tickets", {}),
        ]
        method, path, sent = choose.choice(calls)
        more = {} if sent is None else {"body": sent}
        assert self.send(scheme + broken, method, path, **more).status == 401
        assert self.send(f"Bearer {self.attacker.reader}", "DELETE", mine).status == 403
        assert self.send(f"Bearer {self.attacker.trader}", "GET", mine).status == 403

    def pretend(self) -> None:
        """Tokens whose subject resembles the victim's name."""
        subject = self.choose.choice([self.victim.name, f"{self.victim.name} ", f"../{self.victim.name}", TOKEN_ALICE])
        caller = {"jwt": {"claims": {"sub": subject, "iss": ISSUER, "scope": "trade read", "userId": self.victim.name}}}
        path = self.choose.choice(["/oidc/api/orders", f"/oidc/api/orders/{self.choose.choice(self.victim.orders)}"])
        if user_of(ISSUER, subject) != self.victim.name:
            self.assert_nothing_of(self.victim, request("GET", path, authorizer=caller))

    def listen(self) -> None:
        """Tickets that were changed, have ended, or were signed by somebody else."""
        ticket = self.choose.choice(self.victim.tickets)
        order_id = self.choose.choice(self.victim.orders)
        ended = Ticket(self.victim.name, order_id, self.clock.now)
        forged = self.choose.choice(
            [
                tampered(self.choose, ticket),
                sign_ticket(Ticket(self.victim.name, order_id, self.clock.now + 60_000), "another secret"),
                sign_ticket(ended, ticket_secret()),
                self.choose.choice(self.attacker.tickets).partition(".")[0] + "." + ticket.partition(".")[2],
                ticket.partition(".")[0] + "." + self.choose.choice(self.attacker.tickets).partition(".")[2],
            ]
        )
        assert forged == ticket or socket_user(forged, None) is None
        assert socket_user(None, f"Bearer {self.choose.choice(self.victim.dead)}") is None
        assert socket_user(self.choose.choice(self.attacker.tickets), None) == self.attacker.name


def statuses() -> dict[tuple[str, str], str]:
    items = stored()
    return {(item["user_id"]["S"], item["order_id"]["S"]): item["status"]["S"] for item in items}


def test_no_request_of_one_user_reads_or_changes_anything_of_another(deploy: Deploy, clock: StandingClock) -> None:
    deploy(ORDERS_PER_MINUTE="60000", ORDERS_BURST="60000", READS_PER_MINUTE="1000000", READS_BURST="1000000")
    choose = random.Random(SEED)
    alice, bob = make_user("alice", clock), make_user("bob", clock)
    token_alice = User(TOKEN_ALICE, "", "", "", [])
    for user in (alice, bob):
        furnish(user, authorized(f"Bearer {user.both}"), clock)
    furnish(token_alice, {"jwt": {"claims": {"sub": "alice", "iss": ISSUER, "scope": "trade read"}}}, clock)
    clock.now += 7
    before = statuses()
    made: Counter[str] = Counter()
    while made.total() < REQUESTS:
        attacker, victim = choose.choice([(alice, bob), (bob, alice), (alice, token_alice), (bob, token_alice)])
        attack = Attack(choose, clock, attacker, victim)
        kinds: list[Callable[[], None]] = [attack.read, attack.cancel, attack.browse, attack.replay, attack.numbers]
        if victim is not token_alice:
            kinds += [attack.borrow, attack.pretend, attack.listen]
        kind = choose.choice(kinds)
        kind()
        made[kind.__name__] += 3 if kind.__name__ in ("borrow", "listen") else 1

    assert statuses() == before
    assert min(made.values()) >= REQUESTS // 50
    print(f"\n{made.total()} requests, 0 leaks: {dict(made)}")


def test_the_attacks_would_notice_a_leak(deploy: Deploy, clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy()
    alice, bob = make_user("alice", clock), make_user("bob", clock)
    for user in (alice, bob):
        furnish(user, authorized(f"Bearer {user.both}"), clock)
    stores = engine().stores.orders
    get = stores.get
    monkeypatch.setattr(type(stores), "get", lambda _, ref: get(type(ref)("bob", ref.order_id)))
    attack = Attack(random.Random(1), clock, alice, bob)

    def read_often() -> None:
        for _ in range(60):
            attack.read()

    with pytest.raises(AssertionError):
        read_often()
