"""What the stream's AsyncAPI document says beside the frames' schemas: prose, messages, examples."""

from __future__ import annotations

from typing import Any

type Json = dict[str, Any]

DESCRIPTION = """Every step of an order's life, as it happens.

**Connect.** A program sends its API key in the `Authorization` header. A browser, which cannot, uses a `wsUrl`:
the one in the answer to `POST /api/orders/execute` is good for that order alone, the one of
`POST /api/stream-tickets` for all of your orders. A ticket has to be used within a minute or two; the socket that
it has opened lives on.

**Subscribe.** Nothing is sent before you subscribe. The answer to a subscription to one order is a `snapshot`
with its events after `after`; `event` frames follow as things happen. A subscription to all orders is answered by
a snapshot of each of the twenty newest and then `subscribed`.

**Never miss, never repeat.** Events of an order are numbered 1, 2, 3… without a gap. The subscription is stored
before the order is read, so each event is in the snapshot or is sent live, before or after it, and may be both.
Remember the `seq` up to which you have everything. Of a snapshot and of live frames alike, take an event whose
`seq` is the next one; drop one at or below it; and when one is further ahead, subscribe to that order again with
`after` set to what you have: the snapshot closes the gap. Do the same after every reconnection.

The engine leaves no gap of its own: what a socket is sent of an order follows on what it was sent, or on the
`after` that it asked with. Where that is not sure, the next event comes in a `snapshot` with all before it: often
the first that is sent live after a subscription, and where very much happens at once. So a client that only drops
what is at or below the last `seq` that it saw is right too, as long as it reads both kinds of frames.

**API Gateway's own words.** Where the engine cannot be reached, API Gateway sends frames of its own, such as
`{"message": "Internal server error"}`. They have no `type`: connect again.

**Limits.** A user may have 20 sockets open; the handshake of one more is answered `429`. A socket may follow 100
orders that have not ended one by one, and all of a user's orders with one subscription. A deployment and a key may
have other limits. A key without the scope `read` opens no socket; an order's own `wsUrl` shows that order to
whoever placed it.

**Ends.** A socket ends with the key that opened it, or that got its ticket: once that is revoked or has expired,
nothing more is sent, and within a minute the socket is closed. One that was opened with a ticket for one order is
closed after that order's last event. One that
does not take a frame within a second is closed, so that it delays nobody; come back and resume. API Gateway closes
a socket after ten minutes without a message (send `ping`) and after two hours in any case.
"""
_ID = "fcbb10b2-561e-5542-bbcd-dbcd8fc27228"
_AT = "2026-11-21T02:36:31.502Z"


def _to(place: str) -> Json:
    return {"$ref": f"#/{place}"}


def _of(*messages: str) -> list[Json]:
    return [_to(f"channels/statuses/messages/{name}") for name in messages]


def _message(summary: str, schema: str, *examples: Json, description: str = "") -> Json:
    more = {"description": description} if description else {}
    return {"summary": summary, **more, "payload": _to(f"components/schemas/{schema}"), "examples": list(examples)}


