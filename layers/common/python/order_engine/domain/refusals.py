"""The catalogue of refusals: why a request, or a message on a socket, is not done. Why orders fail is in ``failures``.

The HTTP API takes an answer's status from here, its description the examples; the stream's description lists the codes
that a socket is answered with; the command line learns whether to try again; docs/api.md shows it whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from order_engine.domain.failures import CATALOGUE


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a code means.

    Attributes:
        status: of the HTTP answer; None where only sockets are answered so.
        cause: why, in general; the answer itself says it of the case.
        remedy: what the caller can do.
        passes: whether the same request may be done later.
        retry_after_s: after so many seconds, where the refusal itself does not know better; None where nobody can say.
        socket: whether a message on a socket may be answered so.
    """

    status: int | None
    cause: str
    remedy: str
    passes: bool = False
    retry_after_s: int | None = None
    socket: bool = False


def _of_order(code: str, status: int, *, passes: bool = False, retry_after_s: int | None = None) -> Refusal:
    """A quote is refused for what an order would fail with."""
    reason = CATALOGUE[code]
    remedy = "Ask again." if passes else reason.remedy
    return Refusal(status, reason.meaning, remedy, passes, retry_after_s)


REFUSALS: dict[str, Refusal] = {
    "bad_request": Refusal(400, "The request could not be read.", "Send what HTTP allows."),
    "unauthorized": Refusal(
        401, "The key, token or ticket is missing, unknown, expired or revoked.", "Send a valid one.", socket=True
    ),
    "insufficient_scope": Refusal(403, "The key lacks the scope that this needs.", "Use a key that has it."),
    "edge_required": Refusal(
        403,
        "This deployment takes requests by its own address only, not by API Gateway's.",
        "Use the service's own address.",
    ),
    "order_not_found": Refusal(404, "You have no such order.", "Look the id up in your list.", socket=True),
    "not_found": Refusal(404, "There is nothing at this address.", "See the API's description."),
    "method_not_allowed": Refusal(405, "This address does not take this method.", "Use one of those in `Allow`."),
    "too_late_to_cancel": Refusal(
        409, "The order can no longer be cancelled: a worker has it, or it has ended.", "Follow it to its end."
    ),
    "too_many_open_orders": Refusal(
        409, "You have as many open limit orders as you may have.", "Cancel some, or wait until they end.", passes=True
    ),
    "body_too_large": Refusal(413, "The body is larger than 16 KB.", "Send the order alone."),
    "unsupported_media_type": Refusal(415, "The body is not JSON.", "Send it as `application/json`."),
    "invalid_json": Refusal(422, "The body is not JSON as it is taken here; `detail` says why.", "Correct it."),
    "invalid_request": Refusal(422, "A field is missing, unknown or wrong; `errors` lists all.", "Correct the fields."),
    "unknown_token": Refusal(422, "The token is not traded here.", "Choose one of `GET /api/tokens`."),
    "same_token": Refusal(422, "Both sides are the same token.", "Choose two different ones."),
    "invalid_amount": Refusal(
        422, "A number is not positive, too large, or finer than its token's decimals.", "Correct the number."
    ),
    "idempotency_conflict": Refusal(
        422, "The Idempotency-Key was used for another order.", "Use a new key for a new order."
    ),
    "no_route": _of_order("no_route", 422),
    "price_impact_too_high": _of_order("price_impact_too_high", 422),
    "rate_limited": Refusal(
        429,
        "Too many in a short time; a socket is closed after it.",
        "Wait as long as is said.",
        passes=True,
        socket=True,
    ),
    "too_many_sockets": Refusal(
        429, "You have as many sockets open as you may have; the handshake has no body.", "Close one.", passes=True
    ),
    # A breaker leaves a venue alone for longer after each failure; the first time for about this long.
    "venues_unavailable": _of_order("venues_unavailable", 503, passes=True, retry_after_s=2),
    # An update of all functions takes a minute or two.
    "newer_release": Refusal(
        503,
        "An update is under way, and this function does not read yet what another has written.",
        "Ask again in a few seconds.",
        passes=True,
        retry_after_s=10,
        socket=True,
    ),
    "unavailable": Refusal(
        503,
        "The service could not do this now; nothing was accepted, as far as can be known.",
        "Try again with the same Idempotency-Key.",
        passes=True,
    ),
    "invalid_message": Refusal(None, "The message is not one that a socket takes.", "Correct it.", socket=True),
    "unknown_action": Refusal(None, "There is no such action.", "Send `subscribe` or `ping`.", socket=True),
    "forbidden": Refusal(None, "The socket was opened for another order.", "Open one for this order.", socket=True),
    "too_many_orders": Refusal(
        None, "The socket follows as many unfinished orders as it may.", "Subscribe without `orderId`.", socket=True
    ),
}


def status_of(code: str) -> int:
    """The HTTP status of a refusal; 500 for what the catalogue does not know."""
    found = REFUSALS.get(code)
    return 500 if found is None or found.status is None else found.status


def passes(code: str, status: int) -> bool:
    """Whether the same request may be done later.

    Args:
        code: as it was answered; gateways in front of the engine, and later releases, have others.
        status: of the HTTP answer; 0 where a socket was answered.
    """
    found = REFUSALS.get(code)
    return status == 429 or status >= 500 if found is None else found.passes
