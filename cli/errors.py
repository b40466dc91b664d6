"""What the client raises."""

from __future__ import annotations

from order_engine.domain import refusals


class ClientError(Exception):
    """Base of what the client raises."""


class ApiError(ClientError):
    """The engine refused a request.

    Attributes:
        status: of HTTP; 0 where the stream refused.
        code: stable and machine-readable.
        detail: a sentence a person understands.
        field: the field at fault, or None.
        retry_after_s: when to come again, where it was said.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same request may be served later."""
        return refusals.passes(self.code, self.status)


class Unreachable(ClientError):
    """Nothing answers at the address.

    Attributes:
        unknown: whether a request may have arrived, so that its effect is not known.
    """

    def __init__(self, url: str, reason: str, *, unknown: bool = False) -> None:
        super().__init__(f"Nothing answers at {url}: {reason}.")
        self.url = url
        self.reason = reason
        self.unknown = unknown
