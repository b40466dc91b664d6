"""Who the verified claims of an OIDC token belong to.

A subject is unique within its issuer only (OpenID Connect Core 1.0, section 2): "alice" of another issuer is another
person. A token's user is therefore named by both, ``oidc/<issuer>/<subject>``, with the first 80 bits of the issuer's
SHA-256 in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from order_engine.engine.accounts import PLAIN_TOKEN_USERS, SCOPES, TOKEN_USERS, Identity, NotAuthorized

_ISSUER_DIGITS = 20


def user_of(issuer: str, subject: str, *, plain_issuer: str = "") -> str:
    """The name of a token's user.

    Args:
        plain_issuer: users of this issuer keep the names that they had before names told of the issuer.
    """
    if issuer == plain_issuer:
        return f"{PLAIN_TOKEN_USERS}{subject}"
    digest = hashlib.sha256(issuer.encode()).hexdigest()[:_ISSUER_DIGITS]
    return f"{TOKEN_USERS}{digest}/{subject}"


def identify_token(claims: Mapping[str, object], *, plain_issuer: str = "") -> Identity:
    """Who is calling with a token that API Gateway has verified.

    Scopes are read from ``scope`` (RFC 8693) or ``scp``, separated by spaces; API Gateway writes a list as
    ``[trade read]``.

    Raises:
        NotAuthorized: the token names no subject or no issuer.
    """
    subject, issuer = claims.get("sub"), claims.get("iss")
    if not isinstance(subject, str) or not subject or len(subject) > 255 or not subject.isprintable():
        raise NotAuthorized("The token names no subject.")
    if not isinstance(issuer, str) or not issuer:
        raise NotAuthorized("The token names no issuer.")
    granted = str(claims.get("scope") or claims.get("scp") or "").strip("[]").split()
    expiry = claims.get("exp")
    ends = int(expiry) * 1000 if isinstance(expiry, str) and re.fullmatch("[0-9]{1,12}", expiry) else None
    user = user_of(issuer, subject, plain_issuer=plain_issuer)
    return Identity(user, frozenset(granted) & frozenset(SCOPES), "token", expires_at=ends)
