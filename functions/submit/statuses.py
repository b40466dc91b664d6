"""What each status of an error says in general, and how the API's description shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status from 400.

    Attributes:
        title: of its problems (RFC 9457: the same for every problem of a kind).
        name: of the answer in the API's description; empty where no operation lists it.
        means: what it means there.
        example: the code of the example, of the catalogue of refusals.
        field: the example's field at fault.
    """

    title: str
    name: str = ""
    means: str = ""
    example: str = ""
    field: str | None = None


STATUSES: dict[int, Status] = {
    400: Status("Bad request"),
    401: Status("Not authorized", "Unauthorized", "The key or ticket is missing or not valid.", "unauthorized"),
    403: Status("Forbidden", "InsufficientScope", "The key lacks the scope.", "insufficient_scope"),
    404: Status("Not found", "OrderNotFound", "There is no such order.", "order_not_found"),
    405: Status("Method not allowed"),
    409: Status(
        "Conflict",
        "Conflict",
        "What the orders are now stands against it: it is too late to cancel, or too many are open.",
        "too_late_to_cancel",
    ),
    413: Status("Too large", "BodyTooLarge", "The body is too large.", "body_too_large"),
    415: Status("Unsupported media type", "UnsupportedMediaType", "The body is not JSON.", "unsupported_media_type"),
    422: Status(
        "Invalid request",
        "InvalidRequest",
        "The request is invalid; the answer names the field.",
        "invalid_amount",
        "amountIn",
    ),
    429: Status(
        "Too many requests",
        "RateLimited",
        "Too many requests in a short time; Retry-After says when the next is admitted.",
        "rate_limited",
    ),
    500: Status("Internal error"),
    503: Status("Unavailable", "Unavailable", "Nothing was accepted; try again.", "unavailable"),
}