_CHANNEL = _to("channels/statuses")
_CREDENTIALS = [_to("components/securitySchemes/key"), _to("components/securitySchemes/ticket")]
SECURITY: Json = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key (`oek_…`) in the header of the handshake."},
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "A signed, short-lived ticket, as `wsUrl` carries it.",
    },
}
SERVERS: Json = {
    "stage": {
        "host": "{apiId}.execute-api.{region}.amazonaws.com",
        "pathname": "/live",
        "protocol": "wss",
        "description": "A deployed stage. The deployment's output `WebSocketUrl` is the whole address.",
        "variables": {"apiId": {"description": "The WebSocket API's id."}, "region": {"default": "us-east-1"}},
        "security": _CREDENTIALS,
    },
    "local": {
        "host": "127.0.0.1:8001",
        "protocol": "ws",
        "description": "The local stack.",
        "security": _CREDENTIALS,
    },
}
MESSAGES: Json = {
    "subscribeOrder": _message(
        "Follow one order.",
        "SubscribeOrder",
        {"name": "fromTheBeginning", "payload": {"action": "subscribe", "orderId": _ID, "after": 0}},
        {"name": "resume", "payload": {"action": "subscribe", "orderId": _ID, "after": 3}},
    ),
    "subscribeAll": _message("Follow all orders.", "SubscribeAll", {"payload": {"action": "subscribe"}}),
    "ping": _message("Are you there?", "Ping", {"payload": {"action": "ping"}}),
    "snapshot": _message(
        "Where an order stands, and its events after what the client has.",
        "Snapshot",
        {
            "payload": {
                "type": "snapshot",
                "orderId": _ID,
                "seq": 2,
                "status": "routing",
                "events": [
                    {
                        "seq": 1,
                        "status": "pending",
                        "at": "2026-11-21T02:36:28.406Z",
                        "attempt": 0,
                        "keyId": "5e884898da28",
                    },
                    {"seq": 2, "status": "routing", "at": "2026-11-21T02:36:28.420Z", "attempt": 1},
                ],
            }
        },
        description="The answer to a subscription; and live, where a single event would leave a gap. A long history "
        "comes in several frames, one after the other, until an event has the frame's `seq`.",
    ),
    "event": _message(
        "One step, as it happened.",
        "EventFrame",
        {
            "name": "confirmed",
            "payload": {
                "type": "event",
                "orderId": _ID,
                "seq": 5,
                "status": "confirmed",
                "at": _AT,
                "attempt": 1,
                "txHash": "3nvRw1MdfoNFPWTm3J6XCFma1ihBJHC9U1SbS6GUpMfXmo7PCGutxXN8TqUZXgi4WXho3FbTftaBT26Fw32xmKps",
                "amountOut": "219.565382",
                "executedPrice": "146.376921333",
                "slot": 331804217,
            },
        },
        {
            "name": "triedAgain",
            "payload": {
                "type": "event",
                "orderId": _ID,
                "seq": 5,
                "status": "pending",
                "at": _AT,
                "attempt": 1,
                "error": {"code": "transaction_failed", "message": "The program exceeded its compute budget."},
                "retryAt": "2026-11-21T02:36:32.611Z",
            },
        },
    ),
    "subscribed": _message(
        "All orders are followed, and the newest have been shown.",
        "Subscribed",
        {"payload": {"type": "subscribed", "orders": "all"}},
    ),
    "pong": _message("Here.", "Pong", {"payload": {"type": "pong", "at": _AT}}),
    "error": _message(
        "A message could not be served. The socket stays open.",
        "Error",
        {"payload": {"type": "error", "code": "order_not_found", "message": "There is no such order."}},
    ),
}
CHANNELS: Json = {
    "statuses": {
        "address": "/",
        "bindings": {
            "ws": {
                "query": {
                    "type": "object",
                    "properties": {
                        "ticket": {"type": "string", "description": "A stream ticket, as `wsUrl` carries it."}
                    },
                }
            }
        },
        "messages": {name: _to(f"components/messages/{name}") for name in MESSAGES},
    }
}
# As AsyncAPI has it, the actions are the engine's: it receives what a client sends.
OPERATIONS: Json = {
    "followOrder": {
        "action": "receive",
        "summary": "Follow one of your orders, from any event on.",
        "channel": _CHANNEL,
        "messages": _of("subscribeOrder"),
        "reply": {"channel": _CHANNEL, "messages": _of("snapshot", "error")},
    },
    "followAll": {
        "action": "receive",
        "summary": "Follow all of your orders.",
        "channel": _CHANNEL,
        "messages": _of("subscribeAll"),
        "reply": {"channel": _CHANNEL, "messages": _of("snapshot", "subscribed", "error")},
    },
    "ping": {
        "action": "receive",
        "summary": "Keep the socket open and find out whether it still is.",
        "channel": _CHANNEL,
        "messages": _of("ping"),
        "reply": {"channel": _CHANNEL, "messages": _of("pong")},
    },
    "pushEvent": {
        "action": "send",
        "summary": "A step of an order that this socket follows.",
        "channel": _CHANNEL,
        "messages": _of("event"),
    },
}
# What a client sends.
REQUESTS: Json = {
    "SubscribeOrder": {
        "type": "object",
        "required": ["action", "orderId"],
        "properties": {
            "action": {"const": "subscribe"},
            "orderId": {"type": "string", "pattern": "^[0-9A-Za-z-]{1,64}$"},
            "after": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2147483647,
                "default": 0,
                "description": "The last sequence number up to which you have every event.",
            },
        },
    },
    "SubscribeAll": {
        "type": "object",
        "required": ["action"],
        "properties": {"action": {"const": "subscribe"}, "orderId": {"type": "null"}},
    },
    "Ping": {"type": "object", "required": ["action"], "properties": {"action": {"const": "ping"}}},
}
FORM: Json = {
    "type": "integer",
    "minimum": 1,
    "default": 1,
    "description": "The frame's form. Further fields are no new form: ignore what you do not know. A client that meets "
    "a number above the one that it was written for should not guess, but say that it is too old; 1 is the only one so "
    "far.",
}
