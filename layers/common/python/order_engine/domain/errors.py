"""Errors of the domain. Each carries a stable ``code`` that clients may rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from order_engine.domain.quote import Decision


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose.

    Attributes:
        code: stable, machine-readable, lower_snake_case.
        message: one sentence a person understands.
        field: the input field at fault (JSON name), or None.
    """

    code = "engine_error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(EngineError):
    """Input that can never become an order."""

    code = "invalid_request"


class UnknownToken(InvalidInput):
    code = "unknown_token"


class InvalidAmount(InvalidInput):
    code = "invalid_amount"


class SameToken(InvalidInput):
    code = "same_token"


class IllegalTransition(EngineError):
    """The lifecycle table does not allow this step."""

    code = "illegal_transition"


class OrderNotFound(EngineError):
    code = "order_not_found"


class TooNew(EngineError):
    """Something that a newer release has written, in a form that this one does not read."""

    code = "newer_release"

    def __init__(self, what: str, form: int, reads: int) -> None:
        super().__init__(
            f"The {what} was written by a newer release (form {form}; this one reads up to {reads}). Try again shortly."
        )


class TooLateToCancel(EngineError):
    code = "too_late_to_cancel"


class TooManyOpenOrders(EngineError):
    """The user has as many limit orders that have not ended as a user may have."""

    code = "too_many_open_orders"


class IdempotencyConflict(EngineError):
    """The same idempotency key came with another body."""

    code = "idempotency_conflict"


class AttemptFailed(EngineError):
    """One attempt to execute an order failed in a way that another attempt may cure."""

    code = "attempt_failed"


class NoRoute(AttemptFailed):
    """Every venue has answered, and nothing can fill the order."""

    code = "no_route"


class VenuesUnavailable(NoRoute):
    """Nothing good among the venues that answered; one that did not may have it."""

    code = "venues_unavailable"


class PriceImpactTooHigh(AttemptFailed):
    """The best route moves the price too far. ``decision`` is what would have been chosen."""

    code = "price_impact_too_high"

    def __init__(self, message: str, decision: Decision) -> None:
        super().__init__(message)
        self.decision = decision


class BuildFailed(AttemptFailed):
    code = "build_failed"


class RouteTooLarge(BuildFailed):
    code = "route_too_large"


class SwapRefused(AttemptFailed):
    """The chain, or a node of it, would not take the swap. ``code`` is of the catalogue of failures."""

    code = "pool_refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class VenueError(AttemptFailed):
    """A venue could not answer."""

    code = "venue_error"


class VenueResting(VenueError):
    """A venue has answered, and has no pool at the moment that can take part; it will again."""


class QuoteRefused(EngineError):
    """A pool cannot fill this amount: too little liquidity, or an output of zero."""

    code = "quote_refused"


class MalformedAccount(EngineError):
    """Account bytes that are too short, or belong to another program or account type."""

    code = "malformed_account"
