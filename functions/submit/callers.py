"""Who is calling, as the API's authorizer found, and what they may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Depends, Request

from order_engine.domain.numerals import NotANumeral, read_whole
from order_engine.engine.accounts import Identity, NotAuthorized
from order_engine.engine.tokens import identify_token
from submit import problems
from submit.served import engine_of

# Where an OIDC issuer is configured, the API is served under this prefix too, behind the native JWT authorizer.
TOKENS_PREFIX = "/oidc"


def identity(request: Request) -> Identity:
    """Who is calling, as the API's authorizer found.

    Raises:
        NotAuthorized: nobody that is known.
    """
    engine = engine_of(request)
    event = request.scope.get("aws.event") or {}
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    if "jwt" in authorizer:
        plain_issuer = engine.settings.oidc_plain_issuer
        return identify_token(authorizer["jwt"]["claims"], plain_issuer=plain_issuer)
    found = authorizer.get("lambda") or {}
    try:
        expires_at, per_minute = _whole(found, "expiresAt"), _whole(found, "ordersPerMinute")
        max_sockets, max_open_orders = _whole(found, "maxSockets"), _whole(found, "maxOpenOrders")
    except NotANumeral as error:
        raise NotAuthorized("The credentials cannot be read.") from error
    if not found.get("userId") or (expires_at is not None and engine.clock.now_ms() >= expires_at):
        raise NotAuthorized("The API key is missing, unknown, expired or revoked.")
    return Identity(
        found["userId"],
        frozenset(found["scopes"].split()),
        found["keyId"],
        per_minute,
        expires_at=expires_at,
        max_sockets=max_sockets,
        max_open_orders=max_open_orders,
    )


def prefix(request: Request) -> str:
    """What the caller puts before every path: callers with a token use the routes under /oidc."""
    raw_path: str = (request.scope.get("aws.event") or {}).get("rawPath", "")
    return TOKENS_PREFIX if raw_path.startswith(f"{TOKENS_PREFIX}/") else ""


def _whole(context: Mapping[str, str], name: str) -> int | None:
    """A number of the authorizer's context, which knows text only; None where it is absent or empty."""
    text = context.get(name)
    return read_whole(text, high=10**15) if text else None


def _may(scope: str) -> Callable[[Identity], Identity]:
    def check(caller: Annotated[Identity, Depends(identity)]) -> Identity:
        if scope not in caller.scopes:
            raise problems.Problem("insufficient_scope", f"This key lacks the scope “{scope}”.")
        return caller

    return check


Trader = Annotated[Identity, Depends(_may("trade"))]
Reader = Annotated[Identity, Depends(_may("read"))]
