"""Who is calling: what the authorizer answers, and what the API makes of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.errors import InvalidInput
from order_engine.domain.order import OrderRef
from order_engine.engine.accounts import (
    ApiKey,
    NotAuthorized,
    Ticket,
    hash_key,
    identify_ticket,
    new_key,
    open_ticket,
    sign_ticket,
)
from order_engine.engine.tokens import identify_token, user_of
from order_engine.runtime import event_loop
from tests.api.conftest import Deploy
from tests.support import cloud
from tests.support.clock import StandingClock
from tests.support.cloud import engine
from tests.support.events import Context
from tests.support.http import Reply, request

ORDER: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}


def authorize(header: str | None) -> dict[str, Any]:
    """The context that the authorizer gives an HTTP request with this Authorization header."""
    from submit.authorizer import lambda_handler

    headers = {} if header is None else {"authorization": header}
    answer = lambda_handler.over(engine())({"version": "2.0", "type": "REQUEST", "headers": headers}, Context())
    assert answer["isAuthorized"] is True
    assert all(isinstance(value, str) for value in answer["context"].values())
    return {"lambda": answer["context"]}


def connect(header: str | None = None, ticket: str | None = None) -> str:
    """The effect of the policy that the authorizer gives a WebSocket connection."""
    from submit.authorizer import lambda_handler

    event = {
        "methodArn": "arn:aws:execute-api:eu-central-1:000000000000:api/live/$connect",
        "headers": {} if header is None else {"Authorization": header},
        "queryStringParameters": None if ticket is None else {"ticket": ticket},
    }
    effect: str = lambda_handler.over(engine())(event, Context())["policyDocument"]["Statement"][0]["Effect"]
    return effect


def add(key: ApiKey) -> None:
    event_loop().run_until_complete(engine().stores.keys.add_key(key))


def call(header: str | None, method: str = "GET", path: str = "/api/orders", **more: Any) -> Reply:
    return request(method, path, authorizer=authorize(header), **more)


def assert_refused(reply: Reply) -> None:
    assert (reply.status, reply.json["code"], reply.json["status"]) == (401, "unauthorized", 401)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_opens_what_its_scopes_say(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    reader, stored = new_key("alice", clock.now, scopes=["read"])
    add(stored)
    trader, stored = new_key("alice", clock.now, scopes=["trade"])
    add(stored)

    assert call(f"Bearer {reader}").status == 200
    assert call(f"Bearer {trader}", "POST", "/api/orders/execute", body=ORDER).status == 202
    for key, method, path in (
        (reader, "POST", "/api/orders/execute"),
        (reader, "DELETE", "/api/orders/x"),
        (trader, "GET", "/api/orders"),
        (trader, "GET", "/api/orders/x"),
        (trader, "GET", "/api/stats"),
        (trader, "GET", "/api/tokens"),
        (trader, "POST", "/api/stream-tickets"),
    ):
        reply = call(f"Bearer {key}", method, path, body=ORDER if method == "POST" else None)
        assert (reply.status, reply.json["code"]) == (403, "insufficient_scope")


def test_an_order_and_the_log_tell_which_key_placed_and_cancelled_it(
    deploy: Deploy, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    deploy()
    placer, stored_placer = new_key("alice", clock.now, scopes=["trade", "read"])
    canceller, stored_canceller = new_key("alice", clock.now, scopes=["trade"])
    add(stored_placer)
    add(stored_canceller)
    named = {"content-type": "application/json", "idempotency-key": "k"}

    placed = call(f"Bearer {placer}", "POST", "/api/orders/execute", body=ORDER, headers=named).json
    # Another key's replay changes nothing.
    call(f"Bearer {canceller}", "POST", "/api/orders/execute", body=ORDER, headers=named)
    path = f"/api/orders/{placed['orderId']}"
    before = call(f"Bearer {placer}", "GET", path).json
    cancelled = call(f"Bearer {canceller}", "DELETE", path).json
    # Cancelling again is no other cancellation.
    assert call(f"Bearer {placer}", "DELETE", path).json == cancelled

    assert (before["placedBy"], before["cancelledBy"]) == (stored_placer.key_id, None)
    assert (cancelled["placedBy"], cancelled["cancelledBy"]) == (stored_placer.key_id, stored_canceller.key_id)
    assert [event["keyId"] for event in cancelled["events"]] == [stored_placer.key_id, stored_canceller.key_id]
    [listed] = call(f"Bearer {placer}", "GET", "/api/orders").json["orders"]
    assert (listed["placedBy"], listed["cancelledBy"]) == (stored_placer.key_id, stored_canceller.key_id)
    said = [vars(record) for record in caplog.records]
    told = [(record["status"], record["key_id"]) for record in said if "key_id" in record]
    assert told == [("pending", stored_placer.key_id), ("cancelled", stored_canceller.key_id)]


def test_a_step_of_the_engines_own_names_no_key(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    order_id = request("POST", "/api/orders/execute", body=ORDER).json["orderId"]
    work = engine().execute(OrderRef("alice", order_id), worker="w", deadline=clock.now + 10_000)
    event_loop().run_until_complete(work)

    order = request("GET", f"/api/orders/{order_id}").json

    assert order["status"] == "confirmed"
    assert (order["placedBy"], order["cancelledBy"]) == ("k", None)
    assert ["keyId" in event for event in order["events"]] == [True, False, False, False, False]


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer oek_", "Bearer oek_unknown", "Basic YTpi", "oek_x", "Bearer " + "x" * 9000],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/orders"), ("POST", "/api/orders/execute"), ("GET", "/api/nothing"), ("PUT", "/api/orders")],
)
def test_who_is_not_known_gets_a_problem(deploy: Deploy, header: str | None, method: str, path: str) -> None:
    deploy()

    reply = call(header, method, path, body="{not json" if method == "POST" else None)

    assert reply.headers["content-type"] == "application/problem+json"
    # Which addresses there are is public; what is behind them is not.
    if path == "/api/nothing":
        assert reply.status == 404
    elif method == "PUT":
        assert reply.status == 405
    else:
        assert_refused(reply)


def test_an_expired_or_revoked_key_is_refused(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    key, stored = new_key("alice", clock.now, expires_at=clock.now + 1000)
    add(stored)
    kept = authorize(f"Bearer {key}")
    assert request("GET", "/api/orders", authorizer=kept).status == 200
    assert connect(f"Bearer {key}") == "Allow"

    clock.now += 1000

    # API Gateway may still keep the authorizer's answer: the end of the key holds nevertheless.
    assert_refused(request("GET", "/api/orders", authorizer=kept))
    assert_refused(call(f"Bearer {key}"))
    assert connect(f"Bearer {key}") == "Deny"

    other, stored = new_key("alice", clock.now)
    add(stored)
    assert call(f"Bearer {other}").status == 200
    event_loop().run_until_complete(engine().stores.keys.revoke_key(stored.key_id, clock.now, "operator"))
    assert_refused(call(f"Bearer {other}"))
    assert connect(f"Bearer {other}") == "Deny"


def test_only_the_hash_of_a_key_is_stored(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    key, stored = new_key("alice", clock.now)
    add(stored)
    items = cloud.stored("keys")

    assert len(items) == 1
    assert key.removeprefix("oek_") not in str(items)
    assert hash_key(key) in str(items)


def test_a_socket_opens_with_a_ticket_or_a_key_and_a_ticket_opens_nothing_else(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy()
    ticket = request("POST", "/api/orders/execute", body=ORDER).json["wsUrl"].partition("ticket=")[2]

    assert connect(ticket=ticket) == "Allow"
    assert connect(ticket=ticket[:-2] + ("AA" if ticket[-2:] != "AA" else "BB")) == "Deny"
    assert connect() == "Deny"
    assert_refused(call(f"Bearer {ticket}"))
    assert_refused(call(None, query={"ticket": ticket}))
    clock.now += 120_000
    assert connect(ticket=ticket) == "Deny"


def test_a_key_that_may_not_read_opens_no_stream(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    keys = {}
    for scope in ("trade", "read"):
        keys[scope], stored = new_key("alice", clock.now, scopes=[scope])
        add(stored)

    assert connect(f"Bearer {keys['read']}") == "Allow"
    assert connect(f"Bearer {keys['trade']}") == "Deny"
    assert call(f"Bearer {keys['trade']}", "POST", "/api/stream-tickets").status == 403
    # Whoever places an order may see what becomes of it, and of that order alone.
    placed = call(f"Bearer {keys['trade']}", "POST", "/api/orders/execute", body=ORDER).json
    context = admitted(ticket_of(placed["wsUrl"]))
    assert (context["orderId"], context["scopes"]) == (placed["orderId"], "read")


def ticket_of(ws_url: str) -> str:
    return ws_url.partition("ticket=")[2]


def admitted(ticket: str) -> dict[str, str]:
    """What the WebSocket API learns of a ticket's holder."""
    from submit.authorizer import lambda_handler

    event = {"methodArn": "arn:aws:execute-api:eu-central-1:0:api/live/$connect", "headers": {}}
    answer = lambda_handler.over(engine())(event | {"queryStringParameters": {"ticket": ticket}}, Context())
    assert answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    context: dict[str, str] = answer["context"]
    return context


def test_a_ticket_says_whose_key_it_came_from_and_ends_with_it(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    ends = clock.now + 30_000
    key, stored = new_key("alice", clock.now, expires_at=ends, max_sockets=3)
    add(stored)
    reply = call(f"Bearer {key}", "POST", "/api/stream-tickets", body={})

    context = admitted(ticket_of(reply.json["wsUrl"]))

    assert (context["keyId"], context["expiresAt"]) == (stored.key_id, str(ends))
    assert context["maxSockets"] == "3"
    clock.now = ends
    assert connect(ticket=ticket_of(reply.json["wsUrl"])) == "Deny"


def test_a_token_has_an_end_too(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    alice = token(sub="alice", scope="read trade", exp=str(clock.now // 1000 + 30))
    reply = request("POST", "/oidc/api/stream-tickets", body={}, authorizer=alice)
    assert admitted(ticket_of(reply.json["wsUrl"]))["expiresAt"] == str(clock.now + 30_000)
    clock.now += 30_000
    assert connect(ticket=ticket_of(reply.json["wsUrl"])) == "Deny"


class Rotated:
    """``RotatedKeys`` after a rotation that this process has not noticed. Counts how often it looks again."""

    def __init__(self) -> None:
        self.rereads = 0

    async def accepted(self) -> list[str]:
        return ["old"]

    async def reread(self) -> list[str]:
        self.rereads += 1
        return ["new", "old"]


async def test_a_ticket_signed_after_a_rotation_is_good_at_once() -> None:
    keys, ticket = Rotated(), Ticket("alice", "o", 60_000)
    assert (await identify_ticket(sign_ticket(ticket, "new"), keys, 0)).user_id == "alice"
    assert keys.rereads == 1
    with pytest.raises(NotAuthorized):
        await identify_ticket(sign_ticket(ticket, "forged"), keys, 0)
    assert keys.rereads == 2
    # Nothing that a look would change: it has ended, or it fits.
    with pytest.raises(NotAuthorized):
        await identify_ticket(sign_ticket(ticket, "old"), keys, 60_000)
    assert (await identify_ticket(sign_ticket(ticket, "old"), keys, 0)).user_id == "alice"
    assert keys.rereads == 2


def test_forged_tickets_do_not_become_calls(deploy: Deploy, clock: StandingClock) -> None:
    """A stranger may send any number of tickets; the secret is read again after some seconds at the earliest."""
    import boto3

    made = deploy()
    good = ticket_of(request("POST", "/api/orders/execute", body=ORDER).json["wsUrl"])
    forged = sign_ticket(Ticket("alice", None, clock.now + 60_000), "forged")
    assert connect(ticket=good) == "Allow"
    boto3.client("secretsmanager").put_secret_value(SecretId=made.ticket_secret_arn, SecretString="rotated")
    fresh = sign_ticket(Ticket("alice", None, clock.now + 60_000), "rotated")
    reads = 0

    def counted(**_: Any) -> None:
        nonlocal reads
        reads += 1

    engine().stores.clients.secrets.meta.events.register("before-call.secrets-manager.GetSecretValue", counted)
    # Read a moment ago: a bad ticket changes nothing.
    assert [connect(ticket=forged) for _ in range(20)] == ["Deny"] * 20
    assert reads == 0
    engine().stores.ticket_secrets._asked_at -= 11
    assert connect(ticket=fresh) == "Allow"
    assert [connect(ticket=text) for text in (forged, good, fresh, forged)] == ["Deny", "Allow", "Allow", "Deny"]
    # The current secret and the former one, once.
    assert reads == 2


def test_nobody_waits_for_the_record_of_a_keys_use(
    deploy: Deploy, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy()
    key, stored = new_key("alice", clock.now)
    add(stored)

    class Silent:
        async def note(self, key_id: str, now: int) -> None:
            await asyncio.sleep(60)

    class Broken:
        async def note(self, key_id: str, now: int) -> None:
            raise OSError("no answer")

    for trouble in (Silent(), Broken()):
        monkeypatch.setattr(engine().stores, "key_use", trouble)
        began = time.monotonic()
        assert authorize(f"Bearer {key}")["lambda"]["userId"] == "alice"
        assert time.monotonic() - began < 20


def test_a_keys_use_is_noted(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    key, stored = new_key("alice", clock.now)
    add(stored)
    authorize(f"Bearer {key}")
    clock.now += 1000
    authorize(f"Bearer {key}")
    authorize("Bearer oek_nobodys")

    used = event_loop().run_until_complete(engine().stores.key_use.last_used([stored.key_id]))
    assert used == {stored.key_id: clock.now - 1000}


def test_tickets_of_the_former_secret_are_good_until_they_expire(deploy: Deploy, clock: StandingClock) -> None:
    ticket = Ticket("alice", "o", clock.now + 60_000)
    text = sign_ticket(ticket, "former")

    assert open_ticket(text, ["current", "former"], clock.now) == ticket
    with pytest.raises(NotAuthorized):
        open_ticket(text, ["current", "newer"], clock.now)


@given(st.text(max_size=80))
def test_no_text_is_a_ticket_by_accident(text: str) -> None:
    with pytest.raises(NotAuthorized):
        open_ticket(text, ["secret"], 0)


def token(**claims: Any) -> dict[str, Any]:
    return {"jwt": {"claims": {"iss": "https://id.example", **claims}, "scopes": None}}


def test_a_token_opens_the_same_api_under_its_prefix(deploy: Deploy) -> None:
    deploy()
    alice = token(sub="alice", scope="openid trade read")

    placed = request("POST", "/oidc/api/orders/execute", body=ORDER, authorizer=alice)
    order_id = placed.json["orderId"]

    assert placed.status == 202
    assert request("GET", f"/oidc/api/orders/{order_id}", authorizer=alice).status == 200
    assert request("GET", "/oidc/api/stats", authorizer=alice).status == 200
    # The user alice of an API key is someone else.
    assert request("GET", f"/api/orders/{order_id}", user="alice").status == 404
    assert request("GET", f"/oidc/api/orders/{order_id}", authorizer=token(sub="bob", scope="read")).status == 404


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"sub": "a", "scope": "read"}, 200),
        ({"sub": "a", "scp": "[trade read]"}, 200),
        ({"sub": "a", "scope": "trade"}, 403),
        ({"sub": "a", "scope": "readers"}, 403),
        ({"sub": "a"}, 403),
        ({"scope": "read"}, 401),
        ({"sub": "a", "scope": "read", "iss": ""}, 401),
        ({"sub": "", "scope": "read"}, 401),
        ({"sub": "a\n", "scope": "read"}, 401),
    ],
)
def test_a_tokens_scopes_and_subject_decide(deploy: Deploy, claims: dict[str, str], status: int) -> None:
    deploy()

    assert request("GET", "/oidc/api/orders", authorizer=token(**claims)).status == status


_USERS = st.one_of(
    st.text(max_size=40),
    st.text(max_size=40).map("oidc:{}".format),
    st.text(max_size=40).map("oidc/{}".format),
    st.text(max_size=9).map(lambda text: user_of("https://a.example", text)),
    st.text(max_size=9).map(lambda text: user_of("https://a.example", text).removeprefix("oidc/")),
    st.text().map(" oidc:{}".format),
)


@given(_USERS, _USERS, st.sampled_from(["https://a.example", "https://b.example"]))
def test_no_user_of_a_key_is_ever_a_user_of_a_token(user: str, subject: str, issuer: str) -> None:
    try:
        of_key = new_key(user, 0)[1].user_id
        claims = {"sub": subject, "iss": issuer}
        named = {identify_token(claims, plain_issuer=plain).user_id for plain in ("", issuer)}
    except (InvalidInput, NotAuthorized):
        return
    assert len(named) == 2
    assert of_key not in named


_ISSUERS = st.sampled_from(["https://a.example", "https://a.example/", "https://b.example", "https://b.example/oidc/"])


@given(_ISSUERS, _USERS, _ISSUERS, _USERS, _ISSUERS)
def test_a_tokens_user_is_one_person(issuer: str, subject: str, other: str, others: str, plain: str) -> None:
    """Whichever issuer a deployment had before, and whatever subjects the issuers give out."""
    try:
        one = identify_token({"sub": subject, "iss": issuer}, plain_issuer=plain).user_id
        two = identify_token({"sub": others, "iss": other}, plain_issuer=plain).user_id
    except NotAuthorized:
        return
    assert (one == two) == ((issuer, subject) == (other, others))


def test_a_change_of_the_issuer_hands_nobodys_orders_on(deploy: Deploy) -> None:
    deploy(OIDC_PLAIN_ISSUER="https://first.example")
    former = token(iss="https://first.example", sub="alice", scope="trade read")
    order_id = request("POST", "/oidc/api/orders/execute", body=ORDER, authorizer=former).json["orderId"]

    for issuer in ("https://second.example", "https://first.example/"):
        another = token(iss=issuer, sub="alice", scope="trade read")
        assert request("GET", f"/oidc/api/orders/{order_id}", authorizer=another).status == 404
        assert request("GET", "/oidc/api/orders", authorizer=another).json == {"orders": []}
    assert request("GET", f"/oidc/api/orders/{order_id}", authorizer=former).status == 200
    # As such users were named from the start.
    event_loop().run_until_complete(_is_stored("oidc:alice", order_id))


async def _is_stored(user_id: str, order_id: str) -> None:
    assert await engine().stores.orders.get(OrderRef(user_id, order_id)) is not None


def test_a_stored_key_that_claims_to_be_a_tokens_user_is_refused(deploy: Deploy, clock: StandingClock) -> None:
    deploy()
    add(ApiKey(hash_key("oek_forged"), "oidc:alice", frozenset({"read"}), clock.now))

    assert_refused(call("Bearer oek_forged"))
